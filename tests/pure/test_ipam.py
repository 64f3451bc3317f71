"""Address management against simple models: no address twice, nothing leaks, the order of spec part C."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ovnbridge.ipam import AddressRequest, Lease, Ledger, RangeSet, Refusal, SubnetFacts

values = st.integers(0, 60)
ranges = st.tuples(values, values).map(lambda pair: (min(pair), max(pair)))
steps = st.lists(st.tuples(st.sampled_from(["add", "discard"]), ranges), max_size=30)


@given(steps, steps)
def test_range_set_is_a_set(
    first: list[tuple[str, tuple[int, int]]], second: list[tuple[str, tuple[int, int]]]
) -> None:
    built: list[tuple[RangeSet, set[int]]] = []
    for script in (first, second):
        ours, model = RangeSet(), set[int]()
        for action, (low, high) in script:
            if action == "add":
                ours.add_range(low, high)
                model |= set(range(low, high + 1))
            else:
                ours.discard_range(low, high)
                model -= set(range(low, high + 1))
        assert {v for low, high in ours.ranges() for v in range(low, high + 1)} == model
        assert ours.count() == len(model)
        assert ours.first() == (min(model) if model else None)
        spans = list(ours.ranges())
        assert all(high + 1 < low for (_, high), (low, _) in pairwise(spans)), "disjoint, merged"
        built.append((ours, model))
    (a, model_a), (b, model_b) = built
    for ours, model in ((a - b, model_a - model_b), (a & b, model_a & model_b), (a | b, model_a | model_b)):
        assert {v for low, high in ours.ranges() for v in range(low, high + 1)} == model


def ledger(cidr: str = "10.0.0.0/29", gateway: str = "10.0.0.1", exclude: tuple[str, ...] = ()) -> Ledger:
    made = Ledger()
    made.set_subnet("s", SubnetFacts("s", cidr, gateway, exclude))
    return made


def request(*addresses: str, **more: object) -> AddressRequest:
    return AddressRequest(subnets=("s",), addresses=addresses, **more)  # type: ignore[arg-type]


def taken(answer: object) -> Lease:
    assert isinstance(answer, Lease), answer
    return answer


def refused(answer: object) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.reason


def test_walks_forward_and_reuses_only_after_the_whole_range() -> None:
    """Spec C.3: a freed address is handed out again only after the range has been walked once."""
    book = ledger()  # usable .1 to .6, gateway .1
    assert [taken(book.allocate(o, request())).v4 for o in "abc"] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    book.release("a")
    assert [taken(book.allocate(o, request())).v4 for o in "de"] == ["10.0.0.5", "10.0.0.6"]
    assert taken(book.allocate("f", request())).v4 == "10.0.0.2"
    assert refused(book.allocate("g", request())) == "NoAvailableAddress"


def test_static_addresses() -> None:
    """Spec C.5."""
    book = ledger(exclude=("10.0.0.3",))
    assert taken(book.allocate("a", request("10.0.0.3"))).v4 == "10.0.0.3", "excluded ones may be asked for"
    assert refused(book.allocate("b", request("10.0.0.3"))) == "AddressConflict"
    assert refused(book.allocate("b", request("10.0.0.1"))) == "AddressConflict", "the gateway"
    assert refused(book.allocate("b", request("10.9.0.1"))) == "AddressOutOfRange"
    assert refused(book.allocate("b", request("fd00::1"))) == "AddressOutOfRange"
    assert taken(book.allocate("b", request("10.0.0.3", "10.0.0.5"))).v4 == "10.0.0.5", "the first that is free"
    assert [taken(book.allocate(o, request())).v4 for o in "cde"] == ["10.0.0.2", "10.0.0.4", "10.0.0.6"]


def test_dual_stack_and_single_family() -> None:
    book = ledger("10.0.0.0/29,fd00::/125", "10.0.0.1,fd00::1")
    lease = taken(book.allocate("a", request()))
    assert (lease.v4, lease.v6) == ("10.0.0.2", "fd00::2")
    six = taken(book.allocate("b", request(family="IPv6")))
    assert (six.v4, six.v6) == ("", "fd00::3")
    mixed = taken(book.allocate("c", request("10.0.0.5")))
    assert (mixed.v4, mixed.v6) == ("10.0.0.5", "fd00::4"), "the other family comes from the range"
    assert refused(ledger().allocate("a", request(family="IPv6"))) == "InvalidIPFamily"


def test_a_refusal_takes_nothing() -> None:
    book = ledger("10.0.0.0/24,fd00::/126", "10.0.0.1,fd00::1")
    assert taken(book.allocate("a", request())).v6 == "fd00::2"
    assert refused(book.allocate("b", request())) == "NoAvailableAddress", "no IPv6 address is left"
    assert taken(book.allocate("c", request(family="IPv4"))).v4 == "10.0.0.3", "b's IPv4 address was not kept"


def test_node_addresses_are_skipped_but_can_be_asked_for() -> None:
    """Spec E.14 first point."""
    book = ledger()
    skip = frozenset({"10.0.0.2", "10.0.0.3"})
    assert taken(book.allocate("a", request(skip=skip))).v4 == "10.0.0.4"
    assert taken(book.allocate("b", request("10.0.0.2", skip=skip))).v4 == "10.0.0.2"


def test_macs_are_unique_local_and_stable() -> None:
    book, again = ledger("10.0.0.0/16"), ledger("10.0.0.0/16")
    macs = [taken(book.allocate(f"o{n}", request())).mac for n in range(500)]
    assert len(set(macs)) == 500
    assert all(int(mac[:2], 16) & 0x03 == 0x02 for mac in macs), "locally administered unicast (spec C.4)"
    assert taken(again.allocate("o0", request())).mac == macs[0]
    assert refused(book.allocate("x", request(mac=macs[3]))) == "AddressConflict"
    assert taken(book.allocate("y", request(mac="02:00:00:00:00:01"))).mac == "02:00:00:00:00:01"
    assert taken(book.allocate("z", request(want_mac=False))).mac == ""


def test_a_changed_subnet_keeps_its_leases() -> None:
    """Spec C.7."""
    book = ledger()
    first = taken(book.allocate("a", request()))
    book.set_subnet("s", SubnetFacts("s", "10.0.0.0/24", "10.0.0.1", ("10.0.0.3..10.0.0.9",)))
    assert book.lease("a") == first
    assert taken(book.allocate("b", request())).v4 == "10.0.0.10"
    book.set_subnet("s", None)
    assert book.fits(first, request()), "an invalid or absent subnet takes no addresses away"


def test_large_ranges_cost_nothing() -> None:
    book = ledger("10.0.0.0/8,fd00::/64", "10.0.0.1,fd00::1")
    for number in range(2000):
        taken(book.allocate(f"o{number}", request()))
    usage = book.usage("s")
    assert usage is not None
    assert usage.v4_available == 2**24 - 2 - 1 - 2000
    assert usage.v6_available == 2**64 - 2 - 1 - 2000
    assert usage.v4_using_range == "10.0.0.2-10.0.7.209"


OWNERS = st.sampled_from([f"o{n}" for n in range(12)])


class LedgerMachine(RuleBasedStateMachine):
    """Random use, with crashes after which only the written leases (the IP objects) are left."""

    @initialize()
    def begin(self) -> None:
        self.book = ledger()
        self.written: dict[str, Lease] = {}

    @rule(owner=OWNERS, static=st.sampled_from(["", "", "10.0.0.4", "10.0.0.1", "10.0.0.9"]))
    def allocate(self, owner: str, static: str) -> None:
        if owner in self.written:
            return
        answer = self.book.allocate(owner, request(*([static] if static else [])))
        if isinstance(answer, Lease):
            self.written[owner] = answer
        elif not static:
            assert len(self.written) == 5, "refused only when all of .2 to .6 are taken"

    @rule(owner=OWNERS)
    def release(self, owner: str) -> None:
        assert self.book.release(owner) == self.written.pop(owner, None)

    @rule()
    def crash(self) -> None:
        self.book = ledger()
        for owner, lease in self.written.items():
            assert self.book.restore(owner, lease) is None

    @rule(owner=OWNERS)
    def crash_before_the_lease_is_written(self, owner: str) -> None:
        if owner not in self.written:
            self.book.allocate(owner, request())
            self.crash()

    @invariant()
    def no_address_twice_and_none_lost(self) -> None:
        if not hasattr(self, "book"):
            return
        addresses = [lease.v4 for lease in self.written.values()]
        assert len(addresses) == len(set(addresses))
        usage = self.book.usage("s")
        assert usage is not None
        assert usage.v4_available == 5 - len(addresses)
        assert usage.using == len(addresses)


TestLedger = LedgerMachine.TestCase


def test_a_clash_of_two_leases_is_told_and_frees_nothing_of_the_other() -> None:
    book = ledger()
    assert book.restore("a", Lease("s", "10.0.0.2", "", "02:00:00:00:00:01")) is None
    assert book.restore("b", Lease("s", "10.0.0.2", "", "02:00:00:00:00:02")) == "a"
    book.release("b")
    assert refused(book.allocate("c", request("10.0.0.2"))) == "AddressConflict"
