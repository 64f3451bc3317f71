"""Address management: ranges, per-subnet pools and the ledger's state machine. Pure (spec part C).

Fed with subnets and leases (the IP objects, which are the write-ahead ledger); asked for leases by `compile/`'s claims
through `reactor/`. Keeps no truth of its own: rebuilt from the World at start.
"""

from ovnbridge.ipam.ledger import Ledger
from ovnbridge.ipam.ranges import RangeSet
from ovnbridge.ipam.values import (
    NO_ADDRESS,
    AddressRequest,
    Lease,
    PoolFacts,
    PoolUsage,
    Refusal,
    SubnetFacts,
    SubnetUsage,
    answers,
)

__all__ = [
    "NO_ADDRESS",
    "AddressRequest",
    "Lease",
    "Ledger",
    "PoolFacts",
    "PoolUsage",
    "RangeSet",
    "Refusal",
    "SubnetFacts",
    "SubnetUsage",
    "answers",
]
