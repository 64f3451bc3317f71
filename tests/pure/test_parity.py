"""What Kube-OVN 1.17 really wrote (`shared/reference/parity`) against what we write for the same objects, from nothing.

Two ways: the objects as Kube-OVN left them and an empty database (recovery), and the users' objects alone, in the
order in which they were applied (a new cluster). MAC addresses, and which node gets which join address, differ from
run to run (`shared/reference/README.md`); nothing else may.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import _KINDS, Cluster, Json, merged

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PARITY = SHARED / "reference" / "parity"
pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason="no shared/reference/parity beside the checkout")
SCENARIOS = ("01-basics", "02-vpc", "06-addresses", "07-underlay")
MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
NOT_OURS = {"NB_Global": {"mac_prefix", "max_tunid", "northd_internal_version", "svc_monitor_mac"}}
# Written by ovn-northd, or not a statement of the controller.
IGNORED = {"up", "label", "hv_cfg", "hv_cfg_timestamp", "nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp"}
BY = {
    "Logical_Router_Policy": "match",
    "ACL": "match",
    "DHCP_Options": "cidr",
    "Logical_Router_Static_Route": "ip_prefix",
}


Vary = Callable[[str], str]


def _as_it_is(text: str) -> str:
    return text


def objects_of(scenario: str, vary: Vary = _as_it_is) -> Iterable[Json]:
    kinds = {resource.plural: kind for kind, (resource, _) in _KINDS.items()}
    for plural, items in json.loads(vary((PARITY / scenario / "k8s.json").read_text())).items():
        for obj in items if plural in kinds else ():
            yield {**obj, "kind": kinds[plural]}


def expected_rows(scenario: str, vary: Vary = _as_it_is) -> dict[str, list[str]]:
    """Table → rows as comparable texts, without those of services and policies, which are built by later issues."""
    found: dict[str, list[str]] = {}
    for table, rows in json.loads(vary((PARITY / scenario / "nb.json").read_text())).items():
        kept = [row for row in rows if not _of_a_policy(table, row)]
        found[table] = sorted(_text(table, row) for row in kept)
    return found


def _of_a_policy(table: str, row: Json) -> bool:
    ids = row.get("external_ids", {})
    if table == "ACL":
        return ids.get("parent") != "ovn.sg.kubeovn_deny_all" and "subnet" not in ids
    if table == "Port_Group":
        return "np" in ids and "node" not in ids
    return table == "Address_Set" and "np" in ids


def actual_rows(cluster: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    snapshot = cluster.memory.snapshot()
    for (table, key), rows in snapshot.items():
        for row in rows:
            plain = {column: _referring(snapshot, value) for column, value in row.items()}
            if table == "Logical_Switch":
                plain["ports"] = _ports(cluster, key)
            found.setdefault(table, []).append(_text(table, plain))
    return {table: sorted(rows) for table, rows in found.items()}


def _ports(cluster: Cluster, switch: str) -> list[str]:
    """The column is not replicated: it is read where it is kept."""
    content = cluster.database.content
    row = next(row for row in content["Logical_Switch"].values() if row["name"] == switch)
    return [f"Logical_Switch_Port:{content['Logical_Switch_Port'][uuid]['name']}" for uuid in row["ports"]]


def _referring(snapshot: Mapping[Any, Any], value: Any) -> Any:
    """References as nb.json has them."""
    if isinstance(value, frozenset):
        return sorted((_referring(snapshot, v) for v in value), key=str)
    if isinstance(value, tuple) and len(value) == 2 and value in snapshot:
        table = value[0]
        return f"{table}:{snapshot[value][0][BY.get(table, 'name')]}"
    return value


def _text(table: str, row: Mapping[str, Any]) -> str:
    """A row without what may differ: empty and default columns, MAC addresses."""
    kept: dict[str, Any] = {}
    for column, value in row.items():
        if column in IGNORED or value in (None, "", [], {}, False, 0):
            continue
        if table == "Load_Balancer" and column == "vips":
            continue  # services
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k not in NOT_OURS.get(table, ()) and k != "kube-ovn-version"}
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, list):
            value = sorted(value, key=str)
        if value != {}:
            kept[column] = value
    return MAC.sub("MAC", json.dumps(kept, sort_keys=True, default=str))


def compare(actual: Mapping[str, list[str]], expected: Mapping[str, list[str]]) -> None:
    problems = []
    for table in sorted({*actual, *expected}):
        have, want = actual.get(table, []), expected.get(table, [])
        problems += [f"{table} missing {row}" for row in _without(want, have)]
        problems += [f"{table} too many {row}" for row in _without(have, want)]
    assert not problems, "\n".join(problems)


def _without(some: list[str], others: list[str]) -> list[str]:
    rest = list(others)
    left = []
    for one in some:
        if one in rest:
            rest.remove(one)
        else:
            left.append(one)
    return left


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recovery_of_an_empty_database(scenario: str) -> None:
    cluster = Cluster()
    cluster.memory.put("NB_Global")
    for obj in objects_of(scenario):
        cluster.api._store(obj["kind"], _key(obj), obj)
    cluster.start()
    cluster.run()
    compare(actual_rows(cluster), expected_rows(scenario))
    if scenario != "06-addresses":  # whose DHCP options have other UUIDs now
        assert cluster.written == [], "Kubernetes says it all already"


def varied(scenario: str, seed: int) -> Vary:
    """Other names and networks, the same in objects and rows: what Kube-OVN would have written for them.

    Names keep their hyphens, since some rows have dots in their place.
    """
    rng = random.Random(seed)
    names = {
        obj["metadata"]["name"]
        for obj in objects_of(scenario)
        if obj["kind"] in ("Subnet", "Vpc", "Pod", "IPPool", "Vip", "Vlan", "ProviderNetwork", "Node")
    }
    exchange: dict[str, str] = {}
    for name in sorted(names - {"ovn-cluster", "ovn-default", "join"}):
        if re.fullmatch("[0-9a-f]{1,2}", name):
            continue  # it might be a part of a MAC address
        new = "-".join("".join(rng.choices("abcdxyz", k=rng.randint(4, 6))) for _ in name.split("-"))
        exchange[name] = new
        exchange[name.replace("-", ".")] = new.replace("-", ".")
    word = re.compile(
        rf"(?<![A-Za-z0-9])({'|'.join(map(re.escape, sorted(exchange, key=len, reverse=True)))})(?![A-Za-z0-9])"
    )
    shift = rng.randint(1, 30)

    def network(found: re.Match[str]) -> str:
        second = int(found[1])
        return f"10.{second if second in (16, 96) else second + 100 + shift}."

    return lambda text: re.sub(r"\b10\.(\d+)\.", network, word.sub(lambda m: exchange[m[0]], text))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_variations(scenario: str, seed: int) -> None:
    cluster, vary = Cluster(), varied(scenario, seed)
    cluster.memory.put("NB_Global")
    for obj in objects_of(scenario, vary):
        cluster.api._store(obj["kind"], _key(obj), obj)
    cluster.start()
    cluster.run()
    compare(actual_rows(cluster), expected_rows(scenario, vary))


def _key(obj: Json) -> str:
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_new_cluster(scenario: str) -> None:
    known = {(obj["kind"], _key(obj)): obj for obj in objects_of(scenario)}
    cluster = Cluster()
    cluster.memory.put("NB_Global")
    for (kind, key), obj in known.items():
        if kind in ("Node", "Namespace"):
            cluster.api._store(kind, key, _fresh(obj))
    cluster.run()
    for obj in filter(None, yaml.safe_load_all((PARITY / scenario / "objects.yaml").read_text())):
        if obj["kind"] not in _KINDS:
            continue
        cluster.apply(merged(cluster.api.objects.get((obj["kind"], _key(obj)), {}), obj)).run()
        if obj["kind"] == "ProviderNetwork":  # what its node daemons answer
            status = known[(obj["kind"], _key(obj))]["status"]
            cluster.api.patch(obj["kind"], _key(obj), {"status": {k: v for k, v in status.items() if k != "vlans"}})
            cluster.run()
    for (kind, key), obj in known.items():  # the kubelet's part
        if kind == "Pod":
            cluster.api.patch(kind, key, {"status": obj["status"]})
    cluster.run()
    joins = _joins(cluster, known)
    expected = {t: sorted(_exchanged(row, joins) for row in rows) for t, rows in expected_rows(scenario).items()}
    compare(actual_rows(cluster), expected)
    for (kind, key), obj in known.items():
        want, have = _statement(obj, joins), _statement(cluster.api.objects.get((kind, key), {}), {})
        lost = {part: (have.get(part), want[part]) for part in want if have.get(part) != want[part]}
        assert not lost, f"{kind} {key}: {lost}"
    assert {k for k in cluster.api.objects if k[0] == "IP"} == {k for k in known if k[0] == "IP"}


def _fresh(obj: Json) -> Json:
    """A node or namespace before any controller saw it."""
    meta = obj["metadata"]
    kept = {k: v for k, v in meta.items() if k in ("name", "labels", "uid", "creationTimestamp")}
    notes = {k: v for k, v in (meta.get("annotations") or {}).items() if k == "ovn.kubernetes.io/chassis"}
    return {**{k: v for k, v in obj.items() if k != "metadata"}, "metadata": {**kept, "annotations": notes}}


def _joins(cluster: Cluster, known: Mapping[tuple[str, str], Json]) -> dict[str, str]:
    """Kube-OVN's join address of each node → ours."""
    found = {}
    for (kind, key), obj in known.items():
        if kind == "IP" and key.startswith("node-"):
            found[obj["spec"]["v4IpAddress"]] = cluster.get("IP", key)["spec"]["v4IpAddress"]
    return found


