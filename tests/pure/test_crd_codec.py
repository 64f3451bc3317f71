"""Decoding and encoding of custom resources: Kube-OVN's own objects, hostile input, and what a lease costs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnbridge.model.crd.address import IP, IPSpec
from ovnbridge.model.crd.codec import Decoder, convert, encode, to_object
from ovnbridge.model.crd.kind_info import KindInfo
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.crd.schema import object_schema
from ovnbridge.model.crd.subnet import Subnet, SubnetStatus
from ovnbridge.model.crd.vpc import Vpc, VpcSpec
from ovnbridge.model.meta import ObjectMeta

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", ROOT.parent / "shared"))
PARITY = sorted((SHARED / "reference" / "parity").glob("*/k8s.json"))

ANY_KIND = pytest.mark.parametrize("info", KINDS.values(), ids=KINDS)


def parity_objects() -> list[Any]:
    """Every custom resource that the real Kube-OVN wrote."""
    found = []
    for path in PARITY:
        for plural, objects in json.loads(path.read_text()).items():
            for item in objects:
                if item.get("apiVersion") == "kubeovn.io/v1":
                    found.append(pytest.param(item, id=f"{path.parent.name}-{plural}-{item['metadata']['name']}"))
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no objects in {SHARED}: set OVNBRIDGE_SHARED"))]


def without_empties(value: Any) -> Any:
    """A value with everything left out that Kubernetes takes for absent."""
    if isinstance(value, dict):
        slim = {name: without_empties(field) for name, field in value.items()}
        return {name: field for name, field in slim.items() if field not in (None, "", 0, False, {}, [])}
    return [without_empties(item) for item in value] if isinstance(value, list) else value


class TestCodec:
    @pytest.mark.parametrize("item", parity_objects())
    def test_objects_of_the_real_thing_come_back_equal(self, item: dict[str, Any]) -> None:
        info = KINDS[item["kind"]]
        jsonschema.validate(item, object_schema(info.type))
        value = Decoder(info.type).decode(json.dumps(item))
        again = json.loads(encode(value))
        jsonschema.validate(again, object_schema(info.type))
        for part in ("apiVersion", "kind", "spec", "status"):
            assert without_empties(again.get(part)) == without_empties(item.get(part))
        assert again["metadata"]["name"] == item["metadata"]["name"]
        assert Decoder(info.type).decode(json.dumps(again)) == value

    @ANY_KIND
    def test_a_new_object_is_valid(self, info: KindInfo) -> None:
        """Except for what the user must say."""
        bare = to_object(info.type(metadata=ObjectMeta(name="x")))
        errors = list(jsonschema.Draft202012Validator(object_schema(info.type)).iter_errors(bare))
        assert {error.validator for error in errors} <= {"required"}
        assert not [error for error in errors if "status" in error.absolute_path], "a status we write is complete"

    @ANY_KIND
    @settings(max_examples=30, deadline=None)
    @given(data=st.data())
    def test_what_the_schema_allows_is_decoded(self, info: KindInfo, data: st.DataObject) -> None:
        """Any value of the schema's types decodes, and comes back as it was."""
        item = data.draw(instances(object_schema(info.type)))
        item |= {"apiVersion": "kubeovn.io/v1", "kind": info.resource.kind, "metadata": {"name": "x"}}
        again = to_object(Decoder(info.type).decode(json.dumps(item)))
        for part in ("spec", "status"):
            ours, theirs = again.get(part, {}), item.get(part, {})
            assert not lost(
                json.loads(msgspec.json.encode(ours)), theirs, object_schema(info.type)["properties"].get(part, {})
            )

    @ANY_KIND
    def test_null_is_absent(self, info: KindInfo) -> None:
        item: dict[str, Any] = {"metadata": {"name": "x", "labels": None}}
        for part in ("spec", "status"):
            schema = object_schema(info.type)["properties"].get(part, {})
            item[part] = dict.fromkeys(schema.get("properties", {}))
        assert Decoder(info.type).decode(json.dumps(item)) == info.type(metadata=ObjectMeta(name="x"))
        item["spec"] = item["status"] = None
        assert Decoder(info.type).decode(json.dumps(item)) == info.type(metadata=ObjectMeta(name="x"))

    def test_unknown_fields_are_ignored(self) -> None:
        item = b'{"metadata":{"name":"x","managedFields":[]},"spec":{"futureField":{"a":[1]}},"more":null}'
        assert Decoder(Vpc).decode(item) == Vpc(metadata=ObjectMeta(name="x"))

    @pytest.mark.parametrize(
        ("wire", "count"),
        [
            ("0", 0),
            ("253", 253),
            ('"253"', 253),
            ('"18446744073709551616"', 2**64),
            ("18446744073709552000", 2**64),
            ("18446744073709551616", 2**64),
            ("4.722366482869645e+21", 2**72),
            ("4722366482869645213693", 2**72),
            ("5.0", 5),
        ],
    )
    def test_counts_are_ints_and_survive_the_server(self, wire: str, count: int) -> None:
        """The API server keeps a number as int64 or double; the count that we computed must equal what it returns."""
        item = f'{{"metadata":{{"name":"x"}},"status":{{"v6availableIPs":{wire}}}}}'
        subnet = Decoder(Subnet).decode(item)
        assert subnet.status.v6_available_ips == count
        assert type(subnet.status.v6_available_ips) is int
        assert SubnetStatus(v6_available_ips=count) == subnet.status
        assert json.loads(encode(subnet))["status"]["v6availableIPs"] == count

    def test_a_spec_leaves_defaults_out_and_a_status_does_not(self) -> None:
        written = to_object(Vpc(metadata=ObjectMeta(name="x"), spec=VpcSpec(enable_bfd=True)))
        assert written["spec"] == {"enableBfd": True}
        assert written["metadata"] == {"name": "x"}
        assert written["status"]["standby"] is False, "a merge patch without it would leave true in place"
        assert written["status"]["bfdPort"] == {"name": "", "ip": "", "nodes": []}

    @pytest.mark.parametrize(
        ("item", "path"),
        [
            ('{"metadata":{"name":"x"},"spec":{"namespaces":"a"}}', "$.spec.namespaces"),
            ('{"metadata":{"name":"x"},"spec":{"namespaces":["a",1]}}', "$.spec.namespaces[1]"),
            ('{"metadata":{"name":"x"},"spec":{"namespaces":["a",null]}}', "$.spec.namespaces[1]"),
            ('{"metadata":{"name":"x"},"spec":{"policyRoutes":[{"priority":"9"}]}}', "$.spec.policyRoutes[0].priority"),
            ('{"metadata":{"name":"x"},"spec":{"policyRoutes":[{"priority":1.5}]}}', "$.spec.policyRoutes[0].priority"),
            ('{"metadata":{"name":"x"},"spec":{"enableBfd":"true"}}', "$.spec.enableBfd"),
            ('{"metadata":{"name":["x"]}}', "$.metadata.name"),
            ('{"spec":{}}', "metadata"),
            ('{"metadata":{"name":"x"},"spec":[]}', "$.spec"),
            ("[]", "object"),
            ("", "$"),
            ("{", "$"),
            ('{"x":' * 100_000, "$"),
            ('{"metadata":{"name":"x"},"spec":null,"x":' + "[" * 100_000, "$"),
            (b'{"metadata":{"name":"\xff\xfe"}}', "$"),
            (b'{"metadata":{"name":"\\ud800"}}', "$"),
            ('{"metadata":{"name":"x"},"spec":{"policyRoutes":[{"priority":1e999}]}}', "$"),
            ('{"metadata":{"name":"x"},"spec":{"policyRoutes":[{"priority":' + "9" * 9999 + "}]}}", "$"),
        ],
    )
    def test_hostile_input_is_a_validation_error_with_a_path(self, item: str | bytes, path: str) -> None:
        with pytest.raises(msgspec.ValidationError) as raised:
            Decoder(Vpc).decode(item)
        assert path in str(raised.value)

    @pytest.mark.parametrize(
        "count", ['"x"', '""', "[]", "true", "1e999", '"1e999"', '"nan"', '"' + "9" * 9999 + '"', "5.5"]
    )
    def test_hostile_counts(self, count: str) -> None:
        with pytest.raises(msgspec.ValidationError, match=r"\$"):
            Decoder(Subnet).decode(f'{{"metadata":{{"name":"x"}},"status":{{"v6usingIPs":{count}}}}}')

    @ANY_KIND
    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_wrong_types_anywhere_are_a_validation_error(self, info: KindInfo, data: st.DataObject) -> None:
        """One value of a valid object is replaced with anything: it decodes, or ValidationError is raised."""
        item = data.draw(instances(object_schema(info.type)))
        item["metadata"] = {"name": "x"}
        holder: Any = item
        key: Any = data.draw(st.sampled_from(sorted(item)))
        while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            key = data.draw(
                st.sampled_from(sorted(holder)) if isinstance(holder, dict) else st.integers(0, len(holder) - 1)
            )
        holder[key] = data.draw(JUNK)
        try:
            value = convert(item, info.type)
        except msgspec.ValidationError:
            return
        assert isinstance(value, info.type)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def instances(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, as far as types and enums go."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return st.fixed_dictionaries(
                {}, optional={name: instances(child) for name, child in schema["properties"].items()}
            )
        case "object":
            values = instances(schema["additionalProperties"]) if "additionalProperties" in schema else st.just("")
            return st.dictionaries(st.text(max_size=3), values, max_size=2)
        case "array":
            return st.lists(instances(schema["items"]), max_size=2)
        case "integer":
            return st.integers(-(2**63), 2**63 - 1)
        case "number":
            return st.integers(0, 2**63 - 1)
        case "boolean":
            return st.booleans()
        case "string":
            return st.text(max_size=5)
        case _:
            return st.integers(0, 9) | st.text(max_size=5)


