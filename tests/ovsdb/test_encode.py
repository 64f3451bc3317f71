"""Values on the wire, from the text of RFC 7047 (5.1, 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.model.ovn import NORTHBOUND, OPEN_VSWITCH, Ref
from ovnbridge.ovsdb.encode import MissingReference, decoder, encoder
from ovnbridge.ovsdb.fence import KEY, Fence
from ovnbridge.ovsdb.keys import derive, key_function
from ovnbridge.ovsdb.schema import Column, DatabaseSchema, Kind

U = "550e8400-e29b-41d4-a716-446655440000"
V = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def column(spec: Any) -> Column:
    schema = DatabaseSchema.from_json({"name": "D", "tables": {"T": {"columns": {"c": {"type": spec}}}}})
    return schema.column("T", "c")


OPTIONAL_INT = {"key": "integer", "min": 0}
STRINGS = {"key": "string", "min": 0, "max": "unlimited"}
REFS = {"key": {"type": "uuid", "refTable": "T"}, "min": 0, "max": "unlimited"}
MAP = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}


@pytest.mark.parametrize(
    ("spec", "wire", "value"),
    [
        ("string", "a", "a"),
        ("integer", 3, 3),
        ("real", 3, 3.0),
        ("boolean", True, True),
        ("uuid", ["uuid", U], U),
        (OPTIONAL_INT, ["set", []], None),
        (OPTIONAL_INT, ["set", [4]], 4),
        (OPTIONAL_INT, 4, 4),
        ({"key": "uuid", "min": 0}, ["set", [["uuid", U]]], U),
        ({"key": "uuid", "min": 0}, ["uuid", U], U),
        (STRINGS, "one", {"one"}),
        (STRINGS, ["set", ["one"]], {"one"}),
        (STRINGS, ["set", []], set()),
        (STRINGS, ["set", ["set", "b"]], {"set", "b"}),
        (REFS, ["uuid", U], {U}),
        (REFS, ["set", [["uuid", U], ["uuid", V]]], {U, V}),
        (MAP, ["map", [["k", "v"], ["", ""]]], {"k": "v", "": ""}),
        ({**MAP, "value": "uuid"}, ["map", [["k", ["uuid", U]]]], {"k": U}),
        ({**MAP, "key": "integer", "value": "real"}, ["map", [[1, 2]]], {1: 2.0}),
    ],
)
def test_decoding(spec: Any, wire: Any, value: Any) -> None:
    decode = decoder(column(spec))
    found = decode(wire) if decode else wire
    assert found == value
    assert type(found) is type(value) or isinstance(found, set | frozenset)


@pytest.mark.parametrize(
    ("spec", "value", "wire"),
    [
        ("string", "a", "a"),
        ("uuid", U, ["uuid", U]),
        ("uuid", Ref("T", "known"), ["uuid", V]),
        (OPTIONAL_INT, None, ["set", []]),
        (OPTIONAL_INT, 0, 0),
        ({"key": "uuid", "min": 0}, Ref("T", "known"), ["set", [["uuid", V]]]),
        ({"key": "uuid", "min": 0}, Ref("T", "missing"), ["set", []]),
        ({"key": "uuid", "min": 0}, None, ["set", []]),
        (STRINGS, frozenset({"a"}), "a"),  # RFC 7047, 5.1: a set with exactly one element
        (STRINGS, frozenset(), ["set", []]),
        (REFS, frozenset({Ref("T", "known"), Ref("T", "missing")}), ["set", [["uuid", V]]]),
        (MAP, {"k": "v"}, ["map", [("k", "v")]]),
        ({**MAP, "value": "uuid"}, {"k": Ref("T", "known")}, ["map", [["k", ["uuid", V]]]]),
    ],
)
def test_encoding(spec: Any, value: Any, wire: Any) -> None:
    encode = encoder(column(spec))
    assert (encode(value, {Ref("T", "known"): V}.get) if encode else value) == wire


def test_a_mandatory_reference_must_exist() -> None:
    encode = encoder(column("uuid"))
    assert encode is not None
    with pytest.raises(MissingReference):
        encode(Ref("T", "missing"), lambda ref: None)


@pytest.mark.parametrize(
    ("spec", "kind", "default"),
    [
        ("string", Kind.SCALAR, ""),
        ("real", Kind.SCALAR, 0.0),
        ("uuid", Kind.SCALAR, "00000000-0000-0000-0000-000000000000"),
        (OPTIONAL_INT, Kind.OPTIONAL, None),
        ({"key": "string", "min": 1, "max": 3}, Kind.SET, frozenset()),
        ({"key": "string", "min": 0, "max": 2}, Kind.SET, frozenset()),
        (MAP, Kind.MAP, {}),
        ({"key": "string", "value": "string", "min": 0, "max": 1}, Kind.MAP, {}),
    ],
)
def test_kinds_and_defaults(spec: Any, kind: Kind, default: Any) -> None:
    assert (column(spec).kind, column(spec).default) == (kind, default)


def test_roots() -> None:
    def tables(**tables: bool) -> dict[str, bool]:
        document = {
            "name": "D",
            "tables": {n: {"columns": {}, **({"isRoot": True} if r else {})} for n, r in tables.items()},
        }
        return {name: table.root for name, table in DatabaseSchema.from_json(document).tables.items()}

    assert tables(a=True, b=False) == {"a": True, "b": False}
    assert tables(a=False, b=False) == {"a": True, "b": True}, "RFC 7047, 3.2: none named means all"


def test_natural_keys() -> None:
    acl = {"direction": "to-lport", "priority": 7, "match": "ip4"}
    assert key_function(NORTHBOUND["ACL"])(acl, "pg") == ("pg", "to-lport", 7, "ip4", 0), "no tier on OVN 23.03"
    assert key_function(NORTHBOUND["ACL"])({**acl, "tier": 2}, "pg") == ("pg", "to-lport", 7, "ip4", 2)
    assert key_function(NORTHBOUND["Logical_Switch"])({"name": "x"}, "") == "x"
    assert key_function(NORTHBOUND["NB_Global"])({}, "") == ()
    assert key_function(OPEN_VSWITCH["Open_vSwitch"])({}, "") == ()
    dhcp = {"external_ids": {"ls": "a", "protocol": "IPv4"}}
    assert key_function(NORTHBOUND["DHCP_Options"])(dhcp, "") == ("a", "IPv4", "")


def test_derived_uuids_differ_by_everything_that_matters() -> None:
    import uuid

    found = [
        derive("NB", "ACL", ("a", 1)),
        derive("NB", "ACL", ("a", "1")),
        derive("SB", "ACL", ("a", 1)),
        derive("NB", "QoS", ("a", 1)),
        derive("NB", "ACL", ("a", 1), salt="x"),
    ]
    assert len(set(found)) == len(found)
    assert all(uuid.UUID(text).version == 5 and str(uuid.UUID(text)) == text for text in found)
    assert derive("NB", "ACL", ("a", 1)) == found[0]


def test_the_fence_compares_before_it_claims() -> None:
    fence = Fence("new")
    rows = {U: {"external_ids": {KEY: "old", "x": "y"}}}
    fence.begin(rows)
    (wait,) = fence.waits(rows)
    assert wait["op"] == "wait"
    assert wait["timeout"] == 0
    assert wait["where"] == [["external_ids", "includes", ["map", [[KEY, "old"]]]]]
