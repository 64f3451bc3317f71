"""Node → join port, join address claim and annotations, node port group, routing policies (spec D.4, B.4, D.2.3)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ovnbridge.compile.lease import address_columns, lease_of
from ovnbridge.compile.options import Options, options
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Annotations, Claim, Item, Row
from ovnbridge.ipam import AddressRequest
from ovnbridge.model import address
from ovnbridge.model.kube import Node
from ovnbridge.model.names import annotation, node_group, node_port_name
from ovnbridge.model.ovn import VENDOR, Ref


class NodeView(msgspec.Struct, frozen=True):
    """A node as other units see it; `internal` and `join` are `v4,v6`."""

    name: str
    internal: str
    join: str


def node_names(reader: Reader) -> tuple[str, ...]:
    """All node names, sorted (memoised question)."""
    return tuple(reader.keys("Node"))


def node_view(reader: Reader, name: str) -> NodeView | None:
    """A node, None when absent (memoised question)."""
    node = reader.get("Node", name)
    if not isinstance(node, Node):
        return None
    lease = lease_of(reader, node_port_name(name))
    join = address.join(lease.spec.v4_ip_address, lease.spec.v6_ip_address) if lease is not None else ""
    return NodeView(name, _internal(node), join)


def _internal(node: Node) -> str:
    found = {4: "", 6: ""}
    for entry in node.status.addresses or ():
        version = address.host_family(entry.address)
        if entry.type == "InternalIP" and version is not None and not found[version]:
            found[version] = entry.address
    return address.join(found[4], found[6])


def node_addresses(reader: Reader) -> frozenset[str]:
    """All nodes' internal addresses: never given to pods of the default VPC by chance (memoised question)."""
    found: set[str] = set()
    for name in reader.query(node_names):
        view = reader.query(node_view, name)
        if view is not None:
            found.update(part for part in view.internal.split(",") if part)
    return frozenset(found)


def _node(reader: Reader, name: str) -> Iterator[Item]:
    node = reader.get("Node", name)
    if not isinstance(node, Node):
        return
    opts = options(reader)
    join = reader.query(subnet_view, opts.node_switch)
    group, port = node_group(name), node_port_name(name)
    ids = {"vendor": VENDOR, "node": name, "np": f"node/{name}"}
    yield Row("Port_Group", group, {"name": group, "external_ids": ids}, members=("ports",))
    allocated = node.metadata.annotation(annotation("allocated")) == "true"
    given = address.split(node.metadata.annotation(annotation("ip_address"))) if allocated else ()
    held = [text for text in given if text and join is not None and address.contains(join.cidr_block, text)]
    mac = node.metadata.annotation(annotation("mac_address")) if allocated else ""
    request = AddressRequest(
        subnets=(opts.node_switch,),
        addresses=(",".join(held),) if held else (),
        mac=mac if address.valid_mac(mac) else "",
        amend=True,
        pod=name,
        node=name,
    )
    yield Claim(port, request)
    lease = lease_of(reader, port)
    if lease is None:
        return
    join_ip = address.join(lease.spec.v4_ip_address, lease.spec.v6_ip_address)
    yield Row(
        "Logical_Switch_Port",
        port,
        {
            "name": port,
            "addresses": address_columns(lease),
            "external_ids": {"vendor": VENDOR, "ls": opts.node_switch},
        },
        parent=Ref("Logical_Switch", opts.node_switch),
    )
    if join is not None:
        yield Annotations(
            "Node",
            name,
            {
                annotation("allocated"): "true",
                annotation("ip_address"): join_ip,
                annotation("mac_address"): lease.spec.mac_address,
                annotation("cidr"): join.cidr_block,
                annotation("gateway"): join.gateway,
                annotation("logical_switch"): opts.node_switch,
                annotation("port_name"): port,
            },
        )
    yield from _policies(name, _internal(node), join_ip, opts)


def _policies(name: str, internal: str, join: str, opts: Options) -> Iterator[Item]:
    """Traffic to a node's own address, and its pods' to a DNS server that runs on every node, leaves through that node
    (priority 30000). As in Kube-OVN there is neither for a family of which the node has no address."""
    hops: dict[int, str] = dict(zip((4, 6), address.split(join)))
    group = node_group(name)
    wanted: dict[str, tuple[int, dict[str, str]]] = {}
    known = set()
    for part in internal.split(","):
        if version := address.family(part):
            known.add(version)
            wanted[f"ip{version}.dst == {part}"] = (version, {})
    for part in opts.node_local_dns_ip.split(","):
        if (version := address.host_family(part.strip())) in known:
            match = f"ip{version}.src == ${group}_ip{version} && ip{version}.dst == {part.strip()}"
            wanted[match] = (version, {"isLocalDnsCache": "true"})
    for match, (family, ids) in wanted.items():
        if hops[family]:
            yield Row(
                "Logical_Router_Policy",
                (opts.cluster_router, 30000, match),
                {
                    "priority": 30000,
                    "match": match,
                    "action": "reroute",
                    "nexthops": frozenset({hops[family]}),
                    "external_ids": {"vendor": VENDOR, "node": name, "address-family": str(family), **ids},
                },
                parent=Ref("Logical_Router", opts.cluster_router),
            )


UNITS = (Unit("node", "Node", _node),)
