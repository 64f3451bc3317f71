"""The ledger against an independent model of spec part C: the same random history, every answer and figure compared."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ovnbridge.ipam import AddressRequest, Lease, Ledger, PoolFacts, Refusal, SubnetFacts
from ovnbridge.model.address import number_of
from tests.support.ipam_model import Model

OWNERS = tuple(f"p{number}.a" for number in range(9)) + ("vip/v1", "vip/v2")
V4 = tuple(f"10.0.0.{number}" for number in range(16))
V6 = tuple(f"fd00::{number:x}" for number in range(10))
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:0A")


def gateways(cidr: str) -> st.SearchStrategy[str]:
    first = ",".join({"10.": "10.0.0.1", "fd0": "fd00::1"}[part[:3]] for part in cidr.split(",") if part)
    other = ",".join({"10.": "10.0.0.3", "fd0": "fd00::2"}[part[:3]] for part in cidr.split(",") if part)
    return st.sampled_from([first, first, first, other])


CIDRS = st.sampled_from(
    [
        "10.0.0.0/29",
        "10.0.0.0/29",
        "10.0.0.0/28",
        "10.0.0.0/30",
        "10.0.0.2/31",
        "10.0.0.8/29",
        "fd00::/125",
        "fd00::2/127",
        "10.0.0.0/29,fd00::/125",
        "10.0.0.0/28,fd00::/125",
        "10.0.0.0/28,fd00::/126",
        "",
    ]
)
EXCLUDES = st.lists(
    st.sampled_from(
        ["10.0.0.1", "10.0.0.3", "10.0.0.2..10.0.0.4", "10.0.0.6..10.0.0.200", "fd00::1", "fd00::3..fd00::5"]
    ),
    max_size=3,
    unique=True,
).map(tuple)
FACTS = CIDRS.flatmap(lambda cidr: st.builds(SubnetFacts, st.just("s"), st.just(cidr), gateways(cidr), EXCLUDES))
OTHER = SubnetFacts("t", "10.0.1.0/30", "10.0.1.1", ("10.0.1.1",))
RANGES = st.lists(
    st.sampled_from(
        [
            ("10.0.0.2", "10.0.0.3"),
            ("10.0.0.4", "10.0.0.5"),
            ("10.0.0.6", "10.0.0.12"),
            ("fd00::2", "fd00::4"),
            ("fd00::6", "fd00::6"),
        ]
    ),
    max_size=2,
    unique=True,
)
SUBNETS = st.sampled_from([("s",), ("s",), ("s", "t"), ("t", "s"), ("gone", "s"), ("gone",), ()])
GROUPS = st.lists(
    st.sampled_from([*V4, *V6]) | st.tuples(st.sampled_from(V4), st.sampled_from(V6)).map(",".join), max_size=3
).map(tuple)
SKIPS = st.sets(st.sampled_from([*V4[:8], *V6[:5]]), max_size=4).map(frozenset)
PLAIN = st.builds(
    AddressRequest,
    subnets=st.sampled_from([("s",), ("s",), ("s", "t")]),
    family=st.sampled_from(["", "", "IPv4"]),
    pool=st.sampled_from(["", "", "one"]),
)
ANY = st.builds(
    AddressRequest,
    subnets=SUBNETS,
    addresses=st.one_of(st.just(()), st.just(()), GROUPS),
    family=st.sampled_from(["", "", "", "IPv4", "IPv6"]),
    mac=st.sampled_from(["", "", "", *MACS, MACS[1].lower()]),
    want_mac=st.sampled_from([True, True, True, False]),
    skip=st.one_of(st.just(frozenset()), SKIPS),
    pool=st.sampled_from(["", "", "", "one", "two"]),
    pools=st.sampled_from([(), (), ("one",), ("two", "one")]),
    shares=st.sampled_from(["", "", "vip/v1"]),
).filter(lambda request: request.want_mac or not request.mac)
LEASES = st.builds(
    Lease,
    st.sampled_from(["s", "s", "t"]),
    st.sampled_from(["", *V4]),
    st.sampled_from(["", *V6]),
    st.sampled_from(MACS),
)


def plain(lease: Lease, like: Lease) -> Lease:
    """With "?" for a MAC that was made, where the model says so."""
    return Lease(lease.subnet, lease.v4, lease.v6, "?" if like.mac == "?" else lease.mac)


class Histories(RuleBasedStateMachine):
    """Leases come, go, are found after a restart, clash and are shared, while subnets and pools change."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.model = Ledger(), Model()
        self.change_subnet(SubnetFacts("s", "10.0.0.0/29,fd00::/125", "10.0.0.1,fd00::1", ("10.0.0.1", "fd00::1")))
        for both in (self.book, self.model):
            both.set_subnet("t", OTHER)

    @rule(owner=st.sampled_from(OWNERS), request=ANY)
    def allocate(self, owner: str, request: AddressRequest) -> None:
        if self.book.lease(owner) is not None:
            return
        expected = self.model.allocate(owner, request)
        answer = self.book.allocate(owner, request)
        if isinstance(expected, str):
            assert isinstance(answer, Refusal), (answer, expected)
            assert answer.reason == expected
            assert self.book.lease(owner) is None
            return
        assert isinstance(answer, Lease), (answer, expected)
        assert plain(answer, expected) == expected
        if expected.mac == "?":  # C.4: locally administered unicast, in no use
            assert int(answer.mac[:2], 16) & 3 == 2
            assert answer.mac not in self.model.subnet(answer.subnet).macs()
        self.model.restore(owner, answer)
        assert self.book.allocate(owner, request) == answer, "C.3: asked again, the same is returned"

    @rule(owners=st.permutations(OWNERS), count=st.integers(1, 6), request=PLAIN)
    def allocate_some(self, owners: list[str], count: int, request: AddressRequest) -> None:
        for owner in owners[:count]:
            self.allocate(owner, request)

    @rule(owners=st.permutations(OWNERS), count=st.integers(1, 6))
    def release_some(self, owners: list[str], count: int) -> None:
        for owner in owners[:count]:
            self.release(owner)

    @rule(owner=st.sampled_from(OWNERS), address=st.sampled_from(V4[:8]), mac=st.sampled_from(["", *MACS]))
    def ask_for_one(self, owner: str, address: str, mac: str) -> None:
        self.allocate(owner, AddressRequest(("s",), (address,), mac=mac))

    @rule(owners=st.permutations(OWNERS[:-2]))
    def take_over(self, owners: list[str]) -> None:
        """A pod takes the address of a Vip (C.8, point 3); another one that tries as well does not."""
        lease = self.book.lease("vip/v1")
        if lease is not None and (lease.v4 or lease.v6):
            wish = AddressRequest((lease.subnet,), (",".join(filter(None, (lease.v4, lease.v6))),), shares="vip/v1")
            for owner in owners[:2]:
                self.allocate(owner, wish)

    @rule(excludes=EXCLUDES)
    def change_excludes(self, excludes: tuple[str, ...]) -> None:
        facts = self.model.subnet("s").facts
        if facts is not None:
            self.change_subnet(msgspec.structs.replace(facts, exclude_ips=excludes))

    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner: str) -> None:
        assert self.book.release(owner) == self.model.leases().get(owner)
        self.model.release(owner)

    @rule(owner=st.sampled_from(OWNERS), lease=LEASES)
    def found(self, owner: str, lease: Lease) -> None:
        """An object says so, whatever it is: also what somebody else has (a clash, a migration), or outside."""
        if self.model.leases().get(owner) == lease:
            return
        self.book.restore(owner, lease)
        self.model.restore(owner, lease)

    @rule(facts=st.none() | FACTS | FACTS | FACTS)
    def change_subnet(self, facts: SubnetFacts | None) -> None:
        self.book.set_subnet("s", facts)
        self.model.set_subnet("s", facts)

    @rule(name=st.sampled_from(["one", "two"]), subnet=st.sampled_from(["s", "s", "s", "t"]), ranges=RANGES)
    def change_pool(self, name: str, subnet: str, ranges: list[tuple[str, str]]) -> None:
        spans = [(6 if ":" in low else 4, number_of(low), number_of(high)) for low, high in ranges]
        facts = PoolFacts(name, subnet, tuple(sorted(spans)))
        self.book.set_pool(name, facts)
        self.model.set_pool(name, facts)

    @rule(name=st.sampled_from(["one", "two"]))
    def remove_pool(self, name: str) -> None:
        self.book.set_pool(name, None)
        self.model.set_pool(name, None)

    @rule(random=st.randoms(use_true_random=False))
    def restart(self, random: Any) -> None:
        """C.11: from subnets, pools and leases, in any order."""
        model = Model()
        work: list[Any] = [("set_subnet", ("s", self.model.subnet("s").facts)), ("set_subnet", ("t", OTHER))]
        work += [("set_pool", (name, facts)) for name, facts in self.model.pools.items()]
        work += [("restore", entry) for entry in self.model.leases().items()]
        self.book = Ledger()
        random.shuffle(work)
        for verb, arguments in work:
            getattr(self.book, verb)(*arguments)
            getattr(model, verb)(*arguments)
        self.model = model

    @invariant()
    def same_leases(self) -> None:
        assert {owner: self.book.lease(owner) for owner in self.book.owners()} == self.model.leases()

    @invariant()
    def same_figures(self) -> None:
        for name in ("s", "t"):
            usage = self.book.usage(name)
            if self.model.subnet(name).facts is None:
                assert usage is None
                continue
            assert usage is not None
            assert usage.using == self.model.using(name)
            assert (usage.v4_available_range, usage.v4_using_range) == self.model.figures(name, 4)
            assert (usage.v6_available_range, usage.v6_using_range) == self.model.figures(name, 6)
            assert usage.v4_available == counted(usage.v4_available_range)
            assert usage.v6_available == counted(usage.v6_available_range)

    @invariant()
    def same_figures_of_pools(self) -> None:
        for name, facts in self.model.pools.items():
            usage = self.book.pool_usage(name)
            if self.model.subnet(facts.subnet).facts is None:
                assert usage is None
                continue
            assert usage is not None
            assert (usage.v4_available_range, usage.v4_using_range) == self.model.figures(facts.subnet, 4, name)
            assert (usage.v6_available_range, usage.v6_using_range) == self.model.figures(facts.subnet, 6, name)
            for version in ("v4", "v6"):
                assert getattr(usage, f"{version}_using") == counted(getattr(usage, f"{version}_using_range"))


def counted(text: str) -> int:
    """How many addresses a text of ranges lists."""
    spans = [part.split("-") for part in text.split(",") if part]
    return sum(number_of(span[-1]) - number_of(span[0]) + 1 for span in spans)


_USUAL = settings()
Histories.TestCase.settings = settings(
    max_examples=max(150, _USUAL.max_examples), stateful_step_count=max(40, _USUAL.stateful_step_count)
)
"""More of them than usual: each is cheap, and what goes wrong needs a history."""
TestHistories = Histories.TestCase
