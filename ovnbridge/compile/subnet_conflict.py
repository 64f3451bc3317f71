"""What other objects have against a subnet: overlapping CIDRs, nodes' addresses, namespaces, route tables (spec F.1,
"Runtime additional").

Of two subnets that cannot both be, the newer one is refused. Overlaps are looked up, not searched for: of two prefixes
that share an address one contains the other, so a prefix is asked for at each of its supernets, and for what is in it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from ovnbridge.compile.options import Options, options
from ovnbridge.compile.subnet_spec import INVALID, Problem, accepted_spec, described
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Index
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import Node


def conflict(reader: Reader, name: str, spec: SubnetSpec) -> Problem | None:
    """Why a subnet cannot be beside the other objects that there are; `spec` is its defaulted spec."""
    message = next(_conflicts(reader, name, spec, options(reader)), "")
    return Problem(INVALID, message) if message else None


def _conflicts(reader: Reader, name: str, spec: SubnetSpec, opts: Options) -> Iterator[str]:
    if not spec.cidr_block and (users := [*reader.by("ip-addressed", name), *reader.by("vip-subnet", name)]):
        yield f"cidrBlock cannot go while its addresses are in use by {', '.join(users[:3])}"  # spec C.7
    for other in _overlapping(reader, spec, opts):
        if other != name and _older(reader, other, name, opts):
            yield f"cidrBlock {spec.cidr_block} overlaps that of subnet {other} in vpc {spec.vpc}"
    if spec.vpc == opts.cluster_router and not spec.vlan:
        created = reader.query(_created, name)
        for age, node in reader.query(_nodes_in, spec.cidr_block):
            if age < created:  # a node that comes later does no harm: its address is not given out (spec E.14)
                yield f"cidrBlock {spec.cidr_block} holds the address {node}"
    if spec.external_egress_gateway:
        for other in reader.by("subnet-egress-table", str(spec.policy_routing_table_id)):
            if other != name and _older(reader, other, name, opts):
                yield f"policyRoutingTableID {spec.policy_routing_table_id} is that of subnet {other}"
    for namespace in spec.namespaces:
        yield from _namespace(reader, namespace, spec, opts)


def _namespace(reader: Reader, namespace: str, spec: SubnetSpec, opts: Options) -> Iterator[str]:
    if spec.vpc == opts.cluster_router:
        for vpc in reader.by("vpc-namespaces", namespace):
            if vpc != opts.cluster_router:
                yield f"namespace {namespace} is bound to vpc {vpc}"
        return
    own = reader.get("Vpc", spec.vpc)
    if isinstance(own, Vpc) and namespace not in own.spec.namespaces:
        yield f"namespace {namespace} is not bound to vpc {spec.vpc}"


def _overlapping(reader: Reader, spec: SubnetSpec, opts: Options) -> list[str]:
    """Subnets of the same VPC and the same vlan with an address in common, also with this one itself."""
    vpcs = {spec.vpc, ""} if spec.vpc == opts.cluster_router else {spec.vpc}
    found: set[str] = set()
    for vpc in vpcs:
        for net in address.networks(spec.cidr_block):
            *above, own = _prefixes(vpc, spec.vlan, net)
            found.update(reader.by("subnet-within", own))
            for prefix in above:
                found.update(reader.by("subnet-cidr", prefix))
    return sorted(found)


def _older(reader: Reader, other: str, name: str, opts: Options) -> bool:
    """Whether `other` is in force and goes before `name`: the cluster's own subnets, then by age, then by name."""
    theirs = reader.query(accepted_spec, other)
    mine = reader.query(accepted_spec, name)
    if not isinstance(theirs, SubnetSpec) or not isinstance(mine, SubnetSpec) or theirs.vpc != mine.vpc:
        return False
    return _rank(reader, other, opts) < _rank(reader, name, opts)


def _rank(reader: Reader, name: str, opts: Options) -> tuple[int, str, str]:
    own = (opts.node_switch, opts.default_ls)
    return (own.index(name) if name in own else len(own), reader.query(_created, name), name)


def _created(reader: Reader, name: str) -> str:
    """When a subnet was created (memoised question)."""
    subnet = reader.query(described, name)
    return subnet.metadata.creation_timestamp if subnet is not None else ""


def _nodes_in(reader: Reader, cidr_block: str) -> tuple[tuple[str, str], ...]:
    """(creation, address and name) of the nodes with an internal address in a cidrBlock (memoised question)."""
    known = reader.query(_node_addresses)
    found = []
    for net in address.networks(cidr_block):
        position = bisect_left(known, (net.version, int(net.network_address)))
        while position < len(known) and known[position][:2] <= (net.version, int(net.broadcast_address)):
            version, value, created, node = known[position]
            found.append((created, f"{address.text_of(value, version)} of node {node}"))
            position += 1
    return tuple(found)


def _node_addresses(reader: Reader) -> tuple[tuple[int, int, str, str], ...]:
    """(version, number, creation, node) of all internal addresses, sorted (memoised question)."""
    found = []
    for node in reader.all("Node"):
        for entry in node.status.addresses or () if isinstance(node, Node) else ():
            version = address.host_family(entry.address)
            if entry.type == "InternalIP" and version is not None:
                value, meta = address.number_of(entry.address), node.metadata
                found.append((version, value, meta.creation_timestamp, meta.name))
    return tuple(sorted(found))


def _prefixes(vpc: str, vlan: str, net: address.Network) -> list[str]:
    """Index keys of a network's supernets, widest first, the last one being the network itself."""
    value, bits = int(net.network_address), net.max_prefixlen
    where = f"{vpc}|{vlan}|{net.version}"
    return [f"{where}|{value >> (bits - length):x}/{length}" for length in range(net.prefixlen + 1)]


def _all_prefixes(subnet: Subnet) -> list[list[str]]:
    spec = subnet.spec
    try:
        return [_prefixes(spec.vpc, spec.vlan, net) for net in address.networks(spec.cidr_block)]
    except ValueError:
        return []


def _by_cidr(subnet: Subnet) -> Iterable[str]:
    return [prefixes[-1] for prefixes in _all_prefixes(subnet)]


def _by_supernet(subnet: Subnet) -> Iterable[str]:
    return [prefix for prefixes in _all_prefixes(subnet) for prefix in prefixes]


def _by_egress_table(subnet: Subnet) -> Iterable[str]:
    return (str(subnet.spec.policy_routing_table_id),) if subnet.spec.external_egress_gateway else ()


INDEXES = (
    Index("subnet-cidr", "Subnet", _by_cidr),
    Index("subnet-within", "Subnet", _by_supernet),
    Index("subnet-egress-table", "Subnet", _by_egress_table),
)
