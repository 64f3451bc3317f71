"""Address management: ranges, per-subnet pools and the ledger's state machine. Pure (spec part C).

Fed with subnets and leases (the IP objects, which are the write-ahead ledger); asked for leases by `compile/`'s claims
through `reactor/`. Keeps no truth of its own: rebuilt from the World at start.
"""

from ovnbridge.ipam.ledger import NO_ADDRESS, AddressRequest, Lease, Ledger, Refusal, SubnetFacts, SubnetUsage, answers
from ovnbridge.ipam.ranges import RangeSet

__all__ = [
    "NO_ADDRESS",
    "AddressRequest",
    "Lease",
    "Ledger",
    "RangeSet",
    "Refusal",
    "SubnetFacts",
    "SubnetUsage",
    "answers",
]
