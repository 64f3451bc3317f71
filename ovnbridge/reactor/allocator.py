"""Claims → leases → IP objects: the only decision that is not a function of the World (DESIGN, "Allocation").

Level-triggered per owner: `decide` compares the claim with the IP object and says which object must exist. The writer
creates it (create is the compare-and-swap), and it comes back through the watch or the reply as World data, upon which
the pod unit yields the port. Nothing here writes; nothing is remembered that the IP objects do not say, except leases
whose object is being written.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ovnbridge.compile.lease import ip_body, lease_value
from ovnbridge.engine.desired import DesiredStore
from ovnbridge.engine.world import World
from ovnbridge.ipam import AddressRequest, Lease, Ledger, Refusal, SubnetFacts
from ovnbridge.model.crd.address import IP
from ovnbridge.model.kube import Node
from ovnbridge.model.names import LABEL_IP_RESERVED, node_port_name, port_name

log = logging.getLogger(__name__)


class Allocator:
    """Follows IP objects and subnets, answers claims."""

    def __init__(
        self,
        *,
        world: World,
        desired: DesiredStore,
        touch: Callable[[str, str], None],
        usage_changed: Callable[[], None],
    ) -> None:
        self.ledger = Ledger()
        self._world = world
        self._desired = desired
        self._touch = touch
        self._usage_changed = usage_changed
        self._pending: dict[str, AddressRequest] = {}
        self._dirty: OrderedDict[str, None] = OrderedDict()
        self._refused: dict[str, set[str]] = {}
        self._stale_usage: dict[str, None] = {}

    # -- following -------------------------------------------------------------------------------------------------

    def observe_ip(self, owner: str, ip: Any | None) -> None:
        """An IP object came, changed or went."""
        if isinstance(ip, IP):
            self._pending.pop(owner, None)
            clash = self.ledger.restore(owner, lease_value(ip))
            if clash is not None:
                log.error("address held twice owner=%s other=%s subnet=%s", owner, clash, ip.spec.subnet)
            self._usage_stale(ip.spec.subnet)
        elif owner not in self._pending:
            lease = self.ledger.release(owner)
            if lease is not None:
                self._freed(lease.subnet)
        self._dirty[owner] = None

    def follow_pools(self, names: Iterable[str]) -> None:
        """Subnets' address ranges came, changed or went."""
        for name in names:
            pool = self._desired.pool(name)
            facts = pool.facts if pool is not None else None
            self.ledger.set_subnet(name, facts if isinstance(facts, SubnetFacts) else None)
            self._freed(name)

    def touch_claims(self, owners: Iterable[str]) -> None:
        """Claims came, changed or went."""
        self._dirty.update(dict.fromkeys(owners))

    # -- deciding --------------------------------------------------------------------------------------------------

    def decide(self, limit: int = 0) -> bool:
        """Answer at most `limit` owners (0: all). Returns whether some are left."""
        done = 0
        while self._dirty:
            if limit and done >= limit:
                return True
            owner, _ = self._dirty.popitem(last=False)
            self._decide(owner)
            done += 1
        return False

    def _decide(self, owner: str) -> None:
        claim = self._desired.claim(owner)
        request = claim.request if claim is not None and isinstance(claim.request, AddressRequest) else None
        exists = self._world.get("IP", owner) is not None
        if request is None:
            self._world.put("Refusal", owner, None)
            self._forget_refusal(owner)
            if not exists and self._pending.pop(owner, None) is not None:
                lease = self.ledger.release(owner)
                if lease is not None:
                    self._freed(lease.subnet)
            if exists:
                self._touch("IP", owner)
            return
        if exists:
            self._touch("IP", owner)
            return
        if owner in self._pending:
            held = self.ledger.lease(owner)
            if held is not None and self.ledger.fits(held, request):
                self._pending[owner] = request
                return
            self.ledger.release(owner)
            del self._pending[owner]
        decision = self.ledger.allocate(owner, request)
        if isinstance(decision, Lease):
            self._pending[owner] = request
            self._world.put("Refusal", owner, None)
            self._forget_refusal(owner)
            self._usage_stale(decision.subnet)
            self._touch("IP", owner)
        else:
            self._refuse(owner, decision)

    def _refuse(self, owner: str, refusal: Refusal) -> None:
        self._world.put("Refusal", owner, refusal)
        for subnet in refusal.subnets:
            self._refused.setdefault(subnet, set()).add(owner)

    def _forget_refusal(self, owner: str) -> None:
        for owners in self._refused.values():
            owners.discard(owner)

    def _freed(self, subnet: str) -> None:
        """Addresses in a subnet may be free again: ask for those that were refused."""
        self._dirty.update(dict.fromkeys(sorted(self._refused.pop(subnet, ()))))
        self._usage_stale(subnet)

    # -- what must exist -------------------------------------------------------------------------------------------

    def body(self, owner: str) -> Mapping[str, Any] | None:
        """The IP object that must exist for a lease that is not written yet."""
        request = self._pending.get(owner)
        lease = self.ledger.lease(owner)
        if request is None or lease is None:
            return None
        return ip_body(owner, request, lease, self._owner_reference(request))

    def unwanted(self, owner: str, ip: Any) -> bool:
        """Whether an existing IP object is a lease of ours that nobody claims (any more)."""
        if not isinstance(ip, IP) or not _of_pod_or_node(owner, ip):
            return False
        if ip.metadata.label(LABEL_IP_RESERVED) == "true":
            return False
        claim = self._desired.claim(owner)
        if claim is None:
            return not self._desired.held(ip.spec.subnet) or not self._owner_exists(ip)
        return isinstance(claim.request, AddressRequest) and not self.ledger.fits(lease_value(ip), claim.request)

    def _owner_exists(self, ip: IP) -> bool:
        if ip.spec.namespace:
            return self._world.get("Pod", f"{ip.spec.namespace}/{ip.spec.pod_name}") is not None
        return self._world.get("Node", ip.spec.node_name) is not None

    def _owner_reference(self, request: AddressRequest) -> dict[str, Any] | None:
        """Node leases belong to their Node (spec C.10)."""
        if request.namespace or request.pod != node_port_name(request.node):
            return None
        node = self._world.get("Node", request.node)
        if not isinstance(node, Node):
            return None
        return {"apiVersion": "v1", "kind": "Node", "name": request.node, "uid": node.metadata.uid}

    # -- figures ---------------------------------------------------------------------------------------------------

    def _usage_stale(self, subnet: str) -> None:
        self._stale_usage[subnet] = None
        self._usage_changed()

    def publish_usage(self) -> None:
        """Put the counts of the subnets whose use has changed into the World."""
        for subnet in self._stale_usage:
            self._world.put("Usage", subnet, self.ledger.usage(subnet))
        self._stale_usage.clear()


def _of_pod_or_node(owner: str, ip: IP) -> bool:
    spec = ip.spec
    if spec.namespace:
        return owner == port_name(spec.pod_name, spec.namespace)
    return owner == spec.pod_name == node_port_name(spec.node_name)
