"""The ledger: spec C.2–C.5, C.7 and E.1 by example, and a model test over random histories with crashes."""

from __future__ import annotations

import ipaddress
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ovnbridge.ipam import AddressRequest, Lease, Ledger, PoolFacts, RangeSet, Refusal, SubnetFacts
from ovnbridge.ipam.ledger import CONFLICT, INVALID_FAMILY, NO_ADDRESS, NO_SUBNET, OUT_OF_RANGE, Decision

V4, DUAL = "10.0.0.0/29", "10.0.0.0/29,fd00::/125"


def facts(cidr: str = V4, *excludes: str, gateway: str = "", name: str = "s") -> SubnetFacts:
    first = ",".join(str(ipaddress.ip_network(part)[1]) for part in cidr.split(",")) if cidr else ""
    return SubnetFacts(name, cidr, gateway or first, excludes or tuple(first.split(",")))


def ledger(*subnets: SubnetFacts) -> Ledger:
    made = Ledger()
    for subnet in subnets or (facts(),):
        made.set_subnet(subnet.name, subnet)
    return made


def ask(*addresses: str, subnets: tuple[str, ...] = ("s",), **more: Any) -> AddressRequest:
    return AddressRequest(subnets, addresses, **more)


def lease(decision: Decision) -> Lease:
    assert isinstance(decision, Lease), decision
    return decision


def refusal(decision: Decision) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.reason


# -- order (C.3)


def test_lowest_first_and_freed_ones_only_after_the_walk() -> None:
    book = ledger()
    taken = [lease(book.allocate(f"p{i}", ask())).v4 for i in range(3)]
    assert taken == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    book.release("p0")
    book.release("p1")
    assert lease(book.allocate("p3", ask())).v4 == "10.0.0.5"
    assert lease(book.allocate("p4", ask())).v4 == "10.0.0.6"
    assert lease(book.allocate("p5", ask())).v4 == "10.0.0.2"
    assert lease(book.allocate("p6", ask())).v4 == "10.0.0.3"
    assert refusal(book.allocate("p7", ask())) == NO_ADDRESS


def test_a_lease_that_exists_is_returned_again() -> None:
    book = ledger()
    first = lease(book.allocate("p", ask()))
    assert book.allocate("p", ask()) == first
    assert book.allocate("p", ask(first.v4)) == first
    moved = lease(book.allocate("p", ask("10.0.0.6")))
    assert moved.v4 == "10.0.0.6"
    assert lease(book.allocate("q", ask("10.0.0.2"))).v4 == "10.0.0.2", "the old address is free"
    assert refusal(book.allocate("p", ask("10.0.0.2"))) == CONFLICT
    assert book.lease("p") == moved, "nothing is lost by a refusal"


def test_gateway_and_excludes_are_never_handed_out_but_excludes_may_be_asked_for() -> None:
    book = ledger(facts(V4, "10.0.0.1", "10.0.0.3..10.0.0.4"))
    taken = []
    while isinstance(decision := book.allocate(f"p{len(taken)}", ask()), Lease):
        taken.append(decision.v4)
    assert taken == ["10.0.0.2", "10.0.0.5", "10.0.0.6"]
    assert lease(book.allocate("static", ask("10.0.0.3"))).v4 == "10.0.0.3"
    assert refusal(book.allocate("other", ask("10.0.0.3"))) == CONFLICT
    assert refusal(book.allocate("other", ask("10.0.0.1"))) == CONFLICT
    book.release("static")
    assert refusal(book.allocate("late", ask())) == NO_ADDRESS, "a freed exclude is not free for all"


def test_a_gateway_outside_the_excludes_is_not_handed_out_either() -> None:
    book = ledger(SubnetFacts("s", V4, "10.0.0.4", ()))
    taken = [lease(book.allocate(f"p{i}", ask())).v4 for i in range(5)]
    assert taken == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]
    book.restore("odd", Lease("s", "10.0.0.4"))
    book.release("odd")
    assert refusal(book.allocate("p5", ask())) == NO_ADDRESS


def test_skipped_addresses() -> None:
    book = ledger()
    skip = frozenset({"10.0.0.2", "10.0.0.4", "fd00::9"})
    assert lease(book.allocate("p", ask(skip=skip))).v4 == "10.0.0.3"
    assert lease(book.allocate("q", ask(skip=skip))).v4 == "10.0.0.5"
    assert lease(book.allocate("r", ask())).v4 == "10.0.0.2"
    assert lease(book.allocate("t", ask("10.0.0.4", skip=skip))).v4 == "10.0.0.4", "asked for, not by chance"


