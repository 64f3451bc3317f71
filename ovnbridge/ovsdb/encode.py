"""Python values ↔ OVSDB JSON (RFC 7047, 5.1), decided by the column's type.

In Python: str, int, float, bool; a UUID is its str; None is an empty optional column; sets are sets, maps are dicts.
`decoder()` and `encoder()` build one small function per column, since these run for every column of every row.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ovnbridge.model.ovn import Ref
from ovnbridge.ovsdb.schema import EMPTY_SET, Column, Kind

Decoder: TypeAlias = Callable[[Any], Any]
Resolver: TypeAlias = Callable[[Ref], str | None]
Encoder: TypeAlias = Callable[[Any, Resolver], Any]


def _uuid(wire: Any) -> str:
    return wire[1]  # type: ignore[no-any-return]


def _key(wire: str) -> str:
    return sys.intern(wire)


_ATOMS: Mapping[str | None, Decoder | None] = {
    "string": None,
    "integer": None,
    "boolean": None,
    "real": float,
    "uuid": _uuid,
}


def is_set(wire: Any) -> bool:
    """Whether the wire value is the ["set", …] form."""
    return wire.__class__ is list and wire[0] == "set"


def atoms(wire: Any, atom: Decoder | None) -> Iterable[Any]:
    """The elements of a wire set, which may be a lone atom."""
    elements = wire[1] if is_set(wire) else (wire,)
    return map(atom, elements) if atom else elements


def atom_decoder(column: Column) -> Decoder | None:
    """Decoder of the column's elements; None: they are as on the wire."""
    return _ATOMS[column.key]


def decoder(column: Column) -> Decoder | None:
    """Decoder of the column's whole values; None: they are as on the wire."""
    atom = _ATOMS[column.key]
    match column.kind:
        case Kind.SCALAR:
            return atom
        case Kind.OPTIONAL:

            def optional(wire: Any) -> Any:
                if is_set(wire):
                    if not wire[1]:
                        return None
                    wire = wire[1][0]
                return atom(wire) if atom else wire

            return optional
        case Kind.SET:

            def elements(wire: Any) -> Any:
                return set(atoms(wire, atom)) or EMPTY_SET

            def plain(wire: Any) -> Any:  # the same where no atom is a list
                return (set(wire[1]) or EMPTY_SET) if wire.__class__ is list else {wire}

            return elements if atom else plain
        case Kind.MAP:
            return map_decoder(column)


def map_decoder(column: Column) -> Decoder:
    """Decoder of ["map", …]. String keys are interned: the same few dozen words recur in every row."""
    key = _key if column.key == "string" else _ATOMS[column.key]
    value = _ATOMS[column.value]
    if key is _key and value is None:
        intern = sys.intern
        return lambda wire: {intern(k): v for k, v in wire[1]}
    return lambda wire: {key(k) if key else k: value(v) if value else v for k, v in wire[1]}


class MissingReference(Exception):
    """A mandatory reference to a row that does not exist yet."""

    def __init__(self, target: Ref) -> None:
        super().__init__(f"{target.table} {target.key} does not exist")
        self.target = target


def encoder(column: Column) -> Encoder | None:
    """Encoder of the column's whole values; None: they are as in Python.

    References that the resolver does not know are left out of sets, maps and optional columns; in a mandatory one they
    raise MissingReference.
    """
    if column.kind is Kind.MAP:
        if "uuid" in (column.key, column.value):
            return lambda value, resolve: ["map", _uuid_pairs(column, value, resolve)]
        return lambda value, resolve: ["map", list(value.items())]
    if column.key == "uuid":
        if column.kind is Kind.SCALAR:
            return lambda value, resolve: encode_uuid(value, resolve)
        if column.kind is Kind.OPTIONAL:
            return lambda value, resolve: encode_uuids(() if value is None else (value,), resolve)
        return encode_uuids
    if column.kind is Kind.SCALAR:
        return None
    if column.kind is Kind.OPTIONAL:
        return lambda value, resolve: ["set", []] if value is None else value
    return lambda value, resolve: next(iter(value)) if len(value) == 1 else ["set", list(value)]


def encode_uuid(value: Any, resolve: Resolver) -> list[Any]:
    """["uuid", …] of a Ref or a uuid string."""
    if isinstance(value, Ref):
        uuid = resolve(value)
        if uuid is None:
            raise MissingReference(value)
        return ["uuid", uuid]
    return ["uuid", value]


def encode_uuids(values: Iterable[Any], resolve: Resolver) -> list[Any]:
    """["set", [["uuid", …], …]] of those that exist."""
    found = (resolve(value) if isinstance(value, Ref) else value for value in values)
    return ["set", [["uuid", uuid] for uuid in found if uuid is not None]]


def _uuid_pairs(column: Column, value: Mapping[Any, Any], resolve: Resolver) -> list[Any]:
    def atom(kind: str | None, item: Any) -> Any:
        return encode_uuid(item, resolve) if kind == "uuid" else item

    return [[atom(column.key, k), atom(column.value, v)] for k, v in value.items()]
