"""The table of what our CRDs refuse, without a server: it is complete, and the controller's own rules agree with it."""

from __future__ import annotations

import json
import re

import pytest
from crd_rules import CASES, CHANGES, Case, made

from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.crd.schema import definition
from tests.support import worlds
from tests.support.addresses import events
from tests.support.cluster import Cluster, subnet, underlay

# What the controller makes right, or leaves to somebody else.
LENIENT = [
    {"cidrBlock": "10.0.0.0/16,"},
    {"vpcPeerings": [{"remoteVpc": "b", "localConnectIP": "10.0.0.1/30, fd00::1/64"}]},
    {"mtu": -1},
    {"policyRoutingPriority": -1},
    {"policyRoutingTableID": -1},
    {"natOutgoingPolicyRules": [{"action": "snat"}]},
    {"type": "vrrp"},
]
CONTROLLERS = [c for c in CASES if c.kind in ("Subnet", "Vpc", "IPPool", "Vip") and c.spec not in LENIENT]
# Rules of the reference itself that no row is about; they are compared with it word for word (tests/pure/test_crds.py).
BEYOND = {
    "Each policy MUST have at least one ipBlocks or subnets",
    "Each namespace selector MUST have at least one matchLabels or matchExpressions",
    "Each pod selector MUST have at least one matchLabels or matchExpressions",
    "start must not be greater than end",
}


@pytest.mark.parametrize("case", CONTROLLERS, ids=lambda case: f"{case.kind}-{case.field}")
def test_the_controller_says_the_same(case: Case) -> None:
    """Of objects that were stored before there was a rule, or are in a cluster that does not know CEL."""
    cluster = Cluster().apply(*worlds.BASE, *underlay("v"), subnet("s", cidrBlock="10.9.0.0/16,fd09::/64"))
    cluster.apply(made(case.kind, "object", case.spec)).run()
    assert events(cluster, case.kind, "object")


def test_every_rule_is_in_the_table() -> None:
    """Each CEL message has a case or a change that meets it."""
    met = {row.message for row in (*CASES, *CHANGES)}
    for info in KINDS.values():
        for message in re.findall(r'"message": "([^"]*)"', json.dumps(definition(info))):
            assert message in BEYOND or any(part in message for part in met), f"{info.resource.kind}: {message}"
