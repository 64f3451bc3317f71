"""Policies for the bench and for tests of the selector index: what NetworkPolicies will ask of the engine, no more.

A policy wants a port group of the pods that it selects and an address set for each peer, named after the selection, so
that policies that say the same share them; pods put themselves into those that select them. ACLs are left out.
`python -m bench.policies --role=controller …` is the controller with these units.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec

from ovnbridge.compile.lease import lease_of
from ovnbridge.compile.pod import alive
from ovnbridge.compile.selector import NOTHING, Selection, catalogues, memberships, terms
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Item, Member, Row
from ovnbridge.model.kube import LabelSelector, Pod
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.model.names import port_name
from ovnbridge.model.ovn import Ref
from ovnbridge.model.resource import NETWORK_POLICY


class Peer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of `from`."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One ingress rule."""

    peers: tuple[Peer, ...] = msgspec.field(default=(), name="from")


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the bench needs of `spec`."""

    pod_selector: LabelSelector = LabelSelector()
    ingress: tuple[Rule, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A NetworkPolicy."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Spec = Spec()


def targets(policy: Policy) -> Iterator[Selection]:
    """The pods that a policy is about."""
    yield Selection(terms(policy.spec.pod_selector), policy.metadata.namespace)


def peers(policy: Policy) -> Iterator[Selection]:
    """The pods that may reach them."""
    for rule in policy.spec.ingress:
        for peer in rule.peers:
            objects = terms(peer.pod_selector) if peer.pod_selector is not None else ()
            if peer.namespace_selector is not None:
                yield Selection(objects, namespaces=terms(peer.namespace_selector))
            elif objects != NOTHING:
                yield Selection(objects, policy.metadata.namespace)


def _policy(reader: Reader, key: str) -> Iterator[Item]:
    policy = reader.get(NETWORK_POLICY.kind, key)
    if not isinstance(policy, Policy):
        return
    for target in dict.fromkeys(targets(policy)):
        yield Row("Port_Group", target.name, {"name": target.name}, members=("ports",))
    for peer in dict.fromkeys(peers(policy)):
        yield Row("Address_Set", peer.name, {"name": peer.name}, members=("addresses",))


def _pod(reader: Reader, key: str) -> Iterator[Item]:
    pod = reader.get("Pod", key)
    if not isinstance(pod, Pod) or pod.spec.host_network or not alive(pod):
        return
    owner, space = port_name(pod.metadata.name, pod.metadata.namespace), pod.metadata.namespace
    lease = lease_of(reader, owner)
    if lease is None:
        return
    labels = tuple(sorted(pod.metadata.all_labels().items()))
    for target in reader.query(memberships, "targets", space, labels):
        yield Member("Port_Group", target.name, "ports", Ref("Logical_Switch_Port", owner))
    for peer in reader.query(memberships, "peers", space, labels):
        yield Member("Address_Set", peer.name, "addresses", lease.spec.v4_ip_address)


UNITS = (Unit("policy", NETWORK_POLICY.kind, _policy), Unit("pod-policies", "Pod", _pod))
INDEXES = (
    *catalogues("targets", NETWORK_POLICY.kind, targets),
    *catalogues("peers", NETWORK_POLICY.kind, peers),
)


def install() -> None:
    """Make them part of the controller that is imported after this."""
    from ovnbridge import compile as units

    units.UNITS += UNITS
    units.INDEXES += INDEXES
    from ovnbridge import controller
    from ovnbridge.controller import state

    controller.KINDS = state.KINDS = (*state.KINDS, (NETWORK_POLICY, Policy))  # type: ignore[misc]


def main() -> int:
    """The controller with policies."""
    install()
    from ovnbridge import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
