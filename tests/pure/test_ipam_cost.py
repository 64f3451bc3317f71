"""What an allocation costs in steps (executed lines, not time), and what a lease costs in memory."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from ovnbridge.ipam import AddressRequest, Lease, Ledger, PoolFacts, SubnetFacts
from ovnbridge.model.address import number_of, text_of

V8, V64 = ("10.0.0.0/8", "10.0.0.1"), ("fd00::/64", "fd00::1")


def steps(work: Callable[[], object]) -> int:
    """Lines executed in the address management by `work`."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "/ovnbridge/ipam/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def crowded(cidr: str, gateway: str, leases: int) -> Ledger:
    """A subnet with that many leases scattered at random, so that the free addresses are in as many ranges."""
    ledger = Ledger()
    ledger.set_subnet("s", SubnetFacts("s", cidr, gateway, (gateway,)))
    version, base = (6 if ":" in cidr else 4), number_of(gateway)
    chance = random.Random(7)
    for number, offset in enumerate(chance.sample(range(1, 1 << 23), leases)):
        text = text_of(base + 2 * offset, version)
        ledger.restore(f"p{number}", Lease("s", *(("", text) if version == 6 else (text, "")), f"m{number}"))
    return ledger


@pytest.mark.parametrize("where", [V8, V64], ids=["/8", "/64"])
def test_steps_do_not_grow_with_the_leases(where: tuple[str, str]) -> None:
    few, many = crowded(*where, 100), crowded(*where, 20_000)
    version, base = (6 if ":" in where[0] else 4), number_of(where[1])
    works: list[Callable[[Ledger], object]] = [
        lambda ledger: ledger.allocate("new", AddressRequest(subnets=("s",))),
        lambda ledger: ledger.allocate(
            "static", AddressRequest(subnets=("s",), addresses=(text_of(base + 12345, version),))
        ),
        lambda ledger: ledger.allocate("taken", AddressRequest(subnets=("s",), mac="m5")),
        lambda ledger: ledger.release("p50"),
        lambda ledger: ledger.release("new"),
    ]
    for number, work in enumerate(works):
        small, large = steps(lambda work=work: work(few)), steps(lambda work=work: work(many))  # type: ignore[misc]
        assert large <= small + 10, (number, small, large)
        assert large < 200, number


def test_steps_do_not_grow_with_the_size_of_the_subnet_or_its_pools() -> None:
    figures = []
    for prefix in (24, 16, 8):
        ledger = Ledger()
        ledger.set_subnet("s", SubnetFacts("s", f"10.0.0.0/{prefix}", "10.0.0.1", ("10.0.0.1",)))
        start = number_of("10.0.0.100")
        for number in range(50):
            ledger.set_pool(f"p{number}", PoolFacts(f"p{number}", "s", ((4, start + number, start + number),)))
        figures.append(steps(lambda at=ledger: at.allocate("a", AddressRequest(subnets=("s",)))))  # type: ignore[misc]
        figures.append(steps(lambda at=ledger: at.allocate("b", AddressRequest(subnets=("s",), pool="p7"))))  # type: ignore[misc]
    assert max(figures) - min(figures) <= 10, figures


def in_a_row(cidr: str, gateway: str, leases: int) -> Ledger:
    """A subnet with that many leases one behind the other, as they are given, and a pool."""
    ledger = Ledger()
    ledger.set_subnet("s", SubnetFacts("s", cidr, gateway, (gateway,)))
    version, base = (6 if ":" in cidr else 4), number_of(gateway)
    for number in range(leases):
        text = text_of(base + 1 + number, version)
        ledger.restore(f"p{number}", Lease("s", *(("", text) if version == 6 else (text, "")), f"m{number}"))
    ledger.set_pool("far", PoolFacts("far", "s", ((version, base + (1 << 20), base + (1 << 20) + 99),)))
    return ledger


