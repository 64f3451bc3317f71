"""Every field of a Subnet, Vlan and ProviderNetwork, from each kind of value to each other: whatever the history, the
rows, the objects and the leases are those of a fresh start on the final objects (`tests/support/fresh.py` says what
cannot be the same, and why).

The lists of fields come from the types, so that a new field cannot be forgotten. A subnet that is edited has pods, a
Vip and an IPPool in it. While a spec is refused, what is in OVN stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import acl_scope, pool_scope
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.crd.underlay import ProviderNetworkSpec, VlanSpec
from tests.support.cluster import Cluster, Json, key_of, merged, namespace, node, pod, subnet, underlay, vpc
from tests.support.fresh import differences, publish, restarted
from tests.support.subnet_values import PROFILES, SUBNET

OPTIONS = Options(node_switch_cidr="100.64.0.0/16,fd00:100:64::/112")

VLAN: Mapping[str, tuple[Json, ...]] = {
    "id": ({"id": 10}, {"id": None}, {"id": 7}, {"id": 11}),  # 11: another one's
    "provider": ({"provider": "net1"}, {"provider": "net2"}, {"provider": "to come"}, {"provider": None}),
    "vlanId": ({"vlanId": None}, {"vlanId": 5, "id": None}, {"vlanId": 5}),
    "providerInterfaceName": (
        {"providerInterfaceName": None},
        {"providerInterfaceName": "net2", "provider": None},
        {"providerInterfaceName": "net2"},
    ),
}
_ETH2 = [{"interface": "eth2", "nodes": ["n-1"]}]
PROVIDER_NETWORK: Mapping[str, tuple[Json, ...]] = {
    "defaultInterface": ({"defaultInterface": "eth1"}, {"defaultInterface": "eth9"}),
    "customInterfaces": ({"customInterfaces": None}, {"customInterfaces": _ETH2}),
    "nodeSelector": ({"nodeSelector": None}, {"nodeSelector": {"matchLabels": {"gw": "yes"}}}, {"nodeSelector": {}}),
    "excludeNodes": ({"excludeNodes": None}, {"excludeNodes": ["n-1"]}, {"excludeNodes": ["n-1", "n-2", "n-3"]}),
    "exchangeLinkName": ({"exchangeLinkName": None}, {"exchangeLinkName": True}),
    "autoCreateVlanSubinterfaces": (
        {"autoCreateVlanSubinterfaces": None},
        {"autoCreateVlanSubinterfaces": True},
    ),
    "preserveVlanInterfaces": ({"preserveVlanInterfaces": None}, {"preserveVlanInterfaces": True}),
    "vlanInterfaces": ({"vlanInterfaces": None}, {"vlanInterfaces": ["eth1.10"]}),
}
KINDS = {"Subnet": SUBNET, "Vlan": VLAN, "ProviderNetwork": PROVIDER_NETWORK}
EDITED = {"Subnet": "s", "Vlan": "v", "ProviderNetwork": "net1"}
UNDERLAYS = {name: spec for name, spec in PROFILES.items() if "vlan" in spec}

READY = {"net1.provider-network.kubernetes.io/ready": "true"}
AGENT = {"app": "kube-ovn-cni"}
N2 = node("n-2", "192.168.0.12", "fd01::12", labels={"gw": "yes", **READY})
AROUND: tuple[Json, ...] = (
    namespace("a", team="red"),
    namespace("b"),
    node("n-1", "192.168.0.11", "fd01::11", labels={"gw": "yes", **READY}),
    N2,
    node("n-3", "192.168.0.13", ready=False),
    *(
        merged(pod(f"a/agent-{n}", f"n-{n}", spec={"hostNetwork": True}), {"metadata": {"labels": AGENT}})
        for n in (1, 2, 3)
    ),
    vpc("v1", namespaces=["b"], defaultSubnet="s"),
    vpc("v2"),
    *underlay("v"),
    underlay("x", 11)[1],
    *underlay("w", 0, "net2"),
    {"kind": "Vlan", "metadata": {"name": "waits"}, "spec": {"id": 12, "provider": "to come"}},
    subnet("other", cidrBlock="10.18.0.0/24,fd18::/64"),
    subnet(
        "beside", cidrBlock="10.19.0.0/24", vlan="v", u2oInterconnection=True, u2oFeatures={"overlayOnlyRouting": True}
    ),
    subnet("tenant", cidrBlock="10.20.0.0/24", vpc="v1"),
)
FIRST = pod("a/first", "n-1", phase="Running", logical_switch="s", aaps="shared")
WITHIN: tuple[Json, ...] = (
    {"kind": "Vip", "metadata": {"name": "shared"}, "spec": {"subnet": "s", "namespace": "a"}},
    {
        "kind": "IPPool",
        "metadata": {"name": "pool"},
        "spec": {"subnet": "s", "ips": ["10.17.0.70..10.17.0.75"], "enableAddressSet": True},
    },
    FIRST,
    pod("a/static", "n-2", phase="Running", logical_switch="s", ip_address="10.17.0.50"),
    pod("a/waiting", logical_switch="s", port_vips="10.17.0.100", **{"dhcp-v4-options": "lease_time=7"}),
    pod("a/pooled", "n-2", phase="Running", logical_switch="s", ip_pool="pool"),
    pod("b/anywhere", "n-1", phase="Running"),
)


class Player:
    """A cluster, and what its users have written."""

    def __init__(self, edited: Json) -> None:
        self.cluster = Cluster(options=OPTIONS)
        self.given: dict[tuple[str, str], Json] = {}
        self.put(*AROUND, edited)
        self.put(*WITHIN)

    def put(self, *objects: Json) -> None:
        for obj in objects:
            self.given[key_of(obj)] = obj
            self.cluster.apply(obj)
        self.cluster.run()

    def delete(self, kind: str, key: str) -> None:
        self.cluster.delete(kind, key).run()

    def patch(self, kind: str, name: str, patch: Json) -> None:
        """`kubectl patch` of a spec: what the controller filled in stays where the patch says nothing of it."""
        before, held, apart = self.cluster.memory.snapshot(), self.held(), self.apart()
        self.cluster.api.patch(kind, name, {"spec": patch})
        self.cluster.run()
        if name in self.held() and not held and apart:
            assert self.cluster.memory.snapshot() == before, "a spec that is refused changes nothing"

    def held(self) -> set[str]:
        """Subnets of which the past is kept on purpose."""
        held = self.cluster.engine.desired.held
        return {name for name in ("s", "other", "beside", "tenant") if held(name) or held(acl_scope(name))}

    def apart(self) -> bool:
        """Whether each subnet has a CIDR of its own. An overlay and an underlay may share one (spec F.3), and then want
        the same policy of their router, each with its own name on it."""
        specs = [obj["spec"] for (kind, _), obj in self.cluster.api.objects.items() if kind == "Subnet"]
        cidrs = [cidr for spec in specs for cidr in spec.get("cidrBlock", "").split(",") if cidr]
        return len(set(cidrs)) == len(cidrs)

    def compare(self, what: object) -> None:
        """With a fresh start."""
        cluster = self.cluster
        publish(cluster)
        assert cluster.engine.desired.clashes() == [] or not self.apart(), what
        if self.held():
            return
        fresh = restarted(cluster, self.given)
        kept = cluster.engine.desired.held(pool_scope("pool"))
        found = differences(cluster, fresh, (("Address_Set", "pool"), "IPPool pool") if kept else ())
        assert not found, "\n".join([str(what), *found])


@pytest.mark.parametrize(
    ("spec", "patches"), [(SubnetSpec, SUBNET), (VlanSpec, VLAN), (ProviderNetworkSpec, PROVIDER_NETWORK)]
)
def test_no_field_is_forgotten(spec: type[msgspec.Struct], patches: Mapping[str, tuple[Json, ...]]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(spec)} == patches.keys()
    for field, values in patches.items():
        assert len(values) > 1
        assert all(field in patch for patch in values)


Step = tuple[str, str, str, Json]
"""What is done, kind and name of what it is done to, and a patch or an object."""


def patches(kind: str, *names: str) -> st.SearchStrategy[Step]:
    every = [patch for values in KINDS[kind].values() for patch in values]
    return st.tuples(st.just("patch"), st.just(kind), st.sampled_from(names), st.sampled_from(every))


_OTHERS: list[Json] = [
    node("n-2", "192.168.0.12", ready=False),
    N2,
    FIRST,
    vpc("v1", namespaces=["a"], staticRoutes=[{"cidr": "0.0.0.0/0", "nextHopIP": "10.20.0.9"}]),
    vpc("v1", namespaces=["b"], defaultSubnet="s"),
    vpc("v2", vpcPeerings=[{"remoteVpc": "v1", "localConnectIP": "169.254.0.1/30"}]),
    vpc("ovn-cluster", staticRoutes=[{"cidr": "10.9.0.0/16", "nextHopIP": "10.18.0.9", "routeTable": "blue"}]),
]
_DELETED = (
    ("Pod", "a/first"),
    ("Pod", "a/static"),
    ("IPPool", "pool"),
    ("Vip", "shared"),
    ("Node", "n-3"),
    ("Subnet", "tenant"),
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    patches("Subnet", "s"),
    patches("Subnet", "s"),
    patches("Subnet", "other", "beside", "tenant"),
    patches("Vlan", "v", "x"),
    patches("ProviderNetwork", "net1", "net2"),
    st.sampled_from([("put", *key_of(obj), obj) for obj in _OTHERS]),
    st.sampled_from([("delete", *key, {}) for key in _DELETED]),
)


@given(st.sampled_from(list(PROFILES)), st.lists(STEPS, min_size=1, max_size=6))
def test_random_edits(profile: str, steps: list[Step]) -> None:
    player = Player(subnet("s", **PROFILES[profile]))
    player.compare(profile)
    for number, (verb, kind, name, what) in enumerate(steps):
        if verb == "put":
            player.put(what)
        elif verb == "delete":
            player.delete(kind, name)
        elif (kind, name) in player.cluster.api.objects:
            player.patch(kind, name, what)
        player.compare((profile, steps[: number + 1]))
    engine = player.cluster.engine
    assert engine.desired.snapshot() == engine.recompute().snapshot()


def tour(count: int) -> Iterator[int]:
    """Visits of `count` places in which each is followed by each other."""
    for one, other in combinations(range(count), 2):
        yield from (one, other)
    yield 0


def test_the_tour_is_complete() -> None:
    for count in range(2, 9):
        visits = list(tour(count))
        steps = {(one, other) for one, other in pairwise(visits) if one != other}
        assert len(steps) == count * (count - 1)


@pytest.mark.slow
@pytest.mark.parametrize("field", SUBNET)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_value_of_a_subnet_to_every_other(profile: str, field: str) -> None:
    _travel(Player(subnet("s", **PROFILES[profile])), "Subnet", field, profile)


@pytest.mark.slow
@pytest.mark.parametrize("field", VLAN)
@pytest.mark.parametrize("profile", UNDERLAYS)
def test_every_value_of_a_vlan_to_every_other(profile: str, field: str) -> None:
    _travel(Player(subnet("s", **PROFILES[profile])), "Vlan", field, profile)


@pytest.mark.parametrize("field", PROVIDER_NETWORK)
def test_every_value_of_a_provider_network_to_every_other(field: str) -> None:
    _travel(Player(subnet("s", **PROFILES["U2O"])), "ProviderNetwork", field, "U2O")


def _travel(player: Player, kind: str, field: str, profile: str) -> None:
    patches, trail = KINDS[kind][field], []
    for place in tour(len(patches)):
        trail.append(patches[place])
        player.patch(kind, EDITED[kind], patches[place])
        player.compare((profile, trail[-3:]))
