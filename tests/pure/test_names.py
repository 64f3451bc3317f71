"""Names, labels and annotation keys (spec B.0, D general rules, H.2, I)."""

from __future__ import annotations

import hashlib

import pytest

from ovnbridge.compile.options import Options
from ovnbridge.model import names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (names.annotation("allocated"), "ovn.kubernetes.io/allocated"),
        (names.annotation("ip_address", "net1.default.ovn"), "net1.default.ovn.kubernetes.io/ip_address"),
        (names.port_name("web-0", "app"), "web-0.app"),
        (names.port_name("web-0", "app", "net1.default.ovn"), "web-0.app.net1.default.ovn"),
        (names.node_port_name("n-1"), "node-n-1"),
        (names.router_port_name("ovn-cluster", "join"), "ovn-cluster-join"),
        (names.switch_router_port_name("join", "ovn-cluster"), "join-ovn-cluster"),
        (names.set_name("a-b.c_d-e"), "a.b.c_d.e"),
        (names.node_group("n-1"), "node.n.1"),
        (names.subnet_node_group("ovn-default", "n-1"), "ovn.default.n.1"),
        (names.FINALIZER, "kubeovn.io/kube-ovn-controller"),
        (names.LABEL_SUBNET, "ovn.kubernetes.io/subnet"),
        (names.LABEL_NODE_NAME, "ovn.kubernetes.io/node-name"),
        (names.LABEL_IP_RESERVED, "ovn.kubernetes.io/ip_reserved"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert name == expected


def test_label_values() -> None:
    assert names.label_value("x" * 63) == "x" * 63
    long = "y" * 64
    assert names.label_value(long) == "y" * 54 + "-" + hashlib.sha256(long.encode()).hexdigest()[:8]
    assert len(names.label_value("z" * 200)) == 63


def test_acl_names() -> None:
    assert names.acl_name("x" * 63) == "x" * 63
    assert names.acl_name("x" * 64) == "x" * 60 + "..."


def test_load_balancers() -> None:
    assert set(Options().load_balancer_names("ovn-cluster")) == {
        "cluster-tcp-loadbalancer",
        "cluster-udp-loadbalancer",
        "cluster-sctp-loadbalancer",
        "cluster-tcp-session-loadbalancer",
        "cluster-udp-session-loadbalancer",
        "cluster-sctp-session-loadbalancer",
    }
    assert set(Options().load_balancer_names("v1")) == {
        "vpc-v1-tcp-load",
        "vpc-v1-tcp-sess-load",
        "vpc-v1-udp-load",
        "vpc-v1-udp-sess-load",
        "vpc-v1-sctp-load",
        "vpc-v1-sctp-sess-load",
    }
    assert Options(load_balancers={"tcp-session": "mine"}).load_balancer("ovn-cluster", "tcp", True) == "mine"