def test_addresses_that_one_skips_are_not_lost_to_others() -> None:
    book = ledger()
    for i in range(5):
        book.allocate(f"p{i}", ask())
    book.release("p1")
    book.release("p4")
    skip = frozenset({"10.0.0.3"})
    assert lease(book.allocate("q", ask(skip=skip))).v4 == "10.0.0.6"
    book.release("p3")
    assert lease(book.allocate("r", ask(skip=skip))).v4 == "10.0.0.5", "what is left to walk is all to be skipped"
    assert lease(book.allocate("t", ask())).v4 == "10.0.0.3"


def test_an_address_is_shared_with_one_only() -> None:
    """A pod may have a Vip's address; not while another pod has it (C.8, point 3)."""
    book = ledger()
    book.restore("vip/v", Lease("s", "10.0.0.5", mac="02:00:00:00:00:01"))
    wish = ask("10.0.0.5", shares="vip/v", mac="02:00:00:00:00:01")
    assert lease(book.allocate("p", wish)).v4 == "10.0.0.5"
    assert refusal(book.allocate("q", wish)) == CONFLICT
    book.release("p")
    assert lease(book.allocate("q", wish)).v4 == "10.0.0.5"


# -- static (C.5)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("10.0.0.0", OUT_OF_RANGE),
        ("10.0.0.7", OUT_OF_RANGE),
        ("10.0.1.2", OUT_OF_RANGE),
        ("fd00::2", OUT_OF_RANGE),
        ("10.0.0.1", CONFLICT),
        ("10.0.0.2", CONFLICT),
        ("nonsense", OUT_OF_RANGE),
        ("10.0.0.3/29", OUT_OF_RANGE),
        ("10.0.0.3,nonsense", OUT_OF_RANGE),
        ("fe80::1%eth0", OUT_OF_RANGE),
    ],
)
def test_static_refusals(wanted: str, reason: str) -> None:
    book = ledger()
    book.restore("holder", Lease("s", "10.0.0.2"))
    assert refusal(book.allocate("p", ask(wanted))) == reason
    assert book.lease("p") is None


def test_static_groups_and_subnets_are_tried_in_order() -> None:
    book = ledger(facts(), facts("10.1.0.0/29", name="t"))
    book.restore("holder", Lease("s", "10.0.0.2"))
    assert lease(book.allocate("p", ask("10.0.0.2", "10.0.0.5"))).v4 == "10.0.0.5"
    assert lease(book.allocate("q", ask("10.1.0.3", subnets=("gone", "s", "t")))).subnet == "t"
    assert refusal(book.allocate("r", ask(subnets=("gone",)))) == NO_SUBNET
    assert refusal(book.allocate("r", ask(subnets=()))) == NO_SUBNET


def test_any_spelling_of_an_address() -> None:
    book = ledger(facts("fd00::/125"))
    got = lease(book.allocate("p", ask("FD00:0::5")))
    assert got.v6 == "fd00::5"
    assert book.fits(got, ask("FD00:0:0::5"))
    assert not book.fits(got, ask("fd00::4"))


# -- dual stack


def test_dual_takes_both_or_none() -> None:
    book = ledger(facts(DUAL, "10.0.0.1", "fd00::1", "fd00::3..fd00::6"))
    assert lease(book.allocate("p", ask())) == Lease("s", "10.0.0.2", "fd00::2", lease(book.allocate("p", ask())).mac)
    assert refusal(book.allocate("q", ask())) == NO_ADDRESS
    assert lease(book.allocate("r", ask(family="IPv4"))).v4 == "10.0.0.3", "the v4 address of the refused one is free"


def test_one_static_family_and_the_other_by_chance() -> None:
    book = ledger(facts(DUAL))
    got = lease(book.allocate("p", ask("fd00::5")))
    assert (got.v4, got.v6) == ("10.0.0.2", "fd00::5")
    got = lease(book.allocate("q", ask("fd00::6,10.0.0.5")))
    assert (got.v4, got.v6) == ("10.0.0.5", "fd00::6"), "in any order"


