"""`manifests/`: each service account may read every kind that its role follows; no rule speaks of what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovnbridge.controller import KINDS
from ovnbridge.model import resource
from ovnbridge.validation import WATCHED

MANIFESTS = Path(__file__).parents[2] / "manifests"
READ = {"get", "list", "watch"}


def documents() -> Iterator[dict[str, Any]]:
    for path in sorted(MANIFESTS.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def allowed(role: str) -> dict[tuple[str, str], set[str]]:
    """(group, resource) → verbs of a ClusterRole, rules for named objects left out."""
    found: dict[tuple[str, str], set[str]] = {}
    (document,) = (d for d in documents() if (d["kind"], d["metadata"]["name"]) == ("ClusterRole", role))
    for rule in document["rules"]:
        for group in rule["apiGroups"]:
            for plural in rule["resources"] if "resourceNames" not in rule else ():
                found.setdefault((group, plural), set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize(
    ("role", "kinds"),
    [
        ("system:ovn", {r for r, _ in KINDS}),
        ("system:kube-ovn-webhook", {r for r, _ in (*KINDS, *WATCHED)}),
        ("system:kube-ovn-cni", {resource.POD, resource.NODE, resource.SUBNET}),
    ],
)
def test_what_is_followed_may_be_read(role: str, kinds: set[resource.Resource]) -> None:
    rules = allowed(role)
    assert {r.kind for r in kinds if not rules.get((r.group, r.plural), set()) >= READ} == set()


def test_rules_speak_of_what_is_there() -> None:
    crds = [yaml.safe_load(path.read_text()) for path in (MANIFESTS / "crds").glob("*.yaml")]
    known = {crd["spec"]["names"]["plural"] for crd in crds}
    known |= {
        f"{crd['spec']['names']['plural']}/status"
        for crd in crds
        if any("status" in version.get("subresources", {}) for version in crd["spec"]["versions"])
    }
    used = {
        plural
        for d in documents()
        for rule in (d.get("rules") or ())
        if "kubeovn.io" in rule["apiGroups"]
        for plural in rule["resources"]
    }
    assert used - known == set()


def test_bindings_name_roles_and_accounts_that_are_there() -> None:
    there = {(d["kind"], d["metadata"]["name"]) for d in documents()}
    for binding in (d for d in documents() if d["kind"].endswith("Binding")):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        assert {("ServiceAccount", subject["name"]) for subject in binding["subjects"]} <= there
