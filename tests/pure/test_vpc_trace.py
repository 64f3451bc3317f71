"""What OVN makes of our rows: `ovn-trace` verdicts on a real NB with northd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, ip, namespace, node, pod, subnet
from tests.support.trace import Ovn, needs_ovn, northd

pytestmark = needs_ovn

NODES = (node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"))
JOINS = (ip("n-1", "join", "100.64.0.2"), ip("n-2", "join", "100.64.0.3"))


@pytest.fixture
def ovn() -> Iterator[Ovn]:
    with northd() as running:
        yield running


def test_default_vpc(ovn: Ovn) -> None:
    cluster = Cluster(database=ovn.database)
    pods = (
        pod("app/a", "n-1", ip_address="10.16.0.10"),
        pod("app/b", "n-2", ip_address="10.16.0.11"),
        pod("app/c", "n-1", ip_address="10.17.0.12", logical_switch="s1"),
    )
    cluster.apply(namespace("app"), *NODES, *JOINS, subnet("s1", cidrBlock="10.17.0.0/24"), *pods).run()
    assert ovn.trace("a.app", "10.16.0.11").reaches("b.app"), "in one subnet"
    assert ovn.trace("a.app", "10.17.0.12").reaches("c.app"), "across subnets"
    assert ovn.trace("a.app", "10.16.0.1").reaches("a.app"), "the gateway answers"
    assert ovn.trace("a.app", "198.51.100.1").reaches("node-n-1"), "out through the own node"
    assert ovn.trace("b.app", "198.51.100.1").reaches("node-n-2")
    assert ovn.trace("b.app", "192.168.0.11").reaches("node-n-1"), "to a node, through that node"
    assert ovn.trace("a.app", "10.16.0.99").dropped, "nobody has this address"
