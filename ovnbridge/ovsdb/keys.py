"""Natural keys (`model.ovn.TableFacts.key`) of replicated rows, and the UUIDs derived from them.

Used by `replica.py` for every row that comes in: one small function per table, built once.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from ovnbridge.model.ovn import Key, TableFacts

KeyFunction: TypeAlias = Callable[[Mapping[str, Any], Key], Key]
"""(row, natural key of the parent) → natural key."""

NAMESPACE: Final = uuid.UUID("6f766e62-7269-5467-8565-000000000000").bytes
_NUMBERS: Final = frozenset({"tier", "priority", "tag"})
"""Key columns that count as 0, not "", on a server whose schema lacks them."""
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit of a UUID whose upper two bits are 10 (RFC 4122, 4.1.1)."""

_prefixes: dict[tuple[str, str], bytes] = {}


def key_function(facts: TableFacts) -> KeyFunction:
    """How the table's natural keys are made. An empty or missing part is "" (0 for numbers)."""
    parts = [_part(entry) for entry in facts.key]
    if not parts:
        return lambda row, parent: ()
    if len(parts) == 1:
        (only,) = parts
        return only
    return lambda row, parent: tuple([part(row, parent) for part in parts])


def _part(entry: str) -> Callable[[Mapping[str, Any], Key], Any]:
    if entry == "@parent":
        return lambda row, parent: parent
    column, _, subkey = entry.partition(":")
    if subkey:
        return lambda row, parent: row[column].get(subkey, "") if column in row else ""
    default: Any = 0 if column in _NUMBERS else ""

    def value(row: Mapping[str, Any], parent: Key) -> Any:
        found = row.get(column)
        return default if found is None else found

    return value


def key_columns(facts: TableFacts) -> frozenset[str]:
    """Columns whose change may change a row's key."""
    return frozenset(entry.partition(":")[0] for entry in facts.key if entry != "@parent")


def derive(database: str, table: str, key: Key, salt: str = "") -> str:
    """UUID (version 5) that a new row gets: the same for the same key, so that no insert can happen twice."""
    if (prefix := _prefixes.get((database, table))) is None:
        prefix = _prefixes[database, table] = NAMESPACE + f"{database}/{table}/".encode()
    text = hashlib.sha1(prefix + f"{key!r}/{salt}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
