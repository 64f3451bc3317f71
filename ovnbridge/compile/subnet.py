"""Subnet → logical switch, router port, policies, defaulting and status (spec A.3, D.2, D.2.0, D.2.3, E.1, F.1)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ovnbridge.compile.options import Options, options
from ovnbridge.compile.ownership import uplink_scope, vpc_scope
from ovnbridge.compile.selector import matches
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Finalizer, Hold, Item, Pool, Row, Spec, Status
from ovnbridge.engine.world import Index
from ovnbridge.ipam import SubnetFacts, SubnetUsage
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.kube import Node
from ovnbridge.model.names import FINALIZER, OVN_PROVIDER, router_port_name, switch_router_port_name
from ovnbridge.model.ovn import VENDOR, Ref

DISTRIBUTED = "distributed"
CENTRALIZED = "centralized"
_INVALID = "ValidateLogicalSwitchFailed"


class SubnetView(msgspec.Struct, frozen=True, kw_only=True):
    """A subnet after defaulting (spec D.2.0), as every other unit sees it."""

    name: str
    vpc: str
    provider: str
    protocol: str
    cidr_block: str
    gateway: str
    exclude_ips: tuple[str, ...]
    gateway_type: str
    gateway_node: str
    vlan: str
    default: bool
    enable_lb: bool
    nat_outgoing: bool
    logical_gateway: bool
    u2o: bool
    route_table: str
    enable_ecmp: bool
    mtu: int

    @property
    def is_ovn(self) -> bool:
        """Whether OVN serves it (otherwise only its addresses are managed)."""
        return self.provider == OVN_PROVIDER or self.provider.endswith(".ovn")

    @property
    def needs_router(self) -> bool:
        """Whether the switch is attached to the VPC's router (spec D.2)."""
        return not self.vlan or self.logical_gateway

    def pairs(self) -> list[tuple[str, str]]:
        """(CIDR, gateway) of each family."""
        gateways = dict(zip((4, 6), address.split(self.gateway)))
        return [(str(n), gateways[n.version]) for n in address.networks(self.cidr_block)]


class Problem(msgspec.Struct, frozen=True):
    """Why a subnet's spec cannot be accepted."""

    reason: str
    message: str


def default_spec(name: str, spec: SubnetSpec, opts: Options) -> SubnetSpec:
    """The spec as it is written back (spec D.2.0). Raises ValueError when cidrBlock or gateway cannot be parsed."""
    changes: dict[str, object] = {}
    if spec.cidr_block:
        cidr = address.normalise(spec.cidr_block)
        gateway = address.default_gateway(cidr, spec.gateway)
        changes |= {
            "cidr_block": cidr,
            "gateway": gateway,
            "protocol": address.protocol(cidr),
            "exclude_ips": address.normalise_excludes(spec.exclude_ips, gateway.split(",")),
        }
    elif spec.vlan:
        changes["protocol"] = address.MAC_ONLY
    provider = spec.provider or OVN_PROVIDER
    changes["provider"] = provider
    vpc = spec.vpc or (opts.cluster_router if provider == OVN_PROVIDER or provider.endswith(".ovn") else "")
    changes["vpc"] = vpc
    if vpc == opts.cluster_router and name != opts.node_switch:
        changes["gateway_type"] = spec.gateway_type or DISTRIBUTED
        changes["default"] = spec.default and name == opts.default_ls
    if name == opts.node_switch:
        changes["enable_lb"] = None
    elif spec.enable_lb is None:
        changes["enable_lb"] = opts.enable_lb
    if not spec.u2o_interconnection or not spec.vlan:
        changes |= {"u2o_interconnection": False, "u2o_interconnection_ip": ""}
    return msgspec.structs.replace(spec, **changes)


def described(reader: Reader, name: str) -> Subnet | None:
    """A subnet without its status (memoised question): what we write there ourselves concerns no switch."""
    subnet = reader.get("Subnet", name)
    return msgspec.structs.replace(subnet, status=SubnetStatus()) if isinstance(subnet, Subnet) else None


def _checked(reader: Reader, name: str) -> SubnetView | Problem | None:
    """The subnet as it takes effect, or what is wrong with it (memoised question)."""
    subnet = reader.query(described, name)
    if subnet is None:
        return None
    try:
        spec = default_spec(name, subnet.spec, options(reader))
        problem = _given_problem(name, subnet.spec) or _validate(spec)
    except ValueError as error:
        return Problem(_INVALID, str(error))
    if problem:
        return Problem(_INVALID, problem)
    return SubnetView(
        name=name,
        vpc=spec.vpc,
        provider=spec.provider,
        protocol=spec.protocol,
        cidr_block=spec.cidr_block,
        gateway=spec.gateway,
        exclude_ips=spec.exclude_ips,
        gateway_type=spec.gateway_type,
        gateway_node=spec.gateway_node,
        vlan=spec.vlan,
        default=spec.default,
        enable_lb=bool(spec.enable_lb),
        nat_outgoing=spec.nat_outgoing,
        logical_gateway=spec.logical_gateway,
        u2o=spec.u2o_interconnection,
        route_table=spec.route_table,
        enable_ecmp=spec.enable_ecmp,
        mtu=spec.mtu,
    )


