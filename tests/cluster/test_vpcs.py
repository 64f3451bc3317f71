"""VPCs, gateways and sticky addresses with packets: issue "VPC, Subnet and address management", what must be shown."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from conftest import Cluster, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
NOTE = "ovn.kubernetes.io"


def namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def vpc(name: str, **spec: Any) -> Json:
    return {"apiVersion": "kubeovn.io/v1", "kind": "Vpc", "metadata": {"name": name}, "spec": spec}


def subnet(name: str, **spec: Any) -> Json:
    return {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}


def pod(key: str, node: int, **notes: str) -> Json:
    """`key` is `namespace/name`; the pod answers HTTP on port 80 with its name."""
    space, _, name = key.partition("/")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": space,
            "annotations": {f"{NOTE}/{note}": value for note, value in notes.items()},
        },
        "spec": {
            "nodeName": f"node{node}",
            "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}],
        },
    }


async def apply(cluster: Cluster, *objects: Json) -> None:
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


async def bound(cluster: Cluster, *names: str) -> None:
    """Wait until namespaces are bound to the subnets of their names."""

    async def done() -> bool:
        for name in names:
            notes = (await cluster.get("namespace", name))["metadata"].get("annotations") or {}
            if notes.get(f"{NOTE}/logical_switch") != name:
                return False
        return True

    await until(done, what=f"namespaces {names} bound")


async def pings(cluster: Cluster, source: str, address: str, *, count: int = 1) -> bool:
    space, _, name = source.partition("/")
    done = await cluster.lab.exec(
        name, "ping", f"-c{count}", "-i0.2", "-W1", address, namespace=space, check=False, timeout=20
    )
    return done.returncode == 0


async def reaches(cluster: Cluster, source: str, address: str) -> None:
    """Address resolution and the first flows may take a moment."""
    await until(lambda: pings(cluster, source, address), timeout=10, what=f"{source} → {address}")


async def never_reaches(cluster: Cluster, source: str, address: str) -> None:
    assert not await pings(cluster, source, address, count=4), f"{source} → {address}"


async def stops_reaching(cluster: Cluster, source: str, address: str) -> None:
    async def apart() -> bool:
        return not await pings(cluster, source, address)

    await until(apart, what=f"{source} not reaching {address} any more")


async def who_answers(cluster: Cluster, source: str, address: str) -> str:
    """The name that the HTTP server at an address gives."""
    space, _, name = source.partition("/")
    host = f"[{address}]" if ":" in address else address
    done = await cluster.lab.exec(name, "curl", "-s", "-m5", f"http://{host}:80/", namespace=space, timeout=15)
    return done.stdout.strip()


async def test_same_addresses_in_two_vpcs_do_not_meet(cluster: Cluster) -> None:
    for side in ("red", "blue"):
        await apply(
            cluster,
            namespace(side),
            vpc(f"vpc-{side}", namespaces=[side]),
            subnet(side, vpc=f"vpc-{side}", cidrBlock="10.50.0.0/24,fd50::/64", namespaces=[side]),
        )
    await bound(cluster, "red", "blue")
    for side in ("red", "blue"):
        await apply(
            cluster,
            pod(f"{side}/{side}1", 1, ip_address="10.50.0.11,fd50::11"),
            pod(f"{side}/{side}2", 2, ip_address="10.50.0.12,fd50::12"),
        )
    await apply(cluster, pod("red/only-red", 3, ip_address="10.50.0.13,fd50::13"))
    for side in ("red", "blue"):
        await cluster.lab.wait_pods(side)
        for one, two in (("10.50.0.11", "10.50.0.12"), ("fd50::11", "fd50::12")):
            await reaches(cluster, f"{side}/{side}1", two)
            assert f"{side}2" in await who_answers(cluster, f"{side}/{side}1", two)
            assert f"{side}1" in await who_answers(cluster, f"{side}/{side}2", one)
    for address in ("10.50.0.13", "fd50::13"):
        await reaches(cluster, "red/red1", address)
        await never_reaches(cluster, "blue/blue1", address)


async def test_peering_connects_and_ends(cluster: Cluster) -> None:
    for side, other in (("east", "west"), ("west", "east")):
        number = {"east": 1, "west": 2}
        await apply(
            cluster,
            namespace(side),
            vpc(f"vpc-{side}", namespaces=[side]),
            subnet(side, vpc=f"vpc-{side}", cidrBlock=f"10.5{number[side]}.0.0/24", namespaces=[side]),
        )
        assert other != side
    await bound(cluster, "east", "west")
    await apply(cluster, pod("east/e", 1), pod("west/w", 2))
    addresses = {}
    for side in ("east", "west"):
        (found,) = await cluster.lab.wait_pods(side)
        addresses[side] = found["status"]["podIP"]
    await never_reaches(cluster, "east/e", addresses["west"])
    for side, other, own, hop, cidr in (
        ("east", "west", "169.254.0.1/30", "169.254.0.2", "10.52.0.0/24"),
        ("west", "east", "169.254.0.2/30", "169.254.0.1", "10.51.0.0/24"),
    ):
        await apply(
            cluster,
            vpc(
                f"vpc-{side}",
                namespaces=[side],
                vpcPeerings=[{"remoteVpc": f"vpc-{other}", "localConnectIP": own}],
                staticRoutes=[{"cidr": cidr, "nextHopIP": hop, "policy": "policyDst"}],
            ),
        )
    await reaches(cluster, "east/e", addresses["west"])
    await reaches(cluster, "west/w", addresses["east"])

    async def told() -> bool:
        status = (await cluster.get("vpc", "vpc-east"))["status"]
        return bool(status["vpcPeerings"] == ["vpc-west"])

    await until(told, what="status.vpcPeerings")
    controller = cluster.lab.component("controller")  # it is away while the peering ends
    await controller.kill(signal.SIGKILL)
    for side in ("east", "west"):
        await apply(cluster, vpc(f"vpc-{side}", namespaces=[side]))
    await reaches(cluster, "east/e", addresses["west"])
    await until(lambda: _ended(cluster), what="controller ended")
    await controller.start()
    await stops_reaching(cluster, "east/e", addresses["west"])


async def _ended(cluster: Cluster) -> bool:
    return cluster.lab.component("controller").pid is None


async def test_dual_stack_and_ipv6_only_peers(cluster: Cluster) -> None:
    """A dual-stack VPC with subnets of two sizes, and its peer with IPv6 only."""
    spec: dict[str, Json] = {
        "both": {
            "vpcPeerings": [{"remoteVpc": "vpc-six", "localConnectIP": "169.254.9.1/30,fd99::1/126"}],
            "staticRoutes": [{"cidr": "fd62::/64", "nextHopIP": "fd99::2", "policy": "policyDst"}],
        },
        "six": {
            "vpcPeerings": [{"remoteVpc": "vpc-both", "localConnectIP": "169.254.9.2/30,fd99::2/126"}],
            "staticRoutes": [{"cidr": "fd61::/48", "nextHopIP": "fd99::1", "policy": "policyDst"}],
        },
    }
    places = {
        "both": ("vpc-both", "10.61.0.0/26,fd61::/64"),
        "large": ("vpc-both", "10.62.0.0/20,fd61:0:0:1::/64"),
        "six": ("vpc-six", "fd62::/64"),
    }
    owned = {"both": ["both", "large"], "six": ["six"]}
    await apply(cluster, *map(namespace, places))
    await apply(cluster, *(vpc(f"vpc-{name}", namespaces=owned[name], **spec[name]) for name in spec))
    nets = (subnet(name, vpc=of, cidrBlock=cidr, namespaces=[name]) for name, (of, cidr) in places.items())
    await apply(cluster, *nets)
    await bound(cluster, *places)
    await apply(cluster, pod("both/p", 1), pod("large/q", 2), pod("six/r", 3))
    addresses = {}
    for name in places:
        (found,) = await cluster.lab.wait_pods(name)
        addresses[name] = [one["ip"] for one in found["status"]["podIPs"]]
    assert [len(addresses[name]) for name in ("both", "large", "six")] == [2, 2, 1]
    for address in addresses["large"]:
        await reaches(cluster, "both/p", address)
    for address in addresses["both"]:
        await reaches(cluster, "large/q", address)
    await reaches(cluster, "both/p", addresses["six"][0])
    await reaches(cluster, "large/q", addresses["six"][0])
    await reaches(cluster, "six/r", addresses["both"][1])
    assert "r" in await who_answers(cluster, "both/p", addresses["six"][0])


async def test_routes_redirect(cluster: Cluster) -> None:
    """A static route and a policy route of each family lead to a pod that holds addresses which nobody else knows."""
    spec = {"namespaces": ["routed"]}
    await apply(
        cluster,
        namespace("routed"),
        vpc("vpc-routed", **spec),
        subnet("routed", vpc="vpc-routed", cidrBlock="10.53.0.0/24,fd53::/64", namespaces=["routed"]),
    )
    await bound(cluster, "routed")
    await apply(
        cluster,
        pod("routed/appliance", 1, ip_address="10.53.0.10,fd53::10"),
        pod("routed/one", 2, ip_address="10.53.0.11,fd53::11"),
        pod("routed/two", 3, ip_address="10.53.0.12,fd53::12"),
    )
    await cluster.lab.wait_pods("routed")
    # By route, by policy, and the pods' addresses up to their last digit.
    families = {4: ("198.51.100.1", "203.0.113.1", "10.53.0.1"), 6: ("2001:db8:1::1", "2001:db8:2::1", "fd53::1")}
    for by_route, by_policy, _ in families.values():
        for address in (by_route, by_policy):
            await cluster.lab.exec("appliance", "ip", "address", "add", address, "dev", "lo", namespace="routed")
            await never_reaches(cluster, "routed/one", address)
    routes: list[Json] = []
    policies: list[Json] = []
    for version, (by_route, by_policy, pods) in families.items():
        routes.append({"cidr": by_route, "nextHopIP": f"{pods}0", "policy": "policyDst"})
        source, target = f"ip{version}.src == {pods}", f"ip{version}.dst =="
        reroute = {"action": "reroute", "nextHopIP": f"{pods}0"}
        policies.append({"priority": 20000, "match": f"{source}1 && {target} {by_policy}", **reroute})
        policies.append({"priority": 32000, "match": f"{source}2 && {target} {by_route}", "action": "drop"})
    await apply(cluster, vpc("vpc-routed", **spec, staticRoutes=routes, policyRoutes=policies))
    for by_route, by_policy, _ in families.values():
        await reaches(cluster, "routed/one", by_route)
        await reaches(cluster, "routed/one", by_policy)
        await never_reaches(cluster, "routed/two", by_policy)
        await never_reaches(cluster, "routed/two", by_route)
    await apply(cluster, vpc("vpc-routed", **spec))
    for by_route, by_policy, _ in families.values():
        for address in (by_route, by_policy):
            await stops_reaching(cluster, "routed/one", address)


async def test_a_private_subnet(cluster: Cluster) -> None:
    await apply(cluster, namespace("inside"), namespace("friend"), namespace("stranger"))
    for number, name in enumerate(("inside", "friend", "stranger")):
        await apply(cluster, subnet(name, cidrBlock=f"10.6{number}.0.0/24", namespaces=[name]))
    await bound(cluster, "inside", "friend", "stranger")
    await apply(cluster, pod("inside/a", 1), pod("inside/b", 2), pod("friend/f", 2), pod("stranger/s", 3))
    found = {}
    for name in ("inside", "friend", "stranger"):
        for made in await cluster.lab.wait_pods(name):
            found[made["metadata"]["name"]] = made["status"]["podIP"]
    for source in ("inside/b", "friend/f", "stranger/s"):
        await reaches(cluster, source, found["a"])
    await cluster.lab.kubectl(
        "patch", "subnet", "inside", "--type=merge", "-p", '{"spec":{"private":true,"allowSubnets":["10.61.0.0/24"]}}'
    )
    await stops_reaching(cluster, "stranger/s", found["a"])
    for source in ("inside/b", "friend/f"):
        await reaches(cluster, source, found["a"])
    notes = (await cluster.get("node", "node1"))["metadata"]["annotations"]
    join = notes[f"{NOTE}/ip_address"]

    async def joined() -> bool:
        done = await cluster.lab.node_exec("node1", "ping", "-I", join, "-c1", "-W1", found["a"], check=False)
        return bool(done.returncode == 0)

    await until(joined, timeout=5, what="a node's join address reaches private pods (spec D.2.1, priority 3000)")


async def test_statefulsets_keep_addresses(cluster: Cluster) -> None:
    await apply(
        cluster,
        namespace("sticky"),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "sticky"},
            "spec": {
                "replicas": 2,
                "serviceName": "db",
                "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}],
                    },
                },
            },
        },
    )

    async def states(without: frozenset[str] = frozenset()) -> dict[str, tuple[str, str, str]]:
        """Name → (address, MAC, node) when both are ready and none has a uid of `without`."""
        found = {}
        for item in (await cluster.get("pods", "-n", "sticky", "-l", "app=db"))["items"]:
            notes = item["metadata"].get("annotations") or {}
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions") or ())
            if ready and item["metadata"]["uid"] not in without:
                found[item["metadata"]["name"]] = (
                    item["status"]["podIP"],
                    notes[f"{NOTE}/mac_address"],
                    item["spec"]["nodeName"],
                )
        return found if len(found) == 2 else {}

    async def uids() -> frozenset[str]:
        return frozenset(p["metadata"]["uid"] for p in (await cluster.get("pods", "-n", "sticky"))["items"])

    before = await until(states, timeout=60, what="two pods")
    identity = {name: state[:2] for name, state in before.items()}
    # Another pod wants the addresses while they are free.
    old = await uids()
    await cluster.lab.kubectl("delete", "pod", "-n", "sticky", "--all", "--wait=false")
    await apply(cluster, *(pod(f"sticky/greedy{n}", 3) for n in range(3)))
    after = await until(lambda: states(old), timeout=60, what="two new pods")
    assert {name: state[:2] for name, state in after.items()} == identity
    # Rescheduled: their nodes take no pods any more.
    for node in {state[2] for state in after.values()}:
        await cluster.lab.kubectl("cordon", node)
    old = await uids()
    controller = cluster.lab.component("controller")
    await cluster.lab.kubectl("delete", "pod", "-n", "sticky", "-l", "app=db", "--wait=false")
    await controller.kill(signal.SIGKILL)

    await until(lambda: _ended(cluster), what="controller ended")
    await controller.start()
    moved = await until(lambda: states(old), timeout=60, what="two pods elsewhere")
    assert {name: state[:2] for name, state in moved.items()} == identity
    for node in ("node1", "node2", "node3"):
        await cluster.lab.kubectl("uncordon", node)
