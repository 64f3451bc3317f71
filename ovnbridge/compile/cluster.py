"""Things that every cluster has: the default VPC, the default and join subnets, NB options, the deny-all group.

Spec D.1 points 1, 3, 6, 7, 8; D.8 (`kubeovn_deny_all`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.options import Options, has_column, options
from ovnbridge.compile.ownership import uplink_scope
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Hold, Item, Member, Object, Row
from ovnbridge.model.address import default_gateway, protocol
from ovnbridge.model.ovn import VENDOR, Ref

DENY_ALL_GROUP = "ovn.sg.kubeovn_deny_all"
UNDERLAY = "vlan"
"""Value of `--network-type` of a cluster whose default subnet is an underlay one."""


def _cluster(reader: Reader, key: str) -> Iterator[Item]:
    if reader.get("Options", key) is None:
        return
    opts = options(reader)
    yield from _objects(opts)
    yield from _global(opts)
    yield from _deny_all(reader)
    for router in ("", opts.cluster_router):  # spec D.18, not compiled yet
        yield Hold(uplink_scope(opts.external_gateway_switch, router))


def _objects(opts: Options) -> Iterator[Item]:
    yield Object("Vpc", opts.cluster_router, _body("Vpc", opts.cluster_router, {}))
    gateway = default_gateway(opts.node_switch_cidr, opts.node_switch_gateway)
    yield Object(
        "Subnet",
        opts.node_switch,
        _body(
            "Subnet",
            opts.node_switch,
            {
                "vpc": opts.cluster_router,
                "default": False,
                "provider": "ovn",
                "cidrBlock": opts.node_switch_cidr,
                "gateway": gateway,
                "excludeIps": gateway.split(","),
                "protocol": protocol(opts.node_switch_cidr),
                "disableInterConnection": True,
            },
        ),
    )
    gateway = default_gateway(opts.default_cidr, opts.default_gateway)
    yield Object(
        "Subnet",
        opts.default_ls,
        _body(
            "Subnet",
            opts.default_ls,
            {
                "vpc": opts.cluster_router,
                "default": True,
                "provider": "ovn",
                "cidrBlock": opts.default_cidr,
                "gateway": gateway,
                "excludeIps": list(opts.default_exclude_ips) or gateway.split(","),
                "protocol": protocol(opts.default_cidr),
                "natOutgoing": True,
                "gatewayType": "distributed",
                "enableLb": opts.enable_lb,
                "disableGatewayCheck": not opts.default_gateway_check,
                "private": False,
                **_underlay_spec(opts),
            },
        ),
    )
    if opts.network_type == UNDERLAY:
        yield from _underlay(opts)


def _underlay_spec(opts: Options) -> dict[str, object]:
    """What the default subnet says in a cluster whose network is a vlan."""
    if opts.network_type != UNDERLAY:
        return {}
    spec: dict[str, object] = {"vlan": opts.default_vlan_name}
    if opts.default_logical_gateway:
        spec["logicalGateway"] = True
    if opts.default_u2o_interconnection:
        spec["u2oInterconnection"] = True  # with logicalGateway as well, the subnet says that they exclude each other
    return spec


def _underlay(opts: Options) -> Iterator[Item]:
    spec: dict[str, object] = {"defaultInterface": opts.default_interface_name}
    if opts.default_exchange_link_name:
        spec["exchangeLinkName"] = True
    name = opts.default_provider_name
    yield Object("ProviderNetwork", name, _body("ProviderNetwork", name, spec))
    spec = {"id": opts.default_vlan_id, "provider": name}
    yield Object("Vlan", opts.default_vlan_name, _body("Vlan", opts.default_vlan_name, spec))


def _body(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "kubeovn.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _global(opts: Options) -> Iterator[Item]:
    """NB_Global options; the row itself belongs to OVN, so only our entries are wanted."""
    wanted = {
        "ls_dnat_mod_dl_dst": str(opts.ls_dnat_mod_dl_dst).lower(),
        "use_ct_inv_match": "false",
        "ls_ct_skip_dst_lport_ips": str(opts.ls_ct_skip_dst_lport_ips).lower(),
    }
    if opts.skip_conntrack_dst_cidrs:
        wanted["skip_conntrack_ipcidrs"] = opts.skip_conntrack_dst_cidrs
    if opts.node_local_dns_ip:
        wanted["node_local_dns_ip"] = opts.node_local_dns_ip
    for name, value in wanted.items():
        yield Member("NB_Global", (), "options", name, entry=value)


def _deny_all(reader: Reader) -> Iterator[Item]:
    group = Ref("Port_Group", DENY_ALL_GROUP)
    ids = {"vendor": VENDOR, "type": "security_group", "sg": "kubeovn_deny_all"}
    yield Row("Port_Group", DENY_ALL_GROUP, {"name": DENY_ALL_GROUP, "external_ids": ids})
    tiers = (2, 3) if has_column(reader, "ACL", "tier") else (0,)
    for tier in tiers:
        for direction, port in (("to-lport", "outport"), ("from-lport", "inport")):
            match = f"{port} == @{DENY_ALL_GROUP} && ip"
            yield Row(
                "ACL",
                (DENY_ALL_GROUP, direction, 2003, match, tier),
                {
                    "direction": direction,
                    "priority": 2003,
                    "match": match,
                    "action": "drop",
                    "tier": tier,
                    "external_ids": {"vendor": VENDOR, "parent": DENY_ALL_GROUP},
                },
                parent=group,
            )


UNITS = (Unit("cluster", "Options", _cluster),)