def _given_problem(name: str, spec: SubnetSpec) -> str:
    """What spec F.1 has against the spec as the user wrote it, or ""."""
    if spec.gateway_type not in ("", DISTRIBUTED, CENTRALIZED):
        return f"gatewayType {spec.gateway_type!r} must be distributed or centralized"
    if name == spec.vpc:
        return "a subnet must not have the name of its VPC"
    for text in (spec.cidr_block, spec.gateway, *spec.allow_subnets):
        if text != text.lower():
            return f"{text} must be in lower case"
    for text in spec.allow_subnets:
        if "/" not in text or address.family(text) is None:
            return f"{text!r} in allowSubnets is not a CIDR"
    if spec.logical_gateway and spec.u2o_interconnection:
        return "logicalGateway and u2oInterconnection are mutually exclusive"
    return address.exclude_problem(spec.exclude_ips)


def _validate(spec: SubnetSpec) -> str:
    """What spec F.1 has against this spec alone, or ""."""
    if not spec.cidr_block:
        if not spec.vlan:
            return "cidrBlock is required"
        given = spec.gateway or spec.exclude_ips or spec.logical_gateway
        return "a subnet without cidrBlock has no gateway and no excludeIps" if given else ""
    if 0 < spec.mtu < 1280 and spec.protocol in (address.IPV6, address.DUAL):
        return f"mtu {spec.mtu} is too small for IPv6"
    for net in address.networks(spec.cidr_block):
        if net.num_addresses == 1:
            return f"subnet CIDR {net} has no room for a gateway and pods"
    if not spec.protocol:
        return f"cidrBlock {spec.cidr_block} must hold one CIDR, or one IPv4 and one IPv6 CIDR"
    special = address.special_range(spec.cidr_block)
    if special:
        return f"cidrBlock {spec.cidr_block} overlaps the reserved range {special}"
    if not address.contains(spec.cidr_block, spec.gateway) or address.protocol(spec.gateway) != spec.protocol:
        return f"gateway {spec.gateway} is not in cidrBlock {spec.cidr_block}"
    for net in address.networks(spec.cidr_block):
        text = dict(zip((4, 6), address.split(spec.gateway)))[net.version]
        first, last = address.usable(net)
        # The all-ones address of an IPv6 network is an address like others.
        if not first <= address.number_of(text) <= last + (net.version == 6):
            return f"gateway {text} is the network or broadcast address of {net}"
    return ""


def subnet_view(reader: Reader, name: str) -> SubnetView | None:
    """A valid subnet as other units see it, None when absent or invalid (memoised question)."""
    checked = reader.query(_checked, name)
    return checked if isinstance(checked, SubnetView) else None


def subnets_of_vpc(reader: Reader, vpc: str) -> tuple[str, ...]:
    """Names of the subnets of a VPC, sorted (memoised question)."""
    names = reader.by("subnet-vpc", vpc)
    if vpc == options(reader).cluster_router:
        names = sorted({*names, *reader.by("subnet-vpc", "")})
    return tuple(n for n in names if (v := reader.query(subnet_view, n)) is not None and v.vpc == vpc)


def broken_subnets(reader: Reader, vpc: str) -> tuple[str, ...]:
    """Subnets of a VPC that cannot be compiled as they are, sorted (memoised question)."""
    names = reader.by("subnet-vpc", vpc)
    if vpc == options(reader).cluster_router:
        names = sorted({*names, *reader.by("subnet-vpc", "")})
    if reader.get("Vpc", vpc) is None:
        return tuple(names)
    return tuple(n for n in names if isinstance(reader.query(_checked, n), Problem))


def active_gateways(reader: Reader, name: str) -> tuple[str, ...]:
    """Nodes that a centralized subnet's traffic leaves through now (spec D.2.4; memoised question).

    With ECMP all ready gateway nodes; otherwise the active one while it is listed and ready, else the first ready.
    """
    view = reader.query(subnet_view, name)
    if view is None:
        return ()
    ready = tuple(node for node in reader.query(gateway_nodes, name) if reader.query(node_ready, node))
    current = reader.query(current_gateway, name)
    return ready if view.enable_ecmp else (current,) if current in ready else ready[:1]


