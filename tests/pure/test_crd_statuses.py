"""Every field of the statuses of the kinds that are built is written, or there is a reason why not.

The list of fields is the types' own. Expected values come from the spec (A.2 to A.8, D.2, D.5, D.13, E.1), never from
our output.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.support.cluster import Cluster, Json, ip, merged, underlay, vpc
from tests.support.fields import (
    BASE,
    BFD,
    BUILT,
    CENTRAL,
    DUAL,
    EXTERNAL,
    NAT,
    NAT_RULE,
    PEER,
    POD,
    POOL,
    S1,
    S2,
    U2O,
    V1,
    VIP,
    field,
    made,
    part,
)


class Said(NamedTuple):
    """What the status of the last of these objects says."""

    objects: tuple[Json, ...]
    expected: Any


PEERED = (
    vpc("v2", vpcPeerings=[{"remoteVpc": "v1", "localConnectIP": "169.254.0.2/30"}]),
    made(V1, vpcPeerings=[PEER]),
)
OUTSIDE = (*EXTERNAL, made(V1, enableExternal=True, enableBfd=True))
USED = (POD, merged(ip("app/p", "s2", "10.18.0.7", "fd18::7"), {}), DUAL)
_RULE_ID = hashlib.sha256(
    b's20{"match":{"srcIPs":"10.18.0.4","dstIPs":"192.0.2.0/24"},"action":"forward"}'
).hexdigest()[:12]
POOLED = (
    DUAL,
    merged(POD, {"metadata": {"annotations": {"ovn.kubernetes.io/ip_pool": "pool"}}}),
    merged(POOL, {"spec": {"ips": ["10.18.0.32..10.18.0.35", "fd18::20..fd18::23"]}}),
)
FULL_VIP = (
    DUAL,
    merged(
        VIP,
        {
            "spec": {
                "type": "kube_host_vm_vip",
                "v4ip": "10.18.0.50",
                "selector": ["a:b"],
                "macAddress": "00:00:00:00:00:09",
            }
        },
    ),
)
# (last address - first) of fd18::/64, less the gateway and the pod's, as the API server's double holds it.
_MANY_V6 = int(float(2**64 - 2 - 2))

STATUS: dict[str, dict[str, Said]] = {
    "Vpc": {
        "standby": Said((V1,), True),
        "default": Said((vpc("ovn-cluster"),), True),
        "defaultLogicalSwitch": Said((made(S1, default=True), V1), "s1"),
        "router": Said((V1,), "v1"),
        **{
            f"{protocol}{session and 'Session'}LoadBalancer": Said((V1,), f"vpc-v1-{protocol}{session}-load")
            for protocol in ("tcp", "udp", "sctp")
            for session in ("", "-sess")
        },
        "subnets": Said((S1, V1), ["s1"]),
        "vpcPeerings": Said(PEERED, ["v2"]),
        "enableExternal": Said(OUTSIDE, True),
        "extraExternalSubnets": Said((*EXTERNAL, made(V1, enableExternal=True, extraExternalSubnets=["e2"])), ["e2"]),
        "enableBfd": Said(OUTSIDE, True),
        "bfdPort": Said((made(V1, bfdPort=BFD),), {"ip": "10.255.255.255", "name": "bfd@v1", "nodes": ["n-1", "n-2"]}),
    },
    "Subnet": {
        "v4availableIPs": Said(USED, 252),
        "v4availableIPrange": Said(USED, "10.18.0.2-10.18.0.6,10.18.0.8-10.18.0.254"),
        "v4usingIPs": Said(USED, 1),
        "v4usingIPrange": Said(USED, "10.18.0.7"),
        "v6availableIPs": Said(USED, _MANY_V6),
        "v6availableIPrange": Said(USED, "fd18::2-fd18::6,fd18::8-fd18::ffff:ffff:ffff:fffe"),
        "v6usingIPs": Said(USED, 1),
        "v6usingIPrange": Said(USED, "fd18::7"),
        "activateGateway": Said((CENTRAL,), "n-1"),
        "dhcpV4OptionsUUID": Said((made(DUAL, enableDHCP=True),), lambda c: uuid_of(c, "IPv4")),
        "dhcpV6OptionsUUID": Said((made(DUAL, enableDHCP=True),), lambda c: uuid_of(c, "IPv6")),
        "u2oInterconnectionIP": Said((U2O,), "10.18.0.2"),
        "u2oInterconnectionMAC": Said((U2O,), field("IP", "u2o-interconnection.ovn-cluster.s2", "spec.macAddress")),
        "u2oInterconnectionVPC": Said((U2O,), "ovn-cluster"),
        "natOutgoingPolicyRules": Said((NAT,), [{**NAT_RULE, "ruleID": _RULE_ID}]),
        "mcastQuerierIP": Said((made(S2, enableMulticastSnoop=True),), "10.18.0.2"),
        "mcastQuerierMAC": Said(
            (made(S2, enableMulticastSnoop=True),), field("IP", "mcast-querier.s2", "spec.macAddress")
        ),
        "conditions": Said((S2,), {("Validated", "True"), ("Ready", "True"), ("Error", "Unknown")}),
    },
    "IPPool": {
        "v4AvailableIPs": Said(POOLED, 3),
        "v4AvailableIPRange": Said(POOLED, "10.18.0.33-10.18.0.35"),
        "v4UsingIPs": Said(POOLED, 1),
        "v4UsingIPRange": Said(POOLED, "10.18.0.32"),
        "v6AvailableIPs": Said(POOLED, 3),
        "v6AvailableIPRange": Said(POOLED, "fd18::21-fd18::23"),
        "v6UsingIPs": Said(POOLED, 1),
        "v6UsingIPRange": Said(POOLED, "fd18::20"),
        "conditions": Said(POOLED, {("Ready", "True")}),
    },
    "Vip": {
        "type": Said(FULL_VIP, "kube_host_vm_vip"),
        "v4ip": Said(FULL_VIP, "10.18.0.50"),
        "v6ip": Said(FULL_VIP, "fd18::2"),
        "mac": Said(FULL_VIP, "00:00:00:00:00:09"),
        "selector": Said(FULL_VIP, ["a:b"]),
        "conditions": Said((merged(VIP, {"spec": {"subnet": "gone"}}),), {("Ready", "False")}),
    },
    "Vlan": {
        "subnets": Said((made(S2, vlan="v10"), underlay("v10", 10)[1]), ["s2"]),
        "conflict": Said((merged(underlay("a10", 10)[1], {}), underlay("v10", 10)[1]), True),
    },
    "ProviderNetwork": {
        "vlans": Said((underlay("v10", 10)[0],), ["v10"]),
    },
}
SAID = [
    pytest.param(kind, path, said, id=f"{kind}.{path}") for kind, rows in STATUS.items() for path, said in rows.items()
]


def uuid_of(cluster: Cluster, protocol: str) -> str:
    """UUID of the subnet's DHCP options in the database."""
    (found,) = [
        uuid
        for uuid, row in cluster.database.rows["DHCP_Options"].items()
        if row["external_ids"].get("protocol") == protocol
    ]
    return str(found)


