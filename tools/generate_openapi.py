"""Reduces the OpenAPI and discovery documents of a real kube-apiserver to what the embedded API server needs.

Input: the module directory of `k8s.io/kubernetes` (the Go toolchain fetches it, or give `--source`).
Output: `ovnbridge/lab/api/data/openapi.json.gz`: the version, for each group the resources as discovery lists
them, and the schemas that those resources reach.  The same input always gives the same bytes.

    python tools/generate_openapi.py [--version v1.36.4] [--source DIRECTORY]
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent.parent / "ovnbridge/lab/api/data/openapi.json.gz"

# What the lab, its tests and the examples use; nothing else of the real API is served.
GROUPS: dict[str, list[str]] = {
    "v1": [
        "configmaps", "endpoints", "events", "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes",
        "pods", "secrets", "serviceaccounts", "services",
    ],
    "apps/v1": ["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"],
    "batch/v1": ["cronjobs", "jobs"],
    "discovery.k8s.io/v1": ["endpointslices"],
    "networking.k8s.io/v1": ["ingressclasses", "ingresses", "ipaddresses", "networkpolicies", "servicecidrs"],
    "coordination.k8s.io/v1": ["leases"],
    "rbac.authorization.k8s.io/v1": ["clusterrolebindings", "clusterroles", "rolebindings", "roles"],
    "policy/v1": ["poddisruptionbudgets"],
    "apiextensions.k8s.io/v1": ["customresourcedefinitions"],
    "events.k8s.io/v1": ["events"],
    "admissionregistration.k8s.io/v1": [
        "mutatingwebhookconfigurations", "validatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings",
    ],
    "scheduling.k8s.io/v1": ["priorityclasses"],
    "storage.k8s.io/v1": ["storageclasses"],
    "authorization.k8s.io/v1": ["selfsubjectaccessreviews", "subjectaccessreviews"],
    "authentication.k8s.io/v1": ["selfsubjectreviews", "tokenreviews"],
}  # fmt: skip
SUBRESOURCES = {"status", "scale", "binding", "eviction", "finalize", "token", "ephemeralcontainers"}
EXTRA_KINDS = [
    ("autoscaling", "v1", "Scale"),
    ("policy", "v1", "Eviction"),
    ("", "v1", "Binding"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
]
KEEP = {
    "type", "format", "items", "properties", "additionalProperties", "required", "default", "enum", "oneOf",
    "description", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy", "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-group-version-kind",
}  # fmt: skip
PREFIX = "#/components/schemas/"


def module_directory(version: str) -> Path:
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
    answer = subprocess.run(command, check=True, capture_output=True, cwd="/")
    return Path(json.loads(answer.stdout)["Dir"])


def reduce_schema(schema: Any) -> Any:
    """Drops what nobody reads and writes a reference as `{"$ref": name}`, with the default beside it."""
    if not isinstance(schema, dict):
        return schema
    if "allOf" in schema and len(schema["allOf"]) == 1:  # how the real document gives a reference a default
        schema = {**schema["allOf"][0], **{k: v for k, v in schema.items() if k != "allOf"}}
    kept: dict[str, Any] = {k: v for k, v in schema.items() if k in KEEP}
    if "$ref" in schema:
        kept["$ref"] = schema["$ref"].removeprefix(PREFIX)
    if "properties" in kept:
        kept["properties"] = {k: reduce_schema(v) for k, v in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = reduce_schema(kept[key])
    return kept


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)


def load_definitions(source: Path) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    for file in sorted((source / "api/openapi-spec/v3").glob("*.json")):
        schemas = json.loads(file.read_text()).get("components", {}).get("schemas", {})
        definitions.update({name: reduce_schema(schema) for name, schema in schemas.items()})
    return definitions


def reachable(definitions: dict[str, Any], roots: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = definitions[name]
            todo.extend(references(definitions[name]))
    return dict(sorted(found.items()))


def load_resources(source: Path, group_version: str, plurals: list[str]) -> list[dict[str, Any]]:
    stem = f"api__{group_version}" if "/" not in group_version else "apis__" + group_version.replace("/", "__")
    listed = json.loads((source / f"api/discovery/{stem}.json").read_text())["resources"]
    wanted = []
    for resource in listed:
        plural, _, sub = resource["name"].partition("/")
        if plural in plurals and (not sub or sub in SUBRESOURCES):
            wanted.append({k: v for k, v in resource.items() if k != "storageVersionHash"})
    missing = set(plurals) - {resource["name"] for resource in wanted}
    if missing:
        raise SystemExit(f"{group_version} does not have {sorted(missing)}")
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="v1.36.4")
    parser.add_argument("--source", type=Path, help="the k8s.io/kubernetes module, if it is already at hand")
    arguments = parser.parse_args()
    source = arguments.source or module_directory(arguments.version)
    definitions = load_definitions(source)
    groups = {name: load_resources(source, name, plurals) for name, plurals in GROUPS.items()}
    kinds = set(EXTRA_KINDS)
    for group_version, resources in groups.items():
        group, _, version = group_version.rpartition("/")
        kinds.update((group, version, resource["kind"]) for resource in resources if "/" not in resource["name"])
    roots = [
        name
        for name, schema in definitions.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", [])
        if (gvk["group"], gvk["version"], gvk["kind"]) in kinds
    ]
    schemas = reachable(definitions, sorted(roots))
    document = {"version": arguments.version, "groups": groups, "definitions": schemas}
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{OUTPUT.name}: {len(schemas)} schemas, {len(text)} bytes, {OUTPUT.stat().st_size} packed")


if __name__ == "__main__":
    main()
