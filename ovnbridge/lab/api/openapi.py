"""The OpenAPI documents that kubectl reads: `/openapi/v2` (JSON and protobuf) and `/openapi/v3`.

Made from the registry on demand and kept until what is served changes.  kubectl uses them to validate before
it applies (1.20, protobuf only), to explain, and to see that PATCH knows `dryRun` and `fieldValidation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from . import protobuf
from .errors import Object
from .resources import Registry, Resource

V2_PREFIX = "#/definitions/"
V3_PREFIX = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


def definition_name(resource: Resource) -> str:
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _path(resource: Resource) -> str:
    base = f"/apis/{resource.group_version}" if resource.group else f"/api/{resource.version}"
    return f"{base}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"


def _custom_schema(resource: Resource) -> Object:
    schema = {**resource.schema, "x-kubernetes-group-version-kind": [_gvk(resource)]}
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        **(schema.get("properties") or {}),
        "metadata": {"$ref": META},
    }
    schema["properties"] = properties
    return schema


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)


def _rewrite(schema: Any, prefix: str, *, v2: bool) -> Any:
    """The schema with full references; for v2 without what Swagger 2 does not have."""
    if isinstance(schema, list):
        return [_rewrite(item, prefix, v2=v2) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        target = prefix + schema["$ref"]
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "default" if v2 else "")}
        return {"$ref": target, **rest} if v2 or not rest else {"allOf": [{"$ref": target}], **rest}
    changed = {
        key: _rewrite(value, prefix, v2=v2) if key not in ("default", "enum", "properties") else value
        for key, value in schema.items()
        if not (v2 and key in ("oneOf", "anyOf", "not", "nullable", "default"))
    }
    if "properties" in schema:  # whose keys are names of fields, not keywords
        changed["properties"] = {k: _rewrite(v, prefix, v2=v2) for k, v in schema["properties"].items()}
    if v2 and "oneOf" in schema and "type" not in schema:
        changed["type"] = "string"
    if v2 and (schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")):
        # kubectl would refuse what the schema does not name; the real server leaves these open as well.
        return {k: v for k, v in changed.items() if k == "description" or k.startswith("x-")}
    return changed


class OpenApi:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._cache: dict[str, bytes] = {}

    def _cached(self, name: str, build: Callable[[], bytes]) -> bytes:
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._cache.clear()
        if name not in self._cache:
            self._cache[name] = build()
        return self._cache[name]

    def v2_json(self) -> bytes:
        return self._cached("v2.json", lambda: orjson.dumps(self._v2()))

    def v2_protobuf(self) -> bytes:
        return self._cached("v2.pb", lambda: protobuf.openapi_document(self._v2()))

    def v3_index(self) -> bytes:
        return self._cached("v3", lambda: orjson.dumps(self._v3_index()))

    def v3(self, name: str) -> bytes | None:
        found = [resource for resource in self._registry if self._v3_name(resource) == name]
        if not found:
            return None
        return self._cached(f"v3/{name}", lambda: orjson.dumps(self._v3(found)))

    def _schemas(self, resources: list[Resource]) -> dict[str, Any]:
        schemas: dict[str, Any] = {}
        todo: list[tuple[str, Any]] = []
        for resource in resources:
            if resource.builtin:
                name = resource.schema["$ref"]
                todo.append((name, self._registry.definitions[name]))
            else:
                todo.append((definition_name(resource), _custom_schema(resource)))
        while todo:
            name, schema = todo.pop()
            if name not in schemas:
                schemas[name] = schema
                todo.extend((target, self._registry.definitions[target]) for target in _references(schema))
        return schemas

    def _info(self) -> Object:
        return {"title": "Kubernetes", "version": self._registry.server_version}

    def _paths(self, resources: list[Resource], parameter: Callable[[str], Object]) -> Mapping[str, Any]:
        paths: Object = {}
        for resource in resources:
            gvk = _gvk(resource)
            listed = {"get": {"x-kubernetes-action": "list", "x-kubernetes-group-version-kind": gvk, "responses": {}}}
            patch = {
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": gvk,
                "parameters": [parameter(name) for name in PARAMETERS],
                "responses": {},
            }
            got = {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": gvk, "responses": {}}
            paths[_path(resource)] = listed
            paths[_path(resource) + "/{name}"] = {"get": got, "patch": patch}
        return paths

    def _v2(self) -> Object:
        resources = list(self._registry)
        schemas = self._schemas(resources)
        return {
            "swagger": "2.0",
            "info": self._info(),
            "paths": self._paths(resources, lambda name: {"name": name, "in": "query", "type": "string"}),
            "definitions": {name: _rewrite(schema, V2_PREFIX, v2=True) for name, schema in schemas.items()},
        }

    @staticmethod
    def _v3_name(resource: Resource) -> str:
        return f"apis/{resource.group_version}" if resource.group else f"api/{resource.version}"

    def _v3_index(self) -> Object:
        names = sorted({self._v3_name(resource) for resource in self._registry})
        # The hash lets kubectl keep the document, so it has to change when a CRD does.
        generation = self._registry.generation
        return {"paths": {n: {"serverRelativeURL": f"/openapi/v3/{n}?hash={generation}"} for n in names}}

    def _v3(self, resources: list[Resource]) -> Object:
        schemas = self._schemas(resources)

        def parameter(name: str) -> Object:
            return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}

        return {
            "openapi": "3.0.0",
            "info": self._info(),
            "paths": self._paths(resources, parameter),
            "components": {
                "schemas": {name: _rewrite(schema, V3_PREFIX, v2=False) for name, schema in schemas.items()}
            },
        }
