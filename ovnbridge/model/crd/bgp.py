"""BgpConf and EvpnConf: routing set-ups that egress gateways refer to by name."""

from __future__ import annotations

from typing import Annotated

from ovnbridge.model.crd.base import Int32, Object, Value, doc, names


class BgpConfSpec(Value, frozen=True, kw_only=True, rename=names(local_asn="localASN", peer_asn="peerASN")):
    """One BGP set-up."""

    local_asn: Annotated[Int32, doc("Autonomous system number of the gateways.")] = 0
    peer_asn: Annotated[Int32, doc("Autonomous system number of the neighbours.")] = 0
    router_id: Annotated[str, doc("BGP identifier of the gateways, an IPv4 address; their own address when empty.")] = (
        ""
    )
    neighbours: Annotated[tuple[str, ...], doc("Addresses of the neighbours.")] = ()
    password: Annotated[str, doc("TCP MD5 password of the sessions; none when empty.")] = ""
    hold_time: Annotated[str, doc("Silence after which a neighbour counts as down, a duration such as 90s.")] = ""
    keepalive_time: Annotated[str, doc("Interval between keepalives, a duration such as 30s.")] = ""
    connect_time: Annotated[str, doc("Wait between connection attempts, a duration such as 10s.")] = ""
    ebgp_multi_hop: Annotated[bool, doc("Whether neighbours may be more than one hop away.")] = False
    graceful_restart: Annotated[bool, doc("Whether neighbours keep the routes while a gateway restarts.")] = False


class BgpConf(Object, frozen=True, kw_only=True):
    """A BGP set-up for egress gateways."""

    spec: BgpConfSpec = BgpConfSpec()


class EvpnConfSpec(Value, frozen=True, kw_only=True):
    """One EVPN set-up."""

    vni: Annotated[Int32, doc("VXLAN network identifier.")] = 0
    route_targets: Annotated[tuple[str, ...], doc("Route targets that are imported and exported.")] = ()


class EvpnConf(Object, frozen=True, kw_only=True):
    """An EVPN set-up for egress gateways."""

    spec: EvpnConfSpec = EvpnConfSpec()
