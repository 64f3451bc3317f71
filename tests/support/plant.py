"""A healthy cluster as the doctor sees it, to be damaged by tests."""

from __future__ import annotations

import copy
from typing import Any

from ovnbridge.controller import KINDS
from ovnbridge.ipam import SubnetUsage
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.crd.kinds import KINDS as CRDS
from ovnbridge.operations.findings import Binding, DatabaseState, Entries, Facts, Planned, Southbound
from tests.support.cluster import Json, ip, key_of, merged, node, pod, subnet, vpc

TYPES = {**{info.resource.kind: info.type for info in CRDS.values()}, **{r.kind: t for r, t in KINDS}}


def running(name: str, address: str, on: str = "n-1", **notes: str) -> Json:
    said = {"allocated": "true", "routed": "true", "ip_address": address, "logical_switch": "s", **notes}
    return pod(name, on=on, phase="Running", **said)


def port(owner: str = "", address: str = "", switch: str = "s", **more: Any) -> dict[str, Any]:
    ids = {"vendor": "kube-ovn", "ls": switch} | ({"pod": owner} if owner else {})
    return {"type": "", "addresses": frozenset({f"00:00:00:00:00:01 {address}"}), "external_ids": ids, **more}


class Plant:
    """A healthy cluster of two nodes and two pods, to be damaged."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.add(
            vpc("ovn-cluster"),
            subnet("s", cidrBlock="10.20.0.0/24", gateway="10.20.0.1", vpc="ovn-cluster", provider="ovn"),
            subnet("join", cidrBlock="100.64.0.0/16", gateway="100.64.0.1", vpc="ovn-cluster", provider="ovn"),
            *(node(f"n-{i}", f"192.168.0.{i}", ip_address=f"100.64.0.{i + 1}", allocated="true") for i in (1, 2)),
            *(ip(f"n-{i}", "join", f"100.64.0.{i + 1}") for i in (1, 2)),
            running("app/a", "10.20.0.5"),
            running("app/b", "10.20.0.6", on="n-2"),
            ip("app/a", "s", "10.20.0.5"),
            ip("app/b", "s", "10.20.0.6"),
            pod("app/host", on="n-1", phase="Running", spec={"hostNetwork": True}),
        )
        self.ports: dict[str, dict[str, Any]] = {
            "node-n-1": port(address="100.64.0.2", switch="join"),
            "node-n-2": port(address="100.64.0.3", switch="join"),
            "a.app": port("app/a", "10.20.0.5"),
            "b.app": port("app/b", "10.20.0.6"),
            "s-ovn-cluster": {"type": "router", "addresses": frozenset({"router"}), "external_ids": {"ls": "s"}},
        }
        self.other: dict[str, dict[Any, dict[str, Any]]] = {"NB_Global": {(): {"external_ids": {}}}}
        self.wanted: set[tuple[str, Any]] = {("Logical_Switch_Port", name) for name in self.ports}
        self.planned: list[Planned] = []
        self.usage = {"s": SubnetUsage(2, 251, "", "", 0, "", "")}
        self.chassis = {"c-1": "n-1", "c-2": "n-2"}
        self.bindings = {"a.app": Binding("c-1", True), "b.app": Binding("c-2", True)}
        self.warnings: dict[tuple[str, str], tuple[str, ...]] = {}
        self.unread: dict[str, int] = {}
        self.entries: list[Entries] = []
        self.databases = [DatabaseState("OVN_Northbound", f"tcp:{i}", True, True, True, i == 1) for i in (1, 2, 3)]

    def add(self, *objects: Json) -> None:
        for obj in objects:
            self.objects[key_of(obj)] = copy.deepcopy(obj)

    def edit(self, kind: str, key: str, patch: Json) -> None:
        self.objects[kind, key] = merged(self.objects[kind, key], patch)

    def drop(self, kind: str, key: str) -> None:
        del self.objects[kind, key]

    def facts(self) -> Facts:
        typed: dict[str, dict[str, Any]] = {}
        for (kind, key), obj in self.objects.items():
            typed.setdefault(kind, {})[key] = convert(obj, TYPES[kind])
        return Facts(
            objects=typed,
            rows={"Logical_Switch_Port": self.ports, **self.other},
            wanted=frozenset(self.wanted),
            planned=tuple(self.planned),
            usage=self.usage,
            southbound=Southbound(self.chassis, self.bindings),
            databases=tuple(self.databases),
            warnings=self.warnings,
            unread=self.unread,
            entries=tuple(self.entries),
        )