def test_family_requests() -> None:
    book = ledger(facts(DUAL), facts("10.1.0.0/29", name="v4"), facts("", name="mac"))
    six = lease(book.allocate("p", ask(family="IPv6")))
    assert (six.v4, six.v6) == ("", "fd00::2")
    assert refusal(book.allocate("q", ask(family="IPv6", subnets=("v4",)))) == INVALID_FAMILY
    assert refusal(book.allocate("q", ask("10.0.0.3", family="IPv6"))) == OUT_OF_RANGE
    bare = lease(book.allocate("r", ask(subnets=("mac",))))
    assert (bare.v4, bare.v6, bool(bare.mac)) == ("", "", True)


# -- MAC (C.4)


def test_macs_are_unique_local_and_stable() -> None:
    book = ledger(facts("10.0.0.0/20"))
    macs = [lease(book.allocate(f"p{i}", ask())).mac for i in range(2000)]
    assert len(set(macs)) == 2000
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered unicast"
    again = ledger(facts("10.0.0.0/20"))
    assert lease(again.allocate("p7", ask())).mac == macs[7]
    assert lease(ledger().allocate("p", ask(want_mac=False))).mac == ""


def test_static_macs() -> None:
    book = ledger()
    assert lease(book.allocate("p", ask(mac="00:00:00:AA:BB:CC"))).mac == "00:00:00:aa:bb:cc"
    assert refusal(book.allocate("q", ask(mac="00:00:00:aa:bb:CC"))) == CONFLICT
    book.release("p")
    assert lease(book.allocate("q", ask(mac="00:00:00:aa:bb:CC"))).v4 == "10.0.0.3"


def test_a_derived_mac_that_is_taken_is_avoided() -> None:
    wanted = lease(ledger().allocate("p", ask())).mac
    book = ledger()
    book.restore("thief", Lease("s", "10.0.0.5", mac=wanted.upper()))
    assert lease(book.allocate("p", ask())).mac not in ("", wanted)


# -- changing subnets (C.7)


def test_growing_and_shrinking() -> None:
    book = ledger(facts("10.0.0.0/28"))
    for i in range(10):
        book.allocate(f"p{i}", ask())
    high = book.lease("p9")
    assert high is not None
    assert high.v4 == "10.0.0.11"
    book.release("p0")
    book.set_subnet("s", facts(V4))
    assert book.lease("p9") == high, "its holder may still run with it"
    assert not book.fits(high, ask())
    assert book.fits(high, ask(keep=True))
    usage = book.usage("s")
    assert usage is not None
    assert usage.v4_using_range == "10.0.0.3-10.0.0.6"
    assert lease(book.allocate("q", ask())).v4 == "10.0.0.2", "released ones are free again"
    book.set_subnet("s", facts("10.0.0.0/28"))
    taken = [lease(book.allocate(f"r{i}", ask())).v4 for i in range(3)]
    assert taken == ["10.0.0.12", "10.0.0.13", "10.0.0.14"], "what lay outside for a while was never free"


def test_changed_excludes() -> None:
    book = ledger()
    got = lease(book.allocate("p", ask()))
    book.set_subnet("s", facts(V4, "10.0.0.1..10.0.0.5"))
    assert book.fits(got, ask())
    assert lease(book.allocate("q", ask())).v4 == "10.0.0.6"
    assert refusal(book.allocate("r", ask())) == NO_ADDRESS
    book.set_subnet("s", facts())
    assert lease(book.allocate("r", ask())).v4 == "10.0.0.3"


def test_a_change_of_one_family_leaves_the_walk_of_the_other_alone() -> None:
    """Spec C.7: "on CIDR, gateway or excludeIps change of a family … Released cleared"."""
    book = ledger(facts(DUAL))
    assert lease(book.allocate("p0", ask())).v6 == "fd00::2"
    assert lease(book.allocate("p1", ask())).v6 == "fd00::3"
    book.release("p0")
    book.set_subnet("s", facts(DUAL, "10.0.0.1", "fd00::1", "10.0.0.6"))
    got = lease(book.allocate("p2", ask()))
    assert (got.v4, got.v6) == ("10.0.0.2", "fd00::4"), "IPv4 is walked anew, IPv6 goes on"


def test_a_subnet_that_was_unknown_for_a_while_goes_on() -> None:
    book = ledger()
    book.allocate("p0", ask())
    book.allocate("p1", ask())
    book.release("p0")
    book.set_subnet("s", None)
    book.set_subnet("s", facts())
    assert lease(book.allocate("p2", ask())).v4 == "10.0.0.4"


