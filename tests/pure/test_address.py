"""Spec H.1, row by row, and what `excludeIps` become (C.2, D.2.0)."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.model import address


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("", ""),
        ("10.0.0.1", "IPv4"),
        ("10.0.0.0/8", "IPv4"),
        ("fd00::1", "IPv6"),
        ("fd00::/64", "IPv6"),
        ("10.0.0.1,fd00::1", "Dual"),
        ("fd00::1,10.0.0.1", "Dual"),
        ("10.0.0.0/8,fd00::/64", "Dual"),
        ("10.0.0.1,10.0.0.2", ""),
        ("fd00::1,fd00::2", ""),
        ("10.0.0.1,fd00::1,10.0.0.2", ""),
        ("10.0.0.1,", ""),
        ("nonsense", ""),
        ("10.0.0.1,nonsense", ""),
    ],
)
def test_protocol(text: str, protocol: str) -> None:
    assert address.protocol(text) == protocol


@pytest.mark.parametrize(
    ("text", "family", "host"),
    [
        ("10.0.0.1", 4, 4),
        ("10.0.0.1/24", 4, None),
        ("fd00::1", 6, 6),
        ("FD00::1/64", 6, None),
        ("::ffff:10.0.0.1", 6, 6),
        ("", None, None),
        ("10.0.0", None, None),
        ("10.0.0.256", None, None),
        ("010.0.0.1", None, None),
        ("10.0.0.1/33", None, None),
        ("10.0.0.1/x", None, None),
        ("10.0.0.1/", None, None),
        (" 10.0.0.1", None, None),
        ("fe80::1%eth0", None, None),
        ("fe80::%1/64", None, None),
        ("1", None, None),
        ("/24", None, None),
    ],
)
def test_family(text: str, family: int | None, host: int | None) -> None:
    assert address.family(text) == family
    assert address.host_family(text) == host


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("10.0.0.1,fd00::1", ("10.0.0.1", "fd00::1")),
        ("fd00::1,10.0.0.1", ("10.0.0.1", "fd00::1")),
        ("fd00::1, 10.0.0.1", ("10.0.0.1", "fd00::1")),
        ("10.0.0.1", ("10.0.0.1", "")),
        ("fd00::/64", ("", "fd00::/64")),
        ("", ("", "")),
        ("nonsense,fd00::1", ("", "fd00::1")),
    ],
)
def test_split(text: str, pair: tuple[str, str]) -> None:
    assert address.split(text) == pair


@pytest.mark.parametrize(
    ("pair", "text"),
    [(("1.1.1.1", "::1"), "1.1.1.1,::1"), (("", "::1"), "::1"), (("1.1.1.1", ""), "1.1.1.1"), (("", ""), "")],
)
def test_join(pair: tuple[str, str], text: str) -> None:
    assert address.join(*pair) == text


@pytest.mark.parametrize(
    ("cidr", "first", "last", "count"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254", 254),
        ("10.0.0.0/30", "10.0.0.1", "10.0.0.2", 2),
        ("10.0.0.0/31", "10.0.0.0", "10.0.0.1", 2),
        ("10.0.0.4/32", "10.0.0.5", "10.0.0.3", 1),
        ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:fffe", 2**64 - 2),
        ("fd00::/126", "fd00::1", "fd00::2", 2),
        ("fd00::/127", "fd00::", "fd00::1", 2),
        ("fd00::4/128", "fd00::5", "fd00::3", 1),
        ("10.0.0.0/8", "10.0.0.1", "10.255.255.254", 2**24 - 2),
    ],
)
def test_first_last_and_count(cidr: str, first: str, last: str, count: int) -> None:
    net = address.network(cidr)
    assert tuple(address.text_of(value, net.version) for value in address.usable(net)) == (first, last)
    assert address.address_count(net) == count


@pytest.mark.parametrize(
    ("cidr", "given_", "gateway"),
    [
        ("10.16.0.0/16", "", "10.16.0.1"),
        ("10.16.0.0/16", "10.16.0.9", "10.16.0.9"),
        ("10.16.0.0/31", "", "10.16.0.0"),
        ("fd00::/64", "", "fd00::1"),
        ("10.16.0.0/16,fd00::/64", "", "10.16.0.1,fd00::1"),
        ("fd00::/64,10.16.0.0/16", "", "fd00::1,10.16.0.1"),
        ("10.16.0.0/16,fd00::/64", "10.16.0.9", "10.16.0.9,fd00::1"),
        ("10.16.0.0/16,fd00::/64", "fd00::9", "10.16.0.1,fd00::9"),
        ("fd00::/64,10.16.0.0/16", "fd00::9", "10.16.0.1,fd00::9"),
        ("10.16.0.0/16,fd00::/64", "fd00::9,10.16.0.9", "fd00::9,10.16.0.9"),
        ("10.16.0.0/16,fd00::/64", "garbage", "garbage"),
        ("10.16.0.0/16,fd00::/64", "10.16.0.9,garbage", "10.16.0.9,garbage"),
    ],
)
def test_default_gateway(cidr: str, given_: str, gateway: str) -> None:
    assert address.default_gateway(cidr, given_) == gateway


@pytest.mark.parametrize(
    ("addresses", "cidr", "masked"),
    [
        ("10.16.0.1", "10.16.0.0/16", "10.16.0.1/16"),
        ("10.16.0.1,fd00::1", "10.16.0.0/16,fd00::/64", "10.16.0.1/16,fd00::1/64"),
        ("10.16.0.1,fd00::1", "fd00::/64,10.16.0.0/16", "10.16.0.1/16,fd00::1/64"),
    ],
)
def test_with_mask(addresses: str, cidr: str, masked: str) -> None:
    assert address.with_mask(addresses, cidr) == masked


@pytest.mark.parametrize(
    ("addresses", "cidr"), [("fd00::1", "10.0.0.0/8"), ("10.0.0.1,fd00::1", "10.0.0.0/8"), ("", "")]
)
def test_with_mask_of_another_stack(addresses: str, cidr: str) -> None:
    with pytest.raises(ValueError, match="no network"):
        address.with_mask(addresses, cidr)


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", True),
        ("10.0.0.0/16", "10.1.0.0/16", False),
        ("10.0.0.0/8", "fd00::/64", False),
        ("10.0.0.0/16,fd00::/64", "10.1.0.0/16,fd00::/96", True),
    ],
)
def test_overlaps(first: str, second: str, result: bool) -> None:
    assert address.overlaps(first, second) is result


@pytest.mark.parametrize(
    ("cidr", "addresses", "result"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "fd00::1", False),
        ("10.0.0.0/8", "10.1.2.3,fd00::1", False),
        ("10.0.0.0/8,fd00::/64", "10.1.2.3,fd00::1", True),
        ("10.0.0.0/8,fd00::/64", "fd00::1", True),
        ("10.0.0.0/8,fd00::/64", "10.1.2.3,fd01::1", False),
        ("10.0.0.0/8", "nonsense", False),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "10.1.2.3/24", False),
        ("fd00::/64", "fd00::1%eth0", False),
    ],
)
def test_contains(cidr: str, addresses: str, result: bool) -> None:
    assert address.contains(cidr, addresses) is result


@pytest.mark.parametrize(
    ("cidr", "items", "ranges"),
    [
        ("10.0.0.0/24", ["10.0.0.5"], [(5, 5)]),
        ("10.0.0.0/24", ["10.0.0.0", "10.0.0.255", "10.0.1.5", "9.255.255.255"], []),
        ("10.0.0.0/24", ["10.0.0.0..10.0.0.3"], [(1, 3)]),
        ("10.0.0.0/24", ["10.0.0.250..10.0.1.7"], [(250, 254)]),
        ("10.0.0.0/24", ["10.0.0.9..10.0.0.3"], []),
        ("10.0.0.0/24", ["10.0.0.3..10.0.0.3"], [(3, 3)]),
        ("10.0.0.0/24", ["fd00::1", "nonsense", "10.0.0.1..", "..10.0.0.1", "10.0.0.0/28", ""], []),
        ("10.0.0.0/24", ["10.0.0.3..fd00::1", "10.0.0.3..x"], []),
        ("10.0.0.0/24", [" 10.0.0.3 .. 10.0.0.4 "], [(3, 4)]),
        ("10.0.0.0/31", ["10.0.0.0"], [(0, 0)]),
        ("10.0.0.0/24", ["9.0.0.1..11.0.0.1"], [(1, 254)]),
    ],
)
def test_exclude_ranges(cidr: str, items: list[str], ranges: list[tuple[int, int]]) -> None:
    net = address.network(cidr)
    base = int(net.network_address)
    assert [(low - base, high - base) for low, high in address.exclude_ranges(items, net)] == ranges


@pytest.mark.parametrize(
    ("items", "gateways", "result"),
    [
        ([], ["10.0.0.1"], ("10.0.0.1",)),
        ([], ["fd00::1", "10.0.0.1"], ("10.0.0.1", "fd00::1")),
        (["10.0.0.5"], ["10.0.0.1"], ("10.0.0.1", "10.0.0.5")),
        (["10.0.0.1..10.0.0.9"], ["10.0.0.1"], ("10.0.0.1..10.0.0.9",)),
        (["10.0.0.5..10.0.0.5"], ["10.0.0.1"], ("10.0.0.1", "10.0.0.5")),
        (["10.0.0.5..10.0.0.9", "10.0.0.7..10.0.0.12", "10.0.0.6"], ["10.0.0.5"], ("10.0.0.5..10.0.0.12",)),
        (["10.0.0.5", "10.0.0.6"], ["10.0.0.5"], ("10.0.0.5", "10.0.0.6")),
        (["10.0.0.20", "10.0.0.3"], ["10.0.0.1"], ("10.0.0.1", "10.0.0.20", "10.0.0.3")),
        (["fd00::5..fd00::9"], ["10.0.0.1", "fd00::1"], ("10.0.0.1", "fd00::1", "fd00::5..fd00::9")),
    ],
)
def test_excludes_as_written_back(items: list[str], gateways: list[str], result: tuple[str, ...]) -> None:
    assert address.normalise_excludes(items, gateways) == result
    assert address.normalise_excludes(result, gateways) == result


@pytest.mark.parametrize(
    "item", ["x", "10.0.0.9..10.0.0.3", "10.0.0.1..", "10.0.0.0/28", "10.0.0.1..fd00::1", "FD00::1", ""]
)
def test_excludes_that_are_refused(item: str) -> None:
    assert item in address.exclude_problem(["10.0.0.1", item])


def test_excludes_that_are_fine() -> None:
    assert address.exclude_problem(["10.0.0.1", "fd00::1..fd00::9", "10.0.0.3..10.0.0.3"]) == ""


@pytest.mark.parametrize(
    ("cidr", "special"),
    [
        ("255.255.255.255/32", "255.255.255.255/32"),
        ("224.0.0.0/8", "224.0.0.0/4"),
        ("127.1.0.0/16", "127.0.0.0/8"),
        ("0.0.0.0/0", "255.255.255.255/32"),
        ("0.1.0.0/16", "0.0.0.0/8"),
        ("169.254.1.0/24", "169.254.0.0/16"),
        ("::/127", "::/128"),
        ("::1/128", "::1/128"),
        ("ff02::/64", "ff00::/8"),
        ("fe80::/64", "fe80::/10"),
        ("10.0.0.0/8", ""),
        ("fd00::/8,10.0.0.0/8", ""),
        ("fd00::/8,127.0.0.0/24", "127.0.0.0/8"),
    ],
)
def test_special_ranges(cidr: str, special: str) -> None:
    assert address.special_range(cidr) == special


@pytest.mark.parametrize(
    ("given_", "normal"), [("10.1.2.3/8", "10.0.0.0/8"), ("FD00::1/64,10.1.2.3/8", "fd00::/64,10.0.0.0/8")]
)
def test_normalise(given_: str, normal: str) -> None:
    assert address.normalise(given_) == normal


@pytest.mark.parametrize("cidr", ["10.0.0.0/33", "x", "fd00::%1/64", "10.0.0/8"])
def test_normalise_refuses(cidr: str) -> None:
    with pytest.raises(ValueError):
        address.normalise(cidr)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("00:11:22:aa:bb:cc", True),
        ("00:11:22:AA:BB:CC", True),
        ("00:11:22:aa:bb", False),
        ("00-11-22-aa-bb-cc", False),
        ("00:11:22:aa:bb:cg", False),
        ("", False),
        ("00:11:22:aa:bb:cc\n", False),
    ],
)
def test_valid_mac(text: str, valid: bool) -> None:
    assert address.valid_mac(text) is valid


@given(st.lists(st.text(max_size=5), max_size=3))
def test_derived_macs(parts: list[str]) -> None:
    mac = address.derived_mac(*parts)
    assert address.valid_mac(mac)
    assert mac == mac.lower() == address.derived_mac(*parts)
    assert int(mac[:2], 16) & 0b11 == 0b10


def test_host_port() -> None:
    assert address.host_port("10.0.0.1", 80) == "10.0.0.1:80"
    assert address.host_port("fd00::1", "80") == "[fd00::1]:80"


def test_canonical() -> None:
    assert address.canonical("FD00:0:0::1") == "fd00::1"
    with pytest.raises(ValueError):
        address.canonical("fd00::1/64")


hostile = st.one_of(
    st.text(max_size=12), st.from_regex(r"[0-9a-f.:,/%]{0,16}", fullmatch=True), st.ip_addresses().map(str)
)


@given(hostile, hostile)
def test_no_input_raises_anything_but_value_errors(one: str, two: str) -> None:
    calls: list[Any] = [
        lambda: address.family(one),
        lambda: address.host_family(one),
        lambda: address.protocol(f"{one},{two}"),
        lambda: address.split(f"{one},{two}"),
        lambda: address.exclude_problem([one, f"{one}..{two}"]),
        lambda: address.exclude_ranges([one, f"{one}..{two}"], address.network("10.0.0.0/8")),
        lambda: address.normalise_excludes([one, f"{one}..{two}"], [two]),
        lambda: address.contains("10.0.0.0/8,fd00::/8", f"{one},{two}"),
        lambda: address.default_gateway("10.0.0.0/8,fd00::/8", one),
        lambda: address.valid_mac(one),
    ]
    for call in calls:
        call()
    for call in (address.normalise, address.networks, address.special_range, address.number_of):
        try:
            call(f"{one}")
        except ValueError:
            pass


@given(st.ip_addresses())
def test_addresses_and_numbers(value: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if getattr(value, "scope_id", None) is None:
        assert address.text_of(address.number_of(str(value)), value.version) == str(value)


OCTETS = st.one_of(
    st.integers(0, 300).map(str), st.sampled_from(["", "00", "01", "+1", "-0", " 1", "1 ", "1_0", "٣", "0x1", "1e1"])
)


@given(st.lists(OCTETS, min_size=1, max_size=6).map(".".join))
def test_ipv4_addresses_are_what_the_standard_library_says(text: str) -> None:
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        assert address.family(text) is None
        with pytest.raises(ValueError, match="address"):
            address.number_of(text)
    else:
        assert address.family(text) == 4
        assert address.number_of(text) == int(expected)
        assert address.text_of(int(expected), 4) == address.canonical(text) == str(expected)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_containment_is_what_the_standard_library_says(base: int, prefix: int, other: int) -> None:
    net = ipaddress.ip_network((base, prefix), strict=False)
    near = int(net.network_address) + other % (2 * net.num_addresses)
    for value in (other, near % 2**32):
        text = str(ipaddress.IPv4Address(value))
        assert address.contains(str(net), text) is (ipaddress.IPv4Address(value) in net)