def _exchanged(text: str, joins: Mapping[str, str]) -> str:
    return re.sub(r"\b100\.64\.0\.\d+\b", lambda m: joins.get(m[0], m[0]), text)


def _exchanged_outside(kept: re.Pattern[str], text: str, joins: Mapping[str, str]) -> str:
    parts, position = [], 0
    for found in kept.finditer(text):
        parts += [_exchanged(text[position : found.start()], joins), found[0]]
        position = found.end()
    return "".join([*parts, _exchanged(text[position:], joins)])


def _statement(obj: Json, joins: Mapping[str, str]) -> Any:
    """What the controller says of an object, comparable."""
    meta = obj.get("metadata", {})
    said = {
        "annotations": {
            k: v for k, v in (meta.get("annotations") or {}).items() if ".kubernetes.io/" in k and "kubectl" not in k
        },
        "finalizers": (meta.get("finalizers") or []) if obj.get("kind") != "IP" else [],  # docs/differences.md
        "labels": meta.get("labels") or {},
    }
    if obj.get("kind") not in ("Node", "Namespace", "Pod"):
        status = dict(obj.get("status") or {})
        status["conditions"] = sorted(
            (c["type"], c["status"], c.get("reason", ""), c.get("message", "")) for c in status.get("conditions") or ()
        )
        for name in ("dhcpV4OptionsUUID", "dhcpV6OptionsUUID"):
            status[name] = bool(status.get(name))
        said |= {"spec": _without_zeros(obj.get("spec")), "status": _without_zeros(status)}
    text = MAC.sub("MAC", json.dumps(said, sort_keys=True))
    ranges = re.compile(r'"v[46]\w+IPrange": "[^"]*"')  # of all nodes together: whose is which does not matter
    return json.loads(_exchanged_outside(ranges, text, joins))


def _without_zeros(value: Any) -> Any:
    """What Go programs write for fields that nobody set."""
    if isinstance(value, dict):
        kept = {k: _without_zeros(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in (None, "", [], {}, 0, False)}
    return [_without_zeros(v) for v in value] if isinstance(value, list) else value
