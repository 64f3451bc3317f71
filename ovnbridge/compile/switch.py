"""Subnet → finalizer, defaults, address range, logical switch, its ports and the pair towards the router (spec D.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ovnbridge.compile import dhcp, localnet, multicast, subnet_acl
from ovnbridge.compile.options import Options, options
from ovnbridge.compile.ownership import vpc_scope
from ovnbridge.compile.subnet import SubnetView, checked, leaving
from ovnbridge.compile.subnet_spec import DISTRIBUTED, Problem, accepted_spec, default_spec, described
from ovnbridge.compile.vlan import Waiting
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Finalizer, Hold, Item, Pool, Row, Spec
from ovnbridge.ipam import SubnetFacts
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec
from ovnbridge.model.names import FINALIZER, router_port_name, switch_router_port_name
from ovnbridge.model.ovn import VENDOR, Ref

_RA_DEFAULTS = "address_mode=dhcpv6_stateful,max_interval=30,min_interval=5,send_periodic=true"


def _subnet(reader: Reader, name: str) -> Iterator[Item]:
    subnet = reader.query(described, name)
    if subnet is None:
        return
    opts = options(reader)
    if reader.query(leaving, name):
        yield Finalizer("Subnet", name, FINALIZER, present=False)
        return
    view = reader.query(checked, name)
    if isinstance(view, Problem | Waiting):
        yield from _held(name, subnet.spec.vpc or opts.cluster_router)
    if isinstance(view, Problem):
        yield Event("Subnet", name, "Warning", view.reason, view.message)
    if isinstance(view, Waiting):
        yield from _write_back(name, subnet, opts)  # the defaults come before the vlan gate (spec D.2)
    spec = reader.query(accepted_spec, name)
    if not isinstance(view, SubnetView) or not isinstance(spec, SubnetSpec):
        return
    yield Finalizer("Subnet", name, FINALIZER)
    yield Pool(name, SubnetFacts(name, view.cidr_block, view.gateway, view.exclude_ips))
    yield from _write_back(name, subnet, opts)
    if not view.is_ovn:
        return
    if reader.get("Vpc", view.vpc) is None:
        yield from _held(name, view.vpc)
        return
    yield _switch(reader, view, spec, opts)
    if view.needs_router:
        yield from _uplink(view, spec, opts)
    if view.vlan:
        yield localnet.port(view)
    yield from localnet.virtual_ports(reader, view, spec)
    yield from multicast.querier(reader, view, spec)
    yield from subnet_acl.rows(reader, view, spec)
    yield from dhcp.subnet_rows(view, spec, opts)


def _held(name: str, vpc: str) -> Iterator[Hold]:
    yield Hold(name)
    yield Hold(vpc_scope(vpc))


def _write_back(name: str, subnet: Subnet, opts: Options) -> Iterator[Item]:
    wanted = default_spec(name, subnet.spec, opts)
    if wanted != subnet.spec:
        before, after = msgspec.to_builtins(subnet.spec), msgspec.to_builtins(wanted)
        fields = sorted({*before, *after})
        changed = {field: after.get(field) for field in fields if before.get(field) != after.get(field)}
        if changed:
            yield Spec("Subnet", name, changed)
    if wanted.gateway_type == DISTRIBUTED and subnet.spec.gateway_node and not wanted.gateway_node:
        message = f"gatewayNode {subnet.spec.gateway_node} has no meaning for a distributed gateway"
        yield Event("Subnet", name, "Normal", "ChangeToDistributedGw", message)


def _switch(reader: Reader, view: SubnetView, spec: SubnetSpec, opts: Options) -> Row:
    lbs = opts.load_balancer_names(view.vpc) if view.enable_lb and opts.enable_lb else []
    return Row(
        "Logical_Switch",
        view.name,
        {
            "name": view.name,
            "external_ids": {"vendor": VENDOR},
            "load_balancer": frozenset(Ref("Load_Balancer", lb) for lb in lbs),
            "other_config": multicast.switch_config(reader, view, spec),
        },
    )


def _uplink(view: SubnetView, spec: SubnetSpec, opts: Options) -> Iterator[Item]:
    """The pair of ports between switch and router, and the router's leave to forward to the subnet."""
    lrp, lsp = router_port_name(view.vpc, view.name), switch_router_port_name(view.name, view.vpc)
    yield Row(
        "Logical_Router_Port",
        lrp,
        {
            "name": lrp,
            "mac": view.u2o_mac or address.derived_mac("router-port", lrp),
            "networks": frozenset(address.with_mask(view.u2o_ip or view.gateway, view.cidr_block).split(",")),
            "options": {"route_table": view.route_table} if view.route_table else {},
            "peer": None,
            "external_ids": {"vendor": VENDOR, "lr": view.vpc},
            **_advertisement(view, spec),
        },
        parent=Ref("Logical_Router", view.vpc),
        # The name may have been an external port's; the default VPC's own is another feature's (spec D.18).
        members=() if view.name == opts.external_gateway_switch else ("gateway_chassis",),
        exact=("mac",) if view.u2o_mac else (),
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
    if not view.logical and view.vpc == opts.cluster_router:
        return  # an underlay subnet of the default VPC is entered by its U2O policies
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


def _advertisement(view: SubnetView, spec: SubnetSpec) -> Mapping[str, Mapping[str, str] | frozenset[str]]:
    """IPv6 router advertisements of the router port (spec D.2). `ipv6_prefix`, which OVN does not read, has the lengths
    of the prefixes, as Kube-OVN writes them."""
    prefixes = frozenset(cidr.partition("/")[2] for cidr, _ in view.pairs() if address.family(cidr) == 6)
    if not spec.enable_ipv6_ra or not prefixes:
        return {"ipv6_ra_configs": {}, "ipv6_prefix": frozenset()}
    return {"ipv6_ra_configs": dhcp.parsed(spec.ipv6_ra_configs or _RA_DEFAULTS), "ipv6_prefix": prefixes}


UNITS = (Unit("subnet", "Subnet", _subnet),)
