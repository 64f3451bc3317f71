"""OVSDB operations on the local Open vSwitch, computed from its replica. Pure.

Each function answers with the operations that are missing; nothing missing, no operations. `ovs` sends them.
Spec: node A5, A7, B3, B4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from ovnbridge.model.ovn import VENDOR
from ovnbridge.node.names import INTEGRATION_BRIDGE

Rows: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
Operation: TypeAlias = dict[str, Any]

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "Open_vSwitch": ("bridges", "external_ids"),
    "Bridge": ("name", "ports", "datapath_type", "fail_mode", "external_ids"),
    "Port": ("name", "interfaces", "qos", "external_ids"),
    "Interface": ("name", "type", "external_ids", "ofport", "error", "mtu_request", "link_state"),
    "QoS": ("queues", "external_ids"),
    "Queue": ("external_ids",),
}
"""What is replicated of the Open_vSwitch database."""

INSTALLED: Final = "ovn-installed"


def by_uuid(uuid: str) -> list[list[Any]]:
    """A `where` clause for one row."""
    return [["_uuid", "==", ["uuid", uuid]]]


def to_map(values: Mapping[str, str]) -> list[Any]:
    """A map in OVSDB notation."""
    return ["map", [[key, value] for key, value in sorted(values.items())]]


def to_set(values: Iterable[str], kind: str = "") -> list[Any]:
    """A set in OVSDB notation; `kind` is "uuid" or "named-uuid" for references."""
    return ["set", [[kind, value] if kind else value for value in sorted(values)]]


def find(rows: Rows, table: str, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """The row with a name."""
    for uuid, row in rows.get(table, {}).items():
        if row["name"] == name:
            return uuid, row
    return None


def change_map(
    table: str, uuid: str, column: str, actual: Mapping[str, str], wanted: Mapping[str, str | None]
) -> list[Operation]:
    """Set some entries of a map column (None removes one) and leave the others alone."""
    wrong = [key for key, value in wanted.items() if key in actual and actual[key] != value]
    add = {key: value for key, value in wanted.items() if value is not None and actual.get(key) != value}
    mutations: list[list[Any]] = []
    if wrong:
        mutations.append([column, "delete", to_set(wrong)])
    if add:
        mutations.append([column, "insert", to_map(add)])
    return [{"op": "mutate", "table": table, "where": by_uuid(uuid), "mutations": mutations}] if mutations else []


def pod_ids(
    *, port: str, owner: str, namespace: str, netns: str, ips: Iterable[str] = (), encap_ip: str = ""
) -> dict[str, str | None]:
    """`external_ids` of a pod's interface (spec A5.3); None for what must not be there."""
    return {
        "iface-id": port,
        "vendor": VENDOR,
        "pod_name": owner,
        "pod_namespace": namespace,
        "pod_netns": netns,
        "ip": ",".join(ips) or None,
        "encap-ip": encap_ip or None,
    }


def ensure_bridge(rows: Rows, name: str, *, datapath_type: str, token: str) -> list[Operation]:
    """The bridge exists, in secure mode; the datapath type of an existing one stands."""
    found = find(rows, "Bridge", name)
    if found is not None:
        uuid, row = found
        if row["fail_mode"] == "secure":
            return []
        return [{"op": "update", "table": "Bridge", "where": by_uuid(uuid), "row": {"fail_mode": "secure"}}]
    (switch,) = rows["Open_vSwitch"]
    interface, port, bridge = f"i{token}", f"p{token}", f"b{token}"
    return [
        {"op": "insert", "table": "Interface", "uuid-name": interface, "row": {"name": name, "type": "internal"}},
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": port,
            "row": {"name": name, "interfaces": ["named-uuid", interface]},
        },
        {
            "op": "insert",
            "table": "Bridge",
            "uuid-name": bridge,
            "row": {
                "name": name,
                "ports": ["named-uuid", port],
                "datapath_type": datapath_type,
                "fail_mode": "secure",
            },
        },
        {
            "op": "mutate",
            "table": "Open_vSwitch",
            "where": by_uuid(switch),
            "mutations": [["bridges", "insert", to_set([bridge], "named-uuid")]],
        },
    ]


