"""A fresh start on what is there, to compare a running cluster with: has it forgotten its past?

`beginning` is what the users of a cluster have written, as it is now, with what cannot be the same by nature taken over
explicitly; nothing else of what the controller wrote is there, and the database is empty. What stands by rule:

- addresses that were given: IP objects, Vips, and what pods were told of their addresses (spec C.8, E.14);
- the active gateway while it is ready (spec D.2.4): `status.activateGateway`;
- the order in which a namespace lists its subnets (docs/differences.md): the annotation `logical_switch`;
- MAC addresses of router ports, and of DHCP servers (spec D.2): `rows` replaces them by those of the fresh start;
- members of a node's group that only one of two rules wants (docs/differences.md): `rows` leaves them out.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from ovnbridge.engine.items import STANDS, Member
from ovnbridge.model.names import annotation
from ovnbridge.model.ovn import Ref
from tests.support.cluster import Api, Cluster, Json
from tests.support.memory import MemoryDatabase

_TOLD = tuple(annotation(suffix, "") for suffix in ("allocated", "ip_address", "mac_address"))
_LISTED = annotation("logical_switch")
_UNORDERED = ("subnets", "vlans", "readyNodes", "notReadyNodes")


def restarted(cluster: Cluster, given: Mapping[tuple[str, str], Json]) -> Cluster:
    """A settled cluster that started on the same objects; `given`: metadata and status as their users wrote them."""
    api = Api()
    api.objects = beginning(cluster, given)
    fresh = Cluster(api, MemoryDatabase(cluster.database.schema), cluster.options)
    fresh.run()
    publish(fresh)
    return fresh


def publish(cluster: Cluster) -> None:
    """Counts are published in intervals, by a clock that there is none of here."""
    cluster.state.reactor.allocator.publish_usage()
    cluster.run()


def beginning(cluster: Cluster, given: Mapping[tuple[str, str], Json]) -> dict[tuple[str, str], Json]:
    """See the module's docstring."""
    found = {}
    for (kind, key), stored in cluster.api.objects.items():
        now = copy.deepcopy(stored)
        if kind not in ("IP", "Vip"):
            users = given.get((kind, key), {})
            meta = {
                name: now["metadata"][name]
                for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp")
                if name in now["metadata"]
            }
            meta |= {
                name: copy.deepcopy(users.get("metadata", {}).get(name) or {}) for name in ("annotations", "labels")
            }
            meta["annotations"] |= {
                k: v for k, v in (now["metadata"].get("annotations") or {}).items() if _stands(kind, k)
            }
            status = copy.deepcopy(users.get("status") or {})
            if kind == "Subnet":
                status = {"activateGateway": now.get("status", {}).get("activateGateway", "")}
            now = {"kind": kind, "metadata": meta, "spec": now.get("spec", {}), "status": status}
        found[kind, key] = now
    return found


def _stands(kind: str, name: str) -> bool:
    return name == _LISTED if kind == "Namespace" else kind == "Pod" and name.endswith(_TOLD)


def statements(cluster: Cluster) -> dict[str, Any]:
    """What every object says, comparable: UUIDs of DHCP rows, and lists whose order says nothing, are made equal."""
    found = {}
    for (kind, key), obj in cluster.api.objects.items():
        meta = obj["metadata"]
        status = dict(obj.get("status") or {})
        status |= {name: bool(status[name]) for name in ("dhcpV4OptionsUUID", "dhcpV6OptionsUUID") if name in status}
        status |= {name: sorted(status[name]) for name in _UNORDERED if isinstance(status.get(name), list)}
        if "conditions" in status:
            status["conditions"] = sorted(status["conditions"], key=lambda c: (c["type"], c.get("node", "")))
        said = {name: meta.get(name) for name in ("annotations", "labels", "finalizers")}
        found[f"{kind} {key}"] = _without_zeros({**said, "spec": obj.get("spec"), "status": status})
    return found


def _without_zeros(value: Any) -> Any:
    """A field that nobody set is no other than one that says nothing."""
    if isinstance(value, dict):
        kept = {name: _without_zeros(v) for name, v in value.items()}
        return {name: v for name, v in kept.items() if v not in (None, "", [], {}, 0, False)}
    return value


def rows(cluster: Cluster, fresh: Cluster) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """All rows of both, MAC addresses that stand replaced in the first by those of the second."""
    exchange: dict[str, str] = {}
    olds, news = _wanted_rows(cluster), _wanted_rows(fresh)
    for key in olds.keys() & news.keys():
        (old,), (new,) = olds[key], news[key]
        if key[0] == "Logical_Router_Port":
            exchange[old["mac"]] = new["mac"]
        if key[0] == "DHCP_Options":
            for name in ("server_mac", "server_id"):
                before, after = old["options"].get(name, ""), new["options"].get(name, "")
                if ":" in before and ":" in after:
                    exchange[before] = after
    return _exchanged(olds, exchange), _exchanged(news, {})


def _wanted_rows(cluster: Cluster) -> dict[Any, list[dict[str, Any]]]:
    """All rows, without the members that may be there or not."""
    found = cluster.memory.snapshot()
    for items in cluster.engine.desired.snapshot().values():
        for item in items:
            if isinstance(item, Member) and item.entry == STANDS and isinstance(item.value, Ref):
                for row in found.get((item.table, item.key), ()):
                    row[item.column] -= {(item.value.table, item.value.key)}
    return found


def _exchanged(snapshot: Mapping[Any, Any], texts: Mapping[str, str]) -> dict[Any, Any]:
    return {key: [_plain(row, texts) for row in found] for key, found in snapshot.items()}


def _plain(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v, texts) for k, v in value.items()}
    if isinstance(value, frozenset):
        return sorted((_plain(v, texts) for v in value), key=str)
    if isinstance(value, str):
        for old, new in texts.items():
            value = value.replace(old, new)
    return value


def differences(cluster: Cluster, fresh: Cluster, kept: Collection[Any] = ()) -> list[str]:
    """What rows and objects of two clusters do not agree in, for people; `kept`: keys of those that may differ."""
    found = []
    for ours, theirs in (rows(cluster, fresh), (statements(cluster), statements(fresh))):
        for key in sorted({*ours, *theirs}, key=str):
            if key not in kept and ours.get(key) != theirs.get(key):
                found += [f"{key}", f"   runs:  {ours.get(key)}", f"   fresh: {theirs.get(key)}"]
    return found