def gateway_nodes(reader: Reader, name: str) -> tuple[str, ...]:
    """Nodes that a centralized subnet of the default VPC may leave through: those of `gatewayNode` in its order, then
    those that `gatewayNodeSelectors` select (memoised question)."""
    view, subnet = reader.query(subnet_view, name), reader.query(described, name)
    if view is None or not isinstance(subnet, Subnet):
        return ()
    if view.gateway_type != CENTRALIZED or view.vpc != options(reader).cluster_router:
        return ()
    found = dict.fromkeys(n for entry in view.gateway_node.split(",") if (n := entry.partition(":")[0].strip()))
    if subnet.spec.gateway_node_selectors:
        for node in reader.all("Node"):
            labels = node.metadata.all_labels()
            if any(matches(selector, labels) for selector in subnet.spec.gateway_node_selectors):
                found[node.metadata.name] = None
    return tuple(found)


def current_gateway(reader: Reader, name: str) -> str:
    """The gateway node that the subnet's status names (memoised question)."""
    subnet = reader.get("Subnet", name)
    return subnet.status.activate_gateway if isinstance(subnet, Subnet) else ""


def node_ready(reader: Reader, name: str) -> bool:
    """Ready=True and NetworkUnavailable not True (memoised question)."""
    node = reader.get("Node", name)
    if not isinstance(node, Node):
        return False
    states = {c.type: c.status for c in node.status.conditions or ()}
    return states.get("Ready") == "True" and states.get("NetworkUnavailable") != "True"


def _subnet(reader: Reader, name: str) -> Iterator[Item]:
    subnet = reader.query(described, name)
    if subnet is None:
        return
    opts = options(reader)
    checked = reader.query(_checked, name)
    if subnet.metadata.deleting and not reader.any("ip-subnet", name):
        yield Finalizer("Subnet", name, FINALIZER, present=False)
        return
    yield Finalizer("Subnet", name, FINALIZER)
    if isinstance(checked, Problem):
        yield Hold(name)
        yield Hold(vpc_scope(subnet.spec.vpc or opts.cluster_router))
        yield Event("Subnet", name, "Warning", checked.reason, checked.message)
    if not isinstance(checked, SubnetView):
        return
    yield Pool(name, SubnetFacts(name, checked.cidr_block, checked.gateway, checked.exclude_ips))
    yield from _write_back(name, subnet, opts)
    if not checked.is_ovn:
        return
    if reader.get("Vpc", checked.vpc) is None:
        yield Hold(name)
        yield Hold(vpc_scope(checked.vpc))
        return
    if not checked.needs_router:
        yield Hold(uplink_scope(name))  # of U2O and external gateways, which are not compiled yet
    yield from _switch(checked, opts)


def _write_back(name: str, subnet: Subnet, opts: Options) -> Iterator[Item]:
    wanted = default_spec(name, subnet.spec, opts)
    if wanted != subnet.spec:
        before, after = msgspec.to_builtins(subnet.spec), msgspec.to_builtins(wanted)
        fields = sorted({*before, *after})
        changed = {field: after.get(field) for field in fields if before.get(field) != after.get(field)}
        if changed:
            yield Spec("Subnet", name, changed)


def _switch(view: SubnetView, opts: Options) -> Iterator[Item]:
    lbs = opts.load_balancer_names(view.vpc) if view.enable_lb and opts.enable_lb else []
    yield Row(
        "Logical_Switch",
        view.name,
        {
            "name": view.name,
            "external_ids": {"vendor": VENDOR},
            "load_balancer": frozenset(Ref("Load_Balancer", lb) for lb in lbs),
        },
    )
    if not view.needs_router:
        return
    lrp, lsp = router_port_name(view.vpc, view.name), switch_router_port_name(view.name, view.vpc)
    yield Row(
        "Logical_Router_Port",
        lrp,
        {
            "name": lrp,
            "mac": address.derived_mac("router-port", lrp),
            "networks": frozenset(address.with_mask(view.gateway, view.cidr_block).split(",")),
            "options": {"route_table": view.route_table} if view.route_table else {},
            "external_ids": {"vendor": VENDOR, "lr": view.vpc},
        },
        parent=Ref("Logical_Router", view.vpc),
    )
    yield Row(
        "Logical_Switch_Port",
        lsp,
        {
            "name": lsp,
            "type": "router",
            "addresses": frozenset({"router"}),
            "options": {"router-port": lrp},
            "external_ids": {"vendor": VENDOR, "ls": view.name},
        },
        parent=Ref("Logical_Switch", view.name),
    )
    for cidr, _ in view.pairs():
        match = f"ip{address.family(cidr)}.dst == {cidr}"
        yield Row(
            "Logical_Router_Policy",
            (view.vpc, 31000, match),
            {
                "priority": 31000,
                "match": match,
                "action": "allow",
                "external_ids": {"vendor": VENDOR, "subnet": view.name},
            },
            parent=Ref("Logical_Router", view.vpc),
        )