def lost(ours: Any, theirs: Any, schema: dict[str, Any]) -> bool:
    """Whether something of `theirs` is not in `ours`, empties and schema defaults aside."""
    if isinstance(theirs, dict):
        children = schema.get("properties")
        return any(
            lost((ours or {}).get(name), value, children[name] if children else schema.get("additionalProperties", {}))
            for name, value in theirs.items()
        )
    if isinstance(theirs, list):
        items = ours or []
        return len(items) != len(theirs) or any(
            lost(mine, value, schema["items"]) for mine, value in zip(items, theirs, strict=True)
        )
    return ours != theirs and (ours is not None or theirs not in (schema.get("default"), "", 0, False))


class TestMemory:
    def test_a_lease_fits_in_a_kibibyte(self) -> None:
        """100k leases are kept: one costs ≤ 1 KiB, metadata and labels included, with all that it alone refers to."""
        count = 2000
        decoder = Decoder(IP)
        shared = retained([decoder.decode(lease(0))])
        leases = [decoder.decode(lease(number)) for number in range(count)]
        each = (retained(leases) - shared) / (count - 1)
        assert each <= 1024, f"{each:.0f} bytes"
        dual = [decoder.decode(lease(number, dual=True)) for number in range(count)]
        each = (retained(dual) - shared) / (count - 1)
        assert each <= 1024, f"{each:.0f} bytes with two families"
        assert leases[1].spec.node_name is leases[21].spec.node_name
        assert leases[1].spec.ip_address is leases[1].spec.v4_ip_address

    def test_sharing_changes_nothing(self) -> None:
        spec = IPSpec(namespace="a", subnet="b", node_name="c", ip_address="10.0.0.1", v6_ip_address="10.0.0.1")
        assert msgspec.to_builtins(spec) == {
            "namespace": "a",
            "subnet": "b",
            "nodeName": "c",
            "ipAddress": "10.0.0.1",
            "v6IpAddress": "10.0.0.1",
        }


