"""Resource quantities in the canonical form in which the real server stores them: `1000m` is `1`, `0.5` is `500m`."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal

QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))((?:[KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?$")
DECIMAL = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]


def is_quantity(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float)) or (isinstance(value, str) and QUANTITY.match(value) is not None)


def canonical(value: str | int | float) -> str:
    match = QUANTITY.match(str(value))
    if match is None:
        return str(value)
    number, suffix = Decimal(match.group(1)), match.group(2) or ""
    if suffix in BINARY[1:]:
        whole = number * 1024 ** BINARY.index(suffix)
        if whole == whole.to_integral_value():
            return _scaled(int(whole), BINARY, 1024)
        return _decimal(whole)
    if suffix in DECIMAL:
        return _decimal(number * Decimal(1000) ** (DECIMAL.index(suffix) - 3))
    return str(value)  # an exponent is kept as it was written


def _decimal(number: Decimal) -> str:
    # A list of resources holds nothing smaller than a thousandth; what is, is rounded up.
    milli = int((number * 1000).to_integral_value(rounding=ROUND_UP))
    return _scaled(milli, DECIMAL[2:], 1000)


def _scaled(number: int, suffixes: list[str], base: int) -> str:
    if not number:
        return "0"
    step = 0
    while step < len(suffixes) - 1 and number % base == 0:
        number //= base
        step += 1
    return f"{number}{suffixes[step]}"