def test_a_pool_goes_on_when_another_one_changes() -> None:
    """Spec C.6: the changed pool and the default one begin anew, no others."""
    book = ledger(facts("10.0.0.0/24"))
    start = int(ipaddress.ip_address("10.0.0.100"))
    book.set_pool("one", PoolFacts("one", "s", ((4, start, start + 9),)))
    for i in range(2):
        book.allocate(f"p{i}", ask(pool="one"))
        book.allocate(f"q{i}", ask())
    book.release("p0")
    book.release("q0")
    book.set_pool("two", PoolFacts("two", "s", ((4, start + 20, start + 29),)))
    assert lease(book.allocate("p2", ask(pool="one"))).v4 == "10.0.0.102"
    assert lease(book.allocate("q2", ask())).v4 == "10.0.0.2"


def test_an_unknown_subnet_keeps_its_leases() -> None:
    book = ledger()
    got = lease(book.allocate("p", ask()))
    book.set_subnet("s", None)
    assert book.lease("p") == got
    assert book.fits(got, ask("10.0.0.6")), "a bad edit takes no addresses away"
    assert book.usage("s") is None
    assert refusal(book.allocate("q", ask())) == NO_SUBNET
    book.restore("late", Lease("s", "10.0.0.3"))
    book.set_subnet("s", facts())
    assert lease(book.allocate("q", ask())).v4 == "10.0.0.4"


# -- clashes


def test_release_frees_only_its_own() -> None:
    book = ledger()
    assert book.restore("one", Lease("s", "10.0.0.2", mac="02:00:00:00:00:01")) is None
    assert book.restore("two", Lease("s", "10.0.0.2", mac="02:00:00:00:00:01")) == "one"
    assert book.restore("three", Lease("s", "10.0.0.2")) == "one"
    for owner in ("two", "one"):
        book.release(owner)
        assert refusal(book.allocate("p", ask("10.0.0.2"))) == CONFLICT, "three still has it"
    book.release("three")
    assert lease(book.allocate("p", ask("10.0.0.2"))).v4 == "10.0.0.2"
    assert book.release("p") is not None
    assert book.release("p") is None


def test_a_clash_outlives_the_subnet() -> None:
    book = ledger()
    book.restore("one", Lease("s", "10.0.0.2"))
    book.restore("two", Lease("s", "10.0.0.2"))
    book.set_subnet("s", facts("10.0.0.0/28"))
    book.release("one")
    assert refusal(book.allocate("p", ask("10.0.0.2"))) == CONFLICT


@pytest.mark.parametrize("text", ["", "x", "10.0.0.2/29", "fe80::1%eth0", "10.0.0.999", "10.0.0.2 ", "fd00::2"])
def test_leases_with_strange_addresses_do_no_harm(text: str) -> None:
    book = ledger()
    book.restore("odd", Lease("s", text, text, text))
    assert lease(book.allocate("p", ask())).v4 == "10.0.0.2"
    book.set_subnet("s", facts("10.0.0.0/28"))
    assert book.release("odd") is not None
    assert book.usage("s") is not None


# -- figures (E.1)


def test_usage() -> None:
    book = ledger(facts("10.0.0.0/28,fd00::/124", "10.0.0.1", "fd00::1", "10.0.0.3..10.0.0.4"))
    for i in range(3):
        book.allocate(f"p{i}", ask())
    book.allocate("static", ask("10.0.0.3"))
    book.allocate("far", ask("10.0.0.9"))
    usage = book.usage("s")
    assert usage is not None
    assert usage.using == 4, "whoever sits on an excluded address does not count"
    assert usage.v4_using_range == "10.0.0.2,10.0.0.5-10.0.0.6,10.0.0.9"
    assert usage.v4_available_range == "10.0.0.7-10.0.0.8,10.0.0.10-10.0.0.14"
    assert usage.v4_available == 7
    assert usage.v6_using_range == "fd00::2-fd00::6"
    assert usage.v6_available_range == "fd00::7-fd00::e"
    assert usage.v6_available == 8
    book.release("p0")
    usage = book.usage("s")
    assert usage is not None
    assert (usage.using, usage.v4_available, usage.v4_available_range[:9]) == (3, 8, "10.0.0.2,")