def lease(number: int, *, dual: bool = False) -> bytes:
    """An IP object as Kube-OVN writes it, in a cluster with long names."""
    v6 = f"fd00:10:16::{number:x}" if dual else ""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    name = f"deployment-{number:06}-7d4b9c6f5d-{number % 99991:05}"
    return json.dumps(
        {
            "apiVersion": "kubeovn.io/v1",
            "kind": "IP",
            "metadata": {
                "creationTimestamp": "2026-11-23T23:22:45Z",
                "finalizers": ["kubeovn.io/kube-ovn-controller"],
                "generation": 1,
                "labels": {
                    "ovn.kubernetes.io/ip_reserved": "false",
                    "ovn.kubernetes.io/node-name": f"node-{number % 20}",
                    "ovn.kubernetes.io/subnet": "subnet-production",
                    "subnet-production": "",
                },
                "name": f"{name}.namespace-{number % 50}",
                "resourceVersion": str(number),
                "uid": f"36efc8f4-0154-4e3e-bfab-{number:012}",
            },
            "spec": {
                "attachIps": [],
                "attachMacs": [],
                "attachSubnets": [],
                "containerID": "",
                "ipAddress": f"{address},{v6}" if dual else address,
                "macAddress": f"2e:f1:fb:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
                "namespace": f"namespace-{number % 50}",
                "nodeName": f"node-{number % 20}",
                "podName": name,
                "podType": "",
                "subnet": "subnet-production",
                "v4IpAddress": address,
                "v6IpAddress": v6,
            },
        }
    ).encode()


def retained(roots: list[Any]) -> int:
    """Bytes of everything that `roots` refer to, each object counted once."""
    seen: set[int] = set()
    total = 0
    pending: list[Any] = list(roots)
    while pending:
        value = pending.pop()
        if id(value) in seen or value is None or isinstance(value, bool):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value)
        if isinstance(value, msgspec.Struct):
            pending.extend(getattr(value, field) for field in value.__struct_fields__)
        elif isinstance(value, dict):
            pending.extend(value)
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
    return total