@pytest.mark.parametrize("where", [V8, V64], ids=["/8", "/64"])
def test_changes_of_subnets_and_pools_cost_ranges_not_leases(where: tuple[str, str]) -> None:
    """With 100k leases in a /8 they took seconds when every lease was looked at again."""
    few, many = in_a_row(*where, 100), in_a_row(*where, 20_000)
    cidr, gateway = where
    version, base = (6 if ":" in cidr else 4), number_of(gateway)
    near = ((version, base + 10, base + 19), (version, base + (1 << 19), base + (1 << 19) + 9))
    free = f"{text_of(base + (1 << 18), version)}..{text_of(base + (1 << 18) + 9, version)}"
    narrower = cidr.replace("/8", "/9").replace("/64", "/65")
    works: list[Callable[[Ledger], object]] = [
        lambda ledger: ledger.set_subnet("s", SubnetFacts("s", cidr, gateway, (gateway, free))),
        lambda ledger: ledger.set_subnet("s", SubnetFacts("s", narrower, gateway, (gateway,))),
        lambda ledger: ledger.set_subnet("s", None),
        lambda ledger: ledger.set_subnet("s", SubnetFacts("s", cidr, gateway, (gateway, text_of(base + 5, version)))),
        lambda ledger: ledger.set_pool("near", PoolFacts("near", "s", near)),
        lambda ledger: ledger.allocate("pooled", AddressRequest(subnets=("s",), pool="far")),
        lambda ledger: ledger.usage("s"),
        lambda ledger: ledger.pool_usage("near"),
        lambda ledger: ledger.set_pool("far", PoolFacts("far", "s", ((version, base + 30, base + 39),))),
        lambda ledger: ledger.set_pool("near", None),
    ]
    for number, work in enumerate(works):
        small, large = steps(lambda work=work: work(few)), steps(lambda work=work: work(many))  # type: ignore[misc]
        assert large <= small + 20, (number, small, large)
        assert large < 700, number


def test_excluding_used_addresses_costs_as_many_steps_as_are_used_there() -> None:
    excluding, figures = SubnetFacts("s", *V8, (V8[1], "10.0.0.10..10.0.0.29")), []
    for leases in (100, 20_000):
        ledger = in_a_row(*V8, leases)
        figures.append(steps(lambda at=ledger: at.set_subnet("s", excluding)))  # type: ignore[misc]
        usage = ledger.usage("s")
        assert usage is not None
        assert usage.using == leases - 20
    assert figures[1] <= figures[0] + 20, figures


@pytest.mark.parametrize("where", [V8, V64], ids=["/8", "/64"])
def test_the_texts_of_scattered_addresses_are_bounded(where: tuple[str, str]) -> None:
    """Of many thousands of ranges the first ones: an object of more than 1.5 MiB could not be written at all."""
    ledger = Ledger()
    ledger.set_subnet("s", SubnetFacts("s", *where, (where[1],)))
    version, base = (6 if ":" in where[0] else 4), number_of(where[1])
    for number in range(20_000):
        text = text_of(base + 1 + 2 * number, version)
        ledger.restore(f"p{number}", Lease("s", *(("", text) if version == 6 else (text, ""))))
    usage = ledger.usage("s")
    assert usage is not None
    texts = (usage.v4_available_range, usage.v4_using_range, usage.v6_available_range, usage.v6_using_range)
    assert sum(map(len, texts)) < (1 << 20)
    written = texts[2 * (version == 6) + 1].split(",")
    assert written[:2] == [text_of(base + 1, version), text_of(base + 3, version)]
    assert (len(written), written[-1]) == (4097, "...")
    free = {4: usage.v4_available, 6: usage.v6_available}[version]
    assert free == (2**24 if version == 4 else 2**64) - 2 - 1 - 20_000, "counts are exact"
    assert steps(lambda: ledger.usage("s")) < 30 * 4096


def test_a_lease_takes_less_than_a_kibibyte() -> None:
    count = 20_000
    ledger = Ledger()
    ledger.set_subnet("s", SubnetFacts("s", "10.0.0.0/8,fd00::/64", "10.0.0.1,fd00::1", ("10.0.0.1", "fd00::1")))
    tracemalloc.start()
    try:
        for number in range(count):
            assert isinstance(ledger.allocate(f"web-{number}.namespace", AddressRequest(subnets=("s",))), Lease)
        each = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
    assert each <= 1024, each
    print(f"bytes a dual-stack lease in the ledger, its name and addresses included: {each:.0f}")