# -- cost


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "fd00::/64", "10.0.0.0/8,fd00::/64"])
def test_the_size_of_a_subnet_costs_nothing(cidr: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Counter[str]()
    for name in ("first", "discard_range", "add_range"):
        method = getattr(RangeSet, name)

        def counting(self: RangeSet, *args: Any, _name: str = name, _method: Any = method) -> Any:
            steps[_name] += 1 + len(list(self.ranges()))
            return _method(self, *args)

        monkeypatch.setattr(RangeSet, name, counting)
    book = ledger(facts(cidr))
    for i in range(200):
        book.allocate(f"p{i}", ask())
    usage = book.usage("s")
    assert usage is not None
    assert usage.using == 200
    assert sum(steps.values()) < 200 * 12 * len(cidr.split(","))


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_per_lease(count: int) -> None:
    owners = [f"pod-{i}.namespace" for i in range(count)]
    book = ledger(facts("10.0.0.0/8"))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for owner in owners:
        book.allocate(owner, ask())
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / count < 1024 * 0.9


# -- random histories


OWNERS = tuple(f"p{i}" for i in range(8))
FACTS = (
    facts(),
    facts("10.0.0.0/28"),
    facts(DUAL),
    facts(V4, "10.0.0.1", "10.0.0.3..10.0.0.5"),
    facts("fd00::/125"),
    None,
)
REQUESTS = st.builds(
    ask,
    family=st.sampled_from(["", "", "IPv4", "IPv6"]),
    mac=st.sampled_from(["", "", "02:00:00:00:00:aa"]),
    skip=st.sampled_from([frozenset(), frozenset({"10.0.0.2"})]),
) | st.builds(ask, st.sampled_from(["10.0.0.3", "10.0.0.4,fd00::4", "fd00::5", "10.0.0.12", "x"]))


class History(RuleBasedStateMachine):
    """`leases` is what IP objects say: the truth that survives a crash."""

    owners = Bundle("owners")

    def __init__(self) -> None:
        super().__init__()
        self.facts: SubnetFacts | None = facts()
        self.book = ledger()
        self.leases: dict[str, Lease] = {}

    @rule(target=owners, owner=st.sampled_from(OWNERS), request=REQUESTS)
    def allocate(self, owner: str, request: AddressRequest) -> str:
        decision = self.book.allocate(owner, request)
        if isinstance(decision, Lease):
            self.leases[owner] = decision
        else:
            assert self.book.lease(owner) == self.leases.get(owner)
        return owner

    @rule(owner=consumes(owners))
    def release(self, owner: str) -> None:
        assert self.book.release(owner) == self.leases.pop(owner, None)

    @rule(changed=st.sampled_from(FACTS))
    def change(self, changed: SubnetFacts | None) -> None:
        self.facts = changed
        self.book.set_subnet("s", changed)

    @rule(late=st.booleans(), random=st.randoms(use_true_random=False))
    def restart(self, late: bool, random: Any) -> None:
        self.book = Ledger()
        if not late:
            self.book.set_subnet("s", self.facts)
        order = list(self.leases.items())
        random.shuffle(order)
        for owner, held in order:
            assert self.book.restore(owner, held) is None
        if late:
            self.book.set_subnet("s", self.facts)

    @invariant()
    def no_address_twice(self) -> None:
        texts = [text for held in self.leases.values() for text in (held.v4, held.v6, held.mac) if text]
        assert len(texts) == len(set(texts))
        assert {owner: self.book.lease(owner) for owner in self.book.owners()} == self.leases

    @invariant()
    def no_leak(self) -> None:
        """Free and used addresses are all there are."""
        usage = self.book.usage("s")
        if self.facts is None:
            assert usage is None
            return
        assert usage is not None
        for part in self.facts.cidr_block.split(","):
            net = ipaddress.ip_network(part)
            held = {t for lease_ in self.leases.values() for t in (lease_.v4, lease_.v6)}
            excluded = expanded(self.facts.exclude_ips)
            usable = {str(address) for address in list(net)[1:-1]} - excluded
            free = usage.v4_available if net.version == 4 else usage.v6_available
            assert free == len(usable - held)


def expanded(items: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for item in items:
        low, _, high = item.partition("..")
        first, last = ipaddress.ip_address(low), ipaddress.ip_address(high or low)
        found |= {str(first + i) for i in range(int(last) - int(first) + 1)}
    return found


TestHistory = History.TestCase


@given(st.lists(st.sampled_from(OWNERS), min_size=1, max_size=30))
def test_a_full_subnet_is_used_to_the_last_address(churn: list[str]) -> None:
    book = ledger()
    for owner in churn:
        if book.lease(owner) is None:
            book.allocate(owner, ask())
        else:
            book.release(owner)
    for owner in list(book.owners()):
        book.release(owner)
    assert all(isinstance(book.allocate(f"q{i}", ask()), Lease) for i in range(5))
    assert refusal(book.allocate("q5", ask())) == NO_ADDRESS