def _subnet_status(reader: Reader, name: str) -> Iterator[Item]:
    """Conditions and counts; a unit of its own so that a used address does not recompute the switch."""
    subnet = reader.get("Subnet", name)
    if not isinstance(subnet, Subnet):
        return
    checked = reader.query(_checked, name)
    if checked is None:
        return
    value = msgspec.structs.replace(subnet.status, conditions=_conditions(reader, name, checked))
    usage = reader.get("Usage", name)
    if isinstance(usage, SubnetUsage) and isinstance(checked, SubnetView):
        v4, v6 = address.split(checked.cidr_block)
        value = msgspec.structs.replace(
            value,
            v4_available_ips=usage.v4_available,
            v4_available_ip_range=usage.v4_available_range,
            v4_using_ips=usage.using if v4 else 0,
            v4_using_ip_range=usage.v4_using_range,
            v6_available_ips=usage.v6_available,
            v6_available_ip_range=usage.v6_available_range,
            v6_using_ips=usage.using if v6 else 0,
            v6_using_ip_range=usage.v6_using_range,
        )
    if isinstance(checked, SubnetView):
        nodes, active = reader.query(gateway_nodes, name), reader.query(active_gateways, name)
        if checked.enable_ecmp or not nodes:
            value = msgspec.structs.replace(value, activate_gateway="")
        elif active:
            value = msgspec.structs.replace(value, activate_gateway=active[0])
    yield Status("Subnet", name, value)


def _conditions(reader: Reader, name: str, checked: SubnetView | Problem) -> tuple[Condition, ...]:
    problem = checked if isinstance(checked, Problem) else _obstacle(reader, name, checked)
    if problem is not None:
        # Spec E.1: only what is wrong with the subnet itself makes it invalid.
        validated = "False" if problem.reason == _INVALID else "True"
        states = (("Validated", validated), ("Ready", "False"), ("Error", "True"))
        return tuple(Condition(type=t, status=s, reason=problem.reason, message=problem.message) for t, s in states)
    assert isinstance(checked, SubnetView)
    reason = "ResetLogicalSwitchAclSuccess" if checked.is_ovn else "SetNonOvnSubnetSuccess"
    return (
        Condition(type="Validated", status="True", reason=reason),
        Condition(type="Ready", status="True", reason=reason),
        Condition(type="Error", status="Unknown", reason="Init", message="Not Observed"),
    )


def _obstacle(reader: Reader, name: str, view: SubnetView) -> Problem | None:
    """Why a valid subnet does not work at present."""
    if view.is_ovn and reader.get("Vpc", view.vpc) is None:
        return Problem(_INVALID, f"vpc {view.vpc} does not exist")
    if view.gateway_type != CENTRALIZED or view.vpc != options(reader).cluster_router or name == _join(reader):
        return None
    nodes = reader.query(gateway_nodes, name)
    if not nodes:
        return Problem("NoReadyGateway", "neither gatewayNode nor gatewayNodeSelectors names a node")
    if not reader.query(active_gateways, name):
        return Problem("NoActiveGatewayFound", f"no gateway node is ready: {', '.join(nodes)}")
    return None


def _join(reader: Reader) -> str:
    return options(reader).node_switch


def _by_holder(ip: IP) -> tuple[str, ...]:
    """A subnet's own addresses do not keep it from being deleted (spec D.2)."""
    name = ip.metadata.name
    return () if name.startswith(("u2o-interconnection.", "mcast-querier.")) else (ip.spec.subnet,)


def _by_vpc(subnet: Subnet) -> tuple[str, ...]:
    return (subnet.spec.vpc,)


def _by_namespace(subnet: Subnet) -> tuple[str, ...]:
    return subnet.spec.namespaces


def _by_selector(subnet: Subnet) -> tuple[str, ...]:
    return ("",) if subnet.spec.namespace_selectors else ()


INDEXES = (
    Index("ip-subnet", "IP", _by_holder),
    Index("subnet-vpc", "Subnet", _by_vpc),
    Index("subnet-namespaces", "Subnet", _by_namespace),
    Index("subnet-selectors", "Subnet", _by_selector),
)
UNITS = (Unit("subnet", "Subnet", _subnet), Unit("subnet-status", "Subnet", _subnet_status))
