"""Claims → leases → IP objects: the only decision that is not a function of the World (DESIGN, "Allocation").

Level-triggered per owner: `decide` compares the claim with the IP object and says which object must exist. The writer
creates it (create is the compare-and-swap), and it comes back through the watch or the reply as World data, upon which
the pod unit yields the port. Where the object exists before its addresses (a Vip, a reservation made by hand) the
answer is put into the World as a `Grant`, and the unit that claims writes it into its object. Nothing here writes;
nothing is remembered that the objects do not say, except leases whose object is being written.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from ovnbridge.compile.lease import (
    EDITED,
    GRANT,
    POOL_SCOPE,
    POOL_USAGE,
    RESERVATION,
    STICKY,
    addressed,
    by_hand,
    eip_lease,
    eip_owner,
    identity,
    ip_body,
    iptables_eip_lease,
    iptables_eip_owner,
    lease_value,
    of_pod,
    readable,
    reserved,
    unedited,
    vip_lease,
    vip_owner,
)
from ovnbridge.engine.desired import DesiredStore
from ovnbridge.engine.world import World
from ovnbridge.ipam import NO_ADDRESS, AddressRequest, Lease, Ledger, PoolFacts, Refusal, SubnetFacts
from ovnbridge.model.crd.address import IP, IPSpec, Vip
from ovnbridge.model.crd.nat_gateway import IptablesEIP
from ovnbridge.model.crd.ovn_nat import OvnEip
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.model.names import LABEL_IP_RESERVED, MCAST_PREFIX, U2O_PREFIX, node_port_name

log = logging.getLogger(__name__)

_Queue: TypeAlias = tuple[str, str]
"""(subnet, reason). The reason is that no address is left, of a family and of pools: owners that were refused for the
same one are answered in their order. It is "" for all other reasons, where any of them may succeed next."""


class Ended(msgspec.Struct, frozen=True):
    """In the World instead of an IP object whose deletion has been asked for: a lease no more, an address not yet free.

    A pod of the same name that comes meanwhile must not be given what is about to go: it waits until it is gone.
    """

    metadata: ObjectMeta
    spec: IPSpec


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
        self._ended: dict[str, str] = {}
        """Owner → uid of the IP object whose deletion has been asked for."""
        self._replacing: set[str] = set()
        """Owners of leases that have given up addresses, until their object says so."""
        self._dirty: OrderedDict[str, None] = OrderedDict()
        self._refused: dict[str, dict[str, OrderedDict[str, None]]] = {}
        """Subnet → reason → owners that were refused, in the order in which they came."""
        self._queues: dict[str, tuple[_Queue, ...]] = {}
        """Owner → the queues that it waits in."""
        self._freed_queues: dict[_Queue, None] = {}
        self._stale_usage: dict[str, None] = {}

    # -- following -------------------------------------------------------------------------------------------------

    def observe_ip(self, owner: str, ip: Any | None) -> Any | None:
        """An IP object came, changed or went. Returns what the engine is to see of it."""
        ended = self._ended.get(owner)
        if ended is not None:
            if isinstance(ip, IP) and ip.metadata.uid == ended:
                return Ended(ip.metadata, ip.spec)
            del self._ended[owner]
        found = self._unedited(owner, ip) if isinstance(ip, IP) else None
        if found is None:
            self._world.put(EDITED, owner, None)
        self._world.put(STICKY, owner, found.spec.pod_type if found is not None and found.spec.pod_type else None)
        self._world.put(RESERVATION, owner, True if found is not None and by_hand(found) else None)
        self._observe(owner, lease_value(found) if found is not None and addressed(found) else None, found is None)
        return ip

    def _unedited(self, owner: str, ip: IP) -> IP:
        """The lease as it counts: addresses that an object has said once do not change, unless we exchange them."""
        known, before = self._world.get("IP", owner), self._world.get(EDITED, owner)
        if not isinstance(known, IP) or known.metadata.uid != ip.metadata.uid or not addressed(known):
            known = None
        if known is None or self._world.get(GRANT, owner) == lease_value(ip):
            self._world.put(EDITED, owner, None)
            return ip
        right = unedited(known, before)
        edited = identity(ip) != identity(right)
        self._world.put(EDITED, owner, right.spec if edited else None)
        return unedited(ip, right.spec if edited else None)

    def observe_vip(self, name: str, vip: Any | None) -> Any | None:
        """A Vip came, changed or went. Returns it."""
        self._observe(vip_owner(name), vip_lease(vip) if isinstance(vip, Vip) else None, vip is None)
        return vip

    def observe_eip(self, name: str, eip: Any | None) -> Any | None:
        """An OvnEip came, changed or went: its address is nobody else's, and counts as used. Returns it."""
        self._observe(eip_owner(name), eip_lease(eip) if isinstance(eip, OvnEip) else None, eip is None)
        return eip

    def observe_iptables_eip(self, name: str, eip: Any | None) -> Any | None:
        """An IptablesEIP came, changed or went: the same. Returns it."""
        lease = iptables_eip_lease(eip) if isinstance(eip, IptablesEIP) else None
        self._observe(iptables_eip_owner(name), lease, eip is None)
        return eip

    def _observe(self, owner: str, lease: Lease | None, gone: bool) -> None:
        pending = self._pending.get(owner)
        if owner in self._replacing:
            self._replacing.discard(owner)
            replaced = self.ledger.release(_replaced(owner))
            if replaced is not None:
                self._freed(replaced.subnet)
        if lease is not None:
            self._pending.pop(owner, None)
            self._world.put(GRANT, owner, None)
            before = self.ledger.lease(owner)
            clash = self.ledger.restore(owner, lease)
            if clash is not None and not self._shared(owner, clash):
                log.error("address held twice owner=%s other=%s subnet=%s", owner, clash, lease.subnet)
            self._usage_stale(lease.subnet)
            if before is not None and before != lease:
                self._freed(before.subnet)
        elif pending is None or pending.grant is gone:
            # An object to be filled in is gone, or one to be created is there already, without an address.
            self._pending.pop(owner, None)
            self._world.put(GRANT, owner, None)
            released = self.ledger.release(owner)
            if released is not None:
                self._freed(released.subnet)
        self._dirty[owner] = None

    def _shared(self, owner: str, other: str) -> bool:
        """Whether one of two holders is a pod that has taken over the address of the other one, a Vip."""
        for pod, vip in ((owner, other), (other, owner)):
            found = self._world.get("Vip", vip.removeprefix(vip_owner("")))
            if vip.startswith(vip_owner("")) and isinstance(found, Vip):
                return found.metadata.label(LABEL_IP_RESERVED) == pod
        return False

    def follow_pools(self, names: Iterable[str]) -> None:
        """Address ranges of subnets and IPPools came, changed or went."""
        for name in names:
            pool = self._desired.pool(name)
            facts = pool.facts if pool is not None else None
            if name.startswith(POOL_SCOPE):
                self._follow_ippool(name.removeprefix(POOL_SCOPE), facts if isinstance(facts, PoolFacts) else None)
                continue
            self.ledger.set_subnet(name, facts if isinstance(facts, SubnetFacts) else None)
            self._changed(name)
            self._dirty.update(dict.fromkeys(filter(self._exchangeable, self.ledger.owners_in(name))))

    def _follow_ippool(self, name: str, facts: PoolFacts | None) -> None:
        old = self.ledger.pool(name)
        self.ledger.set_pool(name, facts)
        if facts is None:
            self._world.put(POOL_USAGE, name, None)
        for subnet in {f.subnet for f in (old, facts) if f is not None}:
            self._changed(subnet)

    def _changed(self, subnet: str) -> None:
        """A subnet's ranges are others: whoever was refused may be answered now."""
        for waiting in self._refused.get(subnet, {}).values():
            self._dirty.update(waiting)
        self._usage_stale(subnet)

    def _exchangeable(self, owner: str) -> bool:
        """Whether a lease may have to become another with its subnet: not that of a pod that runs."""
        request = self._request(owner)
        return request is not None and not request.keep

    def touch_unclaimed(self) -> None:
        """A subnet that was held is no more: leases in it that nobody claims may go."""
        self._dirty.update((owner, None) for owner in self._world.keys("IP") if self._desired.claim(owner) is None)

    def touch_claims(self, owners: Iterable[str]) -> None:
        """Claims came, changed or went. Who works with an address is asked before those who may be given it."""
        for owner in owners:
            self._dirty[owner] = None
            request = self._request(owner)
            # Nodes' claims name the address that the node has.
            if request is not None and (request.runs or (request.addresses and not request.namespace)):
                self._dirty.move_to_end(owner, last=False)

    # -- deciding --------------------------------------------------------------------------------------------------

    def decide(self, limit: int = 0) -> bool:
        """Answer at most `limit` owners (0: all). Returns whether some are left."""
        done = 0
        while self._dirty or self._freed_queues:
            if limit and done >= limit:
                return True
            done += 1
            if self._dirty:
                self._decide(self._dirty.popitem(last=False)[0])
            else:
                self._decide_refused(next(iter(self._freed_queues)))
        return False

    def _decide_refused(self, queue: _Queue) -> None:
        """Ask for the first of a queue again; when it is refused again, so would be those behind it."""
        first = next(iter(self._waiting(queue)), None)
        if first is not None:
            self._decide(first)
        if first is None or first in self._waiting(queue):
            del self._freed_queues[queue]

    def _waiting(self, queue: _Queue) -> Mapping[str, None]:
        subnet, reason = queue
        return self._refused.get(subnet, {}).get(reason, {})

    def _decide(self, owner: str) -> None:
        request = self._request(owner)
        if request is not None and request.amend and self._exchanged(owner, request):
            return
        ip = self._world.get("IP", owner)
        if ip is not None and not (isinstance(ip, IP) and by_hand(ip) and not ip.metadata.deleting):
            self._answered(owner)
            if isinstance(ip, Ended) or self.unwanted(owner, ip):
                self._touch("IP", owner)
        elif owner in self._pending:
            # The object may be on its way. Whether it is still wanted is seen when it has come: until then its
            # addresses cannot be given to anybody else.
            held = self.ledger.lease(owner)
            if request is not None and held is not None and self.ledger.fits(held, request):
                self._pending[owner] = request
        elif request is None or (request.grant and self.ledger.lease(owner) is not None):
            self._answered(owner)
        elif ip is not None and not request.grant:
            return  # somebody has made the object, and cannot be answered
        else:
            decision = self.ledger.allocate(owner, request)
            if isinstance(decision, Lease):
                self._pending[owner] = request
                self._answered(owner)
                self._usage_stale(decision.subnet)
                if request.grant:
                    self._world.put(GRANT, owner, decision)
                else:
                    self._touch("IP", owner)
            else:
                self._refuse(owner, request, decision)

    def _exchanged(self, owner: str, request: AddressRequest) -> bool:
        """Exchange what does not fit of a lease in its object. Returns whether there was anything to do."""
        ip, before = self._world.get("IP", owner), self.ledger.lease(owner)
        decision = self.ledger.amend(owner, request) if isinstance(ip, IP) and not ip.metadata.deleting else None
        if decision is None or before is None:
            return False
        if isinstance(decision, Refusal):
            self._refuse(owner, request, decision)
        else:
            # What it gives up is nobody else's before its object says so.
            v4, v6 = ("" if old == new else old for old, new in ((before.v4, decision.v4), (before.v6, decision.v6)))
            self.ledger.restore(_replaced(owner), Lease(before.subnet, v4, v6))
            self._replacing.add(owner)
            self._world.put(GRANT, owner, decision)
            self._answered(owner)
            self._usage_stale(decision.subnet)
        return True

    def _request(self, owner: str) -> AddressRequest | None:
        claim = self._desired.claim(owner)
        return claim.request if claim is not None and isinstance(claim.request, AddressRequest) else None

    def _refuse(self, owner: str, request: AddressRequest, refusal: Refusal) -> None:
        self._world.put("Refusal", owner, refusal)
        reason = ""
        if refusal.reason == NO_ADDRESS:
            reason = "/".join((NO_ADDRESS, request.family, request.pool or ",".join(request.pools)))
        queues = tuple((subnet, reason) for subnet in refusal.subnets)
        if self._queues.get(owner) != queues:
            self._leave(owner)
            self._queues[owner] = queues
            for subnet, _ in queues:
                self._refused.setdefault(subnet, {}).setdefault(reason, OrderedDict())[owner] = None

    def _answered(self, owner: str) -> None:
        self._world.put("Refusal", owner, None)
        self._leave(owner)

    def _leave(self, owner: str) -> None:
        for subnet, reason in self._queues.pop(owner, ()):
            reasons = self._refused[subnet]
            del reasons[reason][owner]
            if not reasons[reason]:
                del reasons[reason]
            if not reasons:
                del self._refused[subnet]

    def _freed(self, subnet: str) -> None:
        """Addresses in a subnet may be free again: ask for those that were refused."""
        for reason, waiting in self._refused.get(subnet, {}).items():
            if reason:
                self._freed_queues[(subnet, reason)] = None
            else:
                self._dirty.update(waiting)
        self._usage_stale(subnet)

    # -- what must exist -------------------------------------------------------------------------------------------

    def body(self, owner: str) -> Mapping[str, Any] | None:
        """The IP object that must exist for a lease that is not written yet."""
        request = self._pending.get(owner)
        lease = self.ledger.lease(owner)
        if request is None or lease is None or request.grant:
            return None
        return ip_body(owner, request, lease, self._owner_reference(request))

    def end(self, owner: str, ip: Any) -> bool:
        """Whether an existing IP object must be deleted. It is, and whoever asks now: from here on it is no lease."""
        if isinstance(ip, Ended):
            return True
        if not self.unwanted(owner, ip):
            return False
        if ip.metadata.uid:
            self._ended[owner] = ip.metadata.uid
            self._world.put("IP", owner, Ended(ip.metadata, ip.spec))
        return True

    def unwanted(self, owner: str, ip: Any) -> bool:
        """Whether an existing IP object is a lease of ours that nobody claims (any more)."""
        if isinstance(ip, IP) and ip.metadata.deleting:
            return True  # somebody wants it gone: only our finalizer is in the way
        if not isinstance(ip, IP) or not (_of_pod_or_node(ip) or _of_subnet(owner)):
            return False
        ip = unedited(ip, self._world.get(EDITED, owner))
        if reserved(ip):
            return False
        if not readable(ip):
            return True
        claim = self._desired.claim(owner)
        if claim is None:
            return not self._desired.held(ip.spec.subnet) or not self._owner_exists(ip)
        return isinstance(claim.request, AddressRequest) and not self.ledger.fits(lease_value(ip), claim.request)

    def _owner_exists(self, ip: IP) -> bool:
        if _of_subnet(ip.metadata.name):
            return self._world.get("Subnet", ip.spec.subnet) is not None
        if ip.spec.namespace:
            return self._world.get("Pod", f"{ip.spec.namespace}/{ip.spec.pod_name}") is not None
        return self._world.get("Node", ip.spec.node_name) is not None

    def _owner_reference(self, request: AddressRequest) -> dict[str, Any] | None:
        """Node leases belong to their Node, a subnet's own to the Subnet (spec C.10)."""
        if _of_subnet(request.pod):
            (name,) = request.subnets
            subnet = self._world.get("Subnet", name)
            if not isinstance(subnet, Subnet):
                return None
            return {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "name": name, "uid": subnet.metadata.uid}
        if request.namespace:
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
            for pool in self.ledger.pools_of(subnet):
                self._world.put(POOL_USAGE, pool, self.ledger.pool_usage(pool))
        self._stale_usage.clear()


def _of_pod_or_node(ip: IP) -> bool:
    """Whether the object is the lease of a pod's interface or of a node, the kinds that are claimed here."""
    return of_pod(ip) if ip.spec.namespace else ip.metadata.name == node_port_name(ip.spec.node_name)


def _of_subnet(owner: str) -> bool:
    """Whether the object is the lease of one of a subnet's own addresses."""
    return owner.startswith((U2O_PREFIX, MCAST_PREFIX))


def _replaced(owner: str) -> str:
    """The owner of the addresses that a lease gives up, until its object says so; no object has such a name."""
    return f"{owner}/replaced"
