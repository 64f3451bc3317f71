"""Subnet → logical switch, router port, policies, defaulting and status (spec A.3, D.2, D.2.0, D.2.3, E.1, F.1)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ovnbridge.compile.options import Options, options
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Finalizer, Hold, Item, Pool, Row, Spec, Status
from ovnbridge.engine.world import Index
from ovnbridge.ipam import SubnetFacts, SubnetUsage
from ovnbridge.model import address
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec
from ovnbridge.model.kube import Node
from ovnbridge.model.names import FINALIZER, OVN_PROVIDER, router_port_name, switch_router_port_name
from ovnbridge.model.ovn import VENDOR, Ref

DISTRIBUTED = "distributed"
CENTRALIZED = "centralized"


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
        changes["default"] = name == opts.default_ls
    if name == opts.node_switch:
        changes["enable_lb"] = None
    elif spec.enable_lb is None:
        changes["enable_lb"] = opts.enable_lb
    if not spec.u2o_interconnection or not spec.vlan:
        changes |= {"u2o_interconnection": False, "u2o_interconnection_ip": ""}
    return msgspec.structs.replace(spec, **changes)


def _checked(reader: Reader, name: str) -> SubnetView | Problem | None:
    """The subnet as it takes effect, or what is wrong with it (memoised question)."""
    subnet = reader.get("Subnet", name)
    if not isinstance(subnet, Subnet):
        return None
    opts = options(reader)
    try:
        spec = default_spec(name, subnet.spec, opts)
        problem = _validate(spec)
    except ValueError as error:
        return Problem("ValidateLogicalSwitchFailed", str(error))
    if problem:
        return Problem("ValidateLogicalSwitchFailed", problem)
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


def _validate(spec: SubnetSpec) -> str:
    """What spec F.1 has against this spec alone, or ""."""
    if not spec.cidr_block:
        return "" if spec.vlan else "cidrBlock is required"
    for net in address.networks(spec.cidr_block):
        if net.num_addresses == 1:
            return f"subnet CIDR {net} has no room for a gateway and pods"
    if not spec.protocol:
        return f"cidrBlock {spec.cidr_block} must hold one CIDR, or one IPv4 and one IPv6 CIDR"
    special = address.special_range(spec.cidr_block)
    if special:
        return f"cidrBlock {spec.cidr_block} overlaps the reserved range {special}"
    if not address.contains(spec.cidr_block, spec.gateway):
        return f"gateway {spec.gateway} is not in cidrBlock {spec.cidr_block}"
    for net in address.networks(spec.cidr_block):
        text = dict(zip((4, 6), address.split(spec.gateway)))[net.version]
        first, last = address.usable(net)
        if not first <= address.number_of(text) <= last and net.num_addresses > 2:
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


def active_gateways(reader: Reader, name: str) -> tuple[str, ...]:
    """Nodes that a centralized subnet's traffic leaves through now (spec D.2.4; memoised question).

    With ECMP all ready gateway nodes; otherwise the active one while it is listed and ready, else the first ready.
    """
    view = reader.query(subnet_view, name)
    subnet = reader.get("Subnet", name)
    if view is None or view.gateway_type != CENTRALIZED or not isinstance(subnet, Subnet):
        return ()
    listed = [entry.partition(":")[0].strip() for entry in view.gateway_node.split(",") if entry.strip()]
    ready = tuple(node for node in listed if reader.query(node_ready, node))
    if view.enable_ecmp:
        return ready
    current = subnet.status.activate_gateway
    return (current,) if current in ready else ready[:1]


def node_ready(reader: Reader, name: str) -> bool:
    """Ready=True and NetworkUnavailable not True (memoised question)."""
    node = reader.get("Node", name)
    if not isinstance(node, Node):
        return False
    states = {c.type: c.status for c in node.status.conditions or ()}
    return states.get("Ready") == "True" and states.get("NetworkUnavailable") != "True"


def _subnet(reader: Reader, name: str) -> Iterator[Item]:
    subnet = reader.get("Subnet", name)
    if not isinstance(subnet, Subnet):
        return
    checked = reader.query(_checked, name)
    usage = reader.get("Usage", name)
    if subnet.metadata.deleting and not (isinstance(usage, SubnetUsage) and usage.using):
        yield Finalizer("Subnet", name, FINALIZER, present=False)
        return
    yield Finalizer("Subnet", name, FINALIZER)
    if not isinstance(checked, SubnetView):
        yield Hold(name)
        if isinstance(checked, Problem):
            yield Event("Subnet", name, "Warning", checked.reason, checked.message)
        return
    yield Pool(name, SubnetFacts(name, checked.cidr_block, checked.gateway, checked.exclude_ips))
    yield from _write_back(name, subnet, options(reader))
    if not checked.is_ovn:
        return
    if reader.get("Vpc", checked.vpc) is None:
        yield Hold(name)
        return
    yield from _switch(checked, options(reader))


def _write_back(name: str, subnet: Subnet, opts: Options) -> Iterator[Item]:
    wanted = default_spec(name, subnet.spec, opts)
    if wanted != subnet.spec:
        before, after = msgspec.to_builtins(subnet.spec), msgspec.to_builtins(wanted)
        changed = {field: after.get(field) for field in {*before, *after} if before.get(field) != after.get(field)}
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
    value = msgspec.structs.replace(subnet.status, conditions=_conditions(reader, checked))
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
        active = reader.query(active_gateways, name)
        single = active[0] if active and checked.gateway_type == CENTRALIZED and not checked.enable_ecmp else ""
        value = msgspec.structs.replace(value, activate_gateway=single)
    yield Status("Subnet", name, value)


def _conditions(reader: Reader, checked: SubnetView | Problem) -> tuple[Condition, ...]:
    if isinstance(checked, Problem):
        return (
            Condition(type="Validated", status="False", reason=checked.reason, message=checked.message),
            Condition(type="Ready", status="False", reason=checked.reason, message=checked.message),
            Condition(type="Error", status="True", reason=checked.reason, message=checked.message),
        )
    if checked.is_ovn and reader.get("Vpc", checked.vpc) is None:
        reason, message = "ValidateLogicalSwitchFailed", f"vpc {checked.vpc} does not exist"
        return (
            Condition(type="Validated", status="True", reason=reason),
            Condition(type="Ready", status="False", reason=reason, message=message),
            Condition(type="Error", status="True", reason=reason, message=message),
        )
    reason = "ResetLogicalSwitchAclSuccess" if checked.is_ovn else "SetNonOvnSubnetSuccess"
    return (
        Condition(type="Validated", status="True", reason=reason),
        Condition(type="Ready", status="True", reason=reason),
        Condition(type="Error", status="Unknown", reason="Init", message="Not Observed"),
    )


def _by_vpc(subnet: Subnet) -> tuple[str, ...]:
    return (subnet.spec.vpc,)


def _by_namespace(subnet: Subnet) -> tuple[str, ...]:
    return subnet.spec.namespaces


def _by_selector(subnet: Subnet) -> tuple[str, ...]:
    return ("",) if subnet.spec.namespace_selectors else ()


INDEXES = (
    Index("subnet-vpc", "Subnet", _by_vpc),
    Index("subnet-namespaces", "Subnet", _by_namespace),
    Index("subnet-selectors", "Subnet", _by_selector),
)
UNITS = (Unit("subnet", "Subnet", _subnet), Unit("subnet-status", "Subnet", _subnet_status))
