"""What the CEL rules of several kinds are made of: expressions for addresses, and the limits that bound a rule's cost.

The API server estimates what a rule costs on the largest object that the schema allows, and refuses a CRD with a rule
that could be slow. So a text that rules look into has a greatest length, and a list whose items have rules a greatest
size, both beyond anything that means something. The library of addresses is in Kubernetes since 1.31.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ovnbridge.model.crd.base import Rule

ADDRESS_LENGTH: Final = 49
"""Longest text of an address or CIDR: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128`."""
PAIR_LENGTH: Final = 2 * ADDRESS_LENGTH + 1
"""Longest text of two of them, `v4,v6` or `first..last`."""
MANY: Final = 16384
"""Most items of a list whose items have rules: half of what the API server would allow for the dearest of them."""

LOWER_CASE: Final = Rule("self == self.lowerAscii()", "must be in lower case")


def said(field: str) -> str:
    """Whether a text of this object is there and not empty."""
    return f"(has(self.{field}) && self.{field} != '')"


def on(field: str) -> str:
    """Whether a switch of this object is there and on."""
    return f"(has(self.{field}) && self.{field})"


def address_or_cidr(text: str) -> str:
    """Whether an expression's text is an address or a CIDR."""
    return f"(isIP({text}) || isCIDR({text}))"


def within(address: str, cidrs: str) -> str:
    """Whether an expression's text is an address that one of the CIDRs in a comma separated text holds."""
    return f"isIP({address}) && {cidrs}.split(',').exists(c, isCIDR(c) && cidr(c).containsIP({address}))"


def holds(field: str, container: str) -> str:
    """Whether each address in a comma separated text of this object is in the CIDRs of another one, if there are
    both."""
    each = within("a", f"self.{container}")
    return f"!{said(field)} || !{said(container)} || self.{field}.split(',').all(a, {each})"


def one_or_two(text: str, check: Callable[[str], str], separator: str = ",") -> str:
    """Whether `check` holds for an expression's text, or for both parts of it (which costs less than `split`)."""
    at = f"{text}.indexOf('{separator}')"
    first, second = f"{text}.substring(0, {at})", f"{text}.substring({at} + {len(separator)})"
    return f"({text}.contains('{separator}') ? {check(first)} && {check(second)} : {check(text)})"


def is_address(text: str) -> str:
    """Whether an expression's text is an address."""
    return f"isIP({text})"


def is_cidr(text: str) -> str:
    """Whether an expression's text is a CIDR."""
    return f"isCIDR({text})"


ADDRESS: Final = Rule("isIP(self)", "must be an address")
CIDR: Final = Rule("isCIDR(self)", "must be a CIDR")
ADDRESS_OR_CIDR: Final = Rule(address_or_cidr("self"), "must be a CIDR or an address")
V4_ADDRESS: Final = Rule("self == '' || (isIP(self) && ip(self).family() == 4)", "must be an IPv4 address")
V6_ADDRESS: Final = Rule("self == '' || (isIP(self) && ip(self).family() == 6)", "must be an IPv6 address")
RANGE: Final = one_or_two("self", is_address, "..")
"""An address, or a range `first..last`."""