def ensure_port(
    rows: Rows,
    name: str,
    external_ids: Mapping[str, str | None],
    *,
    token: str,
    kind: str = "",
    mtu_request: int = 0,
    bridge: str = INTEGRATION_BRIDGE,
) -> list[Operation]:
    """A port with one interface of that name is on the bridge; no other interface has its iface-id.

    Raises LookupError when the bridge does not exist.
    """
    operations = release_iface_id(rows, external_ids.get("iface-id") or "", keep=name)
    found = find(rows, "Interface", name)
    if found is not None:
        uuid, row = found
        operations += change_map("Interface", uuid, "external_ids", row["external_ids"], external_ids)
        columns: dict[str, Any] = {}
        if kind and row["type"] != kind:
            columns["type"] = kind
        if mtu_request and row["mtu_request"] != mtu_request:
            columns["mtu_request"] = mtu_request
        if columns:
            operations.append({"op": "update", "table": "Interface", "where": by_uuid(uuid), "row": columns})
        return operations
    parent = find(rows, "Bridge", bridge)
    if parent is None:
        raise LookupError(f"bridge {bridge} does not exist")
    row = {"name": name, "external_ids": to_map({k: v for k, v in external_ids.items() if v is not None})}
    if kind:
        row["type"] = kind
    if mtu_request:
        row["mtu_request"] = mtu_request
    interface, port = f"i{token}", f"p{token}"
    return [
        *operations,
        {"op": "insert", "table": "Interface", "uuid-name": interface, "row": row},
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": port,
            "row": {"name": name, "interfaces": ["named-uuid", interface]},
        },
        {
            "op": "mutate",
            "table": "Bridge",
            "where": by_uuid(parent[0]),
            "mutations": [["ports", "insert", to_set([port], "named-uuid")]],
        },
    ]


def release_iface_id(rows: Rows, iface_id: str, *, keep: str = "") -> list[Operation]:
    """No other interface carries the iface-id (spec A5 step 2)."""
    if not iface_id:
        return []
    return [
        operation
        for uuid, row in rows.get("Interface", {}).items()
        if row["name"] != keep and row["external_ids"].get("iface-id") == iface_id
        for operation in change_map("Interface", uuid, "external_ids", row["external_ids"], {"iface-id": None})
    ]


def remove_port(rows: Rows, name: str) -> list[Operation]:
    """The port is on no bridge, and the QoS and Queue rows of its pod are gone with it."""
    found = find(rows, "Port", name)
    if found is None:
        return []
    uuid, _ = found
    operations: list[Operation] = [
        {
            "op": "mutate",
            "table": "Bridge",
            "where": by_uuid(parent),
            "mutations": [["ports", "delete", to_set([uuid], "uuid")]],
        }
        for parent, bridge in rows.get("Bridge", {}).items()
        if uuid in bridge["ports"]
    ]
    return operations + _remove_qos(rows, name, uuid)


def _remove_qos(rows: Rows, name: str, port_uuid: str) -> list[Operation]:
    """QoS and Queue rows of the pod that no remaining port uses; they are root tables, so nobody else removes them."""
    interface = find(rows, "Interface", name)
    ids = interface[1]["external_ids"] if interface else {}
    pod = f"{ids.get('pod_namespace', '')}/{ids.get('pod_name', '')}"
    if pod == "/":
        return []
    used = {row["qos"] for uuid, row in rows.get("Port", {}).items() if uuid != port_uuid and row.get("qos")}
    qos = [u for u, r in rows.get("QoS", {}).items() if r["external_ids"].get("pod") == pod and u not in used]
    kept = set().union(*(_references(r["queues"]) for u, r in rows.get("QoS", {}).items() if u not in qos), set())
    queues = [u for u, r in rows.get("Queue", {}).items() if r["external_ids"].get("pod") == pod and u not in kept]
    return [
        {"op": "delete", "table": table, "where": by_uuid(uuid)}
        for table, uuids in (("QoS", qos), ("Queue", queues))
        for uuid in sorted(uuids)
    ]


def _references(value: Any) -> set[str]:
    return set(value.values()) if isinstance(value, Mapping) else set(value or ())


def set_open_vswitch_ids(rows: Rows, wanted: Mapping[str, str | None]) -> list[Operation]:
    """Entries of Open_vSwitch external_ids."""
    ((uuid, row),) = rows["Open_vSwitch"].items()
    return change_map("Open_vSwitch", uuid, "external_ids", row["external_ids"], wanted)


def next_configuration(rows: Rows) -> list[Operation]:
    """Tell vswitchd's watchers that something changed; ovs-vsctl does the same in each transaction."""
    return [
        {"op": "mutate", "table": "Open_vSwitch", "where": by_uuid(uuid), "mutations": [["next_cfg", "+=", 1]]}
        for uuid in rows["Open_vSwitch"]
    ]


def pod_of(external_ids: Mapping[str, str]) -> tuple[str, str] | None:
    """(namespace, name) of the pod or virtual machine that an interface of ours belongs to."""
    if external_ids.get("vendor") != VENDOR:
        return None
    name, namespace = external_ids.get("pod_name", ""), external_ids.get("pod_namespace", "")
    return (namespace, name) if name and namespace else None