@pytest.mark.parametrize(("kind", "path", "said"), SAID)
def test_status(kind: str, path: str, said: Said) -> None:
    cluster = Cluster().apply(*BASE, *said.objects)
    cluster.run()
    value = field(kind, said.objects[-1]["metadata"]["name"], f"status.{path}")(cluster)
    if path == "conditions":
        value = {(condition["type"], condition["status"]) for condition in value}
    assert value == (said.expected(cluster) if callable(said.expected) else said.expected)


ELSEWHERE: dict[str, str] = {
    "Vpc.conditions": "Kube-OVN writes none; what is wrong is an event",
    "Vlan.conditions": "Kube-OVN writes none; what is wrong is an event",
    **{
        f"ProviderNetwork.{name}": "what the nodes say of their bridges (spec D.17)"
        for name in ("ready", "readyNodes", "notReadyNodes", "conditions")
    },
}


@pytest.mark.parametrize("kind", [kind for kind in BUILT if kind != "IP"])
def test_every_field_is_written_or_has_a_reason(kind: str) -> None:
    reasons = {path.partition(".")[2] for path in ELSEWHERE if path.partition(".")[0] == kind}
    assert not STATUS[kind].keys() & reasons
    fields = [found.encode_name for found in msgspec.structs.fields(part(kind, "status"))]
    assert sorted(fields) == sorted([*STATUS[kind], *reasons])
