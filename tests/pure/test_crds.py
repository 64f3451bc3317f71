"""The CRD manifests that are generated from our types, against those that Kube-OVN publishes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from ovnbridge.model.crd.kind_info import KindInfo
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.crd.schema import definition, differences, manifests
from ovnbridge.model.meta import ObjectMeta

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", ROOT.parent / "shared"))
REFERENCE = SHARED / "reference" / "kube-ovn-crds.yaml"

ANY_KIND = pytest.mark.parametrize("info", KINDS.values(), ids=KINDS)

RULES = "x-kubernetes-validations"

# What our schema says beyond the reference: path → keyword. Each is a rule of spec part F (validation), or a set of
# values that part A names. Rules are counted (tests/api/crd_rules.py tries each), all other keywords listed. Nothing in
# a status: what Kube-OVN writes is accepted.
ADDRESS = {"maxLength": 49, RULES: 1}
LOWER_CASE_ADDRESS = {"maxLength": 49, RULES: 2}
PORT = {"minimum": 0, "maximum": 65535}
STRICTER: dict[str, dict[str, Any]] = {
    "Subnet": {RULES: 1},
    "Subnet.spec": {RULES: 11},
    # Kube-OVN writes these back; they are columns of `kubectl get`.
    **{f"Subnet.spec.{name}": {"default": False} for name in ("default", "natOutgoing", "private")},
    "Subnet.spec.cidrBlock": {"maxLength": 99, RULES: 4},
    "Subnet.spec.gateway": {"maxLength": 99, RULES: 1},
    "Subnet.spec.u2oInterconnectionIP": {"maxLength": 99},
    "Subnet.spec.externalEgressGateway": {"maxLength": 99, RULES: 2},
    "Subnet.spec.gatewayType": {"enum": ["", "distributed", "centralized"]},
    "Subnet.spec.protocol": {"enum": ["", "IPv4", "IPv6", "Dual", "Mac"]},
    "Subnet.spec.excludeIps": {"maxItems": 16384},
    "Subnet.spec.excludeIps[]": {"maxLength": 99, RULES: 2},
    "Subnet.spec.allowSubnets": {"maxItems": 16384},
    "Subnet.spec.allowSubnets[]": LOWER_CASE_ADDRESS,
    "Subnet.spec.vips": {"maxItems": 16384},
    "Subnet.spec.vips[]": ADDRESS,
    "Subnet.spec.mtu": {"minimum": 0},
    "Subnet.spec.policyRoutingPriority": {"minimum": 0},
    "Subnet.spec.policyRoutingTableID": {"minimum": 0},
    "Subnet.spec.natOutgoingPolicyRules[].action": {"enum": ["", "nat", "forward"]},
    "Subnet.spec.acls[]": {"required": ["action", "direction", "match"]},
    "Subnet.spec.acls[].direction": {"enum": ["from-lport", "to-lport"]},
    "Subnet.spec.acls[].priority": {"minimum": 0, "maximum": 32767},
    "Subnet.spec.acls[].match": {"minLength": 1},
    "Subnet.spec.acls[].action": {"enum": ["allow", "allow-related", "allow-stateless", "drop", "reject", "pass"]},
    "Vpc.spec.staticRoutes": {"maxItems": 16384},
    "Vpc.spec.staticRoutes[]": {"required": ["cidr", "nextHopIP"]},
    "Vpc.spec.staticRoutes[].policy": {"enum": ["", "policyDst", "policySrc"]},
    "Vpc.spec.staticRoutes[].cidr": ADDRESS,
    "Vpc.spec.staticRoutes[].nextHopIP": ADDRESS,
    "Vpc.spec.policyRoutes[].action": {"enum": ["allow", "drop", "reroute"]},
    "Vpc.spec.policyRoutes[].priority": {"minimum": 0, "maximum": 32767},
    "Vpc.spec.policyRoutes[]": {RULES: 1},
    "Vpc.spec.vpcPeerings": {"maxItems": 16384},
    "Vpc.spec.vpcPeerings[]": {"required": ["localConnectIP", "remoteVpc"]},
    "Vpc.spec.vpcPeerings[].localConnectIP": {"maxLength": 99, RULES: 1},
    "Vpc.spec.bfdPort": {RULES: 1},
    "Vpc.spec.bfdPort.ip": {"maxLength": 99},
    "IP.spec.v4IpAddress": ADDRESS,
    "IP.spec.v6IpAddress": LOWER_CASE_ADDRESS,
    "IP.spec.podType": {"enum": ["", "StatefulSet", "VirtualMachine"]},
    "IPPool.spec.ips": {"maxItems": 16384},
    "IPPool.spec.ips[]": {"maxLength": 99, RULES: 1},
    "Vip.spec": {"required": ["subnet"]},
    "Vip.spec.type": {"enum": ["", "switch_lb_vip", "kube_host_vm_vip"]},
    "Vip.spec.v4ip": ADDRESS,
    "Vip.spec.v6ip": LOWER_CASE_ADDRESS,
    "SecurityGroup.spec": {RULES: 2},
    "SecurityGroup.spec.tier": {"minimum": 0, "maximum": 1},
    "QoSPolicy.spec": {RULES: 4},
    "QoSPolicy.spec.bindingType": {"enum": ["", "EIP", "NATGW"]},
    "QoSPolicy.spec.bandwidthLimitRules": {"maxItems": 16384},
    "QoSPolicy.spec.bandwidthLimitRules[]": {RULES: 1},
    "QoSPolicy.spec.bandwidthLimitRules[].interface": {"pattern": "^[A-Za-z0-9_-]{0,15}$"},
    "QoSPolicy.spec.bandwidthLimitRules[].rateMax": {"pattern": r"^([0-9]+(\.[0-9]+)?)?$"},
    "QoSPolicy.spec.bandwidthLimitRules[].burstMax": {"pattern": r"^([0-9]+(\.[0-9]+)?)?$"},
    "QoSPolicy.spec.bandwidthLimitRules[].direction": {"enum": ["", "ingress", "egress"]},
    "QoSPolicy.spec.bandwidthLimitRules[].matchType": {"enum": ["", "ip"]},
    "QoSPolicy.spec.bandwidthLimitRules[].matchValue": {"maxLength": 53},
    "OvnEip.spec.type": {"enum": ["", "nat", "lrp", "lsp"]},
    "OvnFip.spec.type": {"enum": ["", "distributed", "centralized"]},
    "OvnFip.spec.ipType": {"enum": ["", "ip", "vip"]},
    "OvnDnatRule.spec.ipType": {"enum": ["", "ip", "vip"]},
    "VpcDns.spec.replicas": {"minimum": 1, "maximum": 3},
}
for _rules in ("ingressRules", "egressRules"):
    STRICTER |= {
        f"SecurityGroup.spec.{_rules}": {"maxItems": 16384},
        f"SecurityGroup.spec.{_rules}[]": {RULES: 5, "required": ["ipVersion", "priority", "remoteType"]},
        f"SecurityGroup.spec.{_rules}[].ipVersion": {"enum": ["ipv4", "ipv6"]},
        f"SecurityGroup.spec.{_rules}[].protocol": {"enum": ["", "all", "icmp", "tcp", "udp"]},
        f"SecurityGroup.spec.{_rules}[].remoteType": {"enum": ["address", "securityGroup"]},
        f"SecurityGroup.spec.{_rules}[].priority": {"minimum": 1, "maximum": 16384},
        f"SecurityGroup.spec.{_rules}[].remoteAddress": {"maxLength": 49},
        f"SecurityGroup.spec.{_rules}[].localAddress": {"maxLength": 49},
        f"SecurityGroup.spec.{_rules}[].portRangeMin": PORT,
        f"SecurityGroup.spec.{_rules}[].portRangeMax": PORT,
        f"SecurityGroup.spec.{_rules}[].sourcePortRangeMin": PORT,
        f"SecurityGroup.spec.{_rules}[].sourcePortRangeMax": PORT,
        f"SecurityGroup.spec.{_rules}[].policy": {"enum": ["", "allow", "drop", "pass"]},
    }


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, Any]]:
    """Kind → CRD as Kube-OVN 1.17 publishes it."""
    if not REFERENCE.exists():
        pytest.skip(f"no {REFERENCE}: set OVNBRIDGE_SHARED")
    return {crd["spec"]["names"]["kind"]: crd for crd in yaml.safe_load_all(REFERENCE.read_text()) if crd}


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every sub-schema with its path, depth first."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def keywords(schema: dict[str, Any]) -> dict[str, Any]:
    """What a sub-schema itself demands, without prose and children; order of sets does not matter."""
    own = {
        name: value
        for name, value in schema.items()
        if name not in ("description", "properties", "items") and not (name == "additionalProperties" and value)
    }
    for name in ("required", "enum"):
        if name in own:
            own[name] = sorted(own[name])
    return own


def version_of(crd: dict[str, Any]) -> dict[str, Any]:
    """The only version of a CRD."""
    (version,) = crd["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def root_schema(info: KindInfo) -> dict[str, Any]:
    """The generated openAPIV3Schema."""
    schema = version_of(definition(info))["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


class TestManifests:
    def test_every_kind_of_the_reference_and_no_other(self, reference: dict[str, Any]) -> None:
        assert set(KINDS) == set(reference)
        assert len(KINDS) == 25

    @ANY_KIND
    def test_names_scope_and_subresources(self, info: KindInfo, reference: dict[str, Any]) -> None:
        ours, theirs = definition(info), reference[info.resource.kind]
        assert ours["metadata"]["name"] == theirs["metadata"]["name"]
        assert ours["spec"].keys() == theirs["spec"].keys()
        for part in ours["spec"].keys() - {"versions"}:
            assert ours["spec"][part] == theirs["spec"][part]
        assert version_of(ours).keys() | {"subresources"} == version_of(theirs).keys() | {"subresources"}
        for part in ("name", "served", "storage"):
            assert version_of(ours)[part] == version_of(theirs)[part]
        assert version_of(ours)["subresources"] == version_of(theirs).get("subresources", {})

    @ANY_KIND
    def test_printer_columns(self, info: KindInfo, reference: dict[str, Any]) -> None:
        theirs = version_of(reference[info.resource.kind]).get("additionalPrinterColumns")
        assert version_of(definition(info)).get("additionalPrinterColumns") == theirs

    @ANY_KIND
    def test_fields_are_those_of_the_reference(self, info: KindInfo, reference: dict[str, Any]) -> None:
        """Same fields; same keywords on each, except for what STRICTER adds."""
        kind = info.resource.kind
        assert not [path for path in STRICTER if path.partition(".")[0] == kind and ".status" in path]
        theirs = dict(nodes(version_of(reference[kind])["schema"]["openAPIV3Schema"], kind))
        ours = dict(nodes(root_schema(info), kind))
        assert set(ours) == set(theirs)
        for path, schema in theirs.items():
            expected, found = keywords(schema), keywords(ours[path])
            rules, expected_rules = found.pop(RULES, []), expected.pop(RULES, [])
            assert all(rule in rules for rule in expected_rules), path
            more = dict(STRICTER.get(path, {}))
            assert len(rules) - len(expected_rules) == more.pop(RULES, 0), path
            if "enum" in more:
                more["enum"] = sorted(more["enum"])
            assert not more.keys() & expected.keys(), f"{path}: replaces what the reference says"
            assert found == expected | more, path

    @ANY_KIND
    def test_every_field_is_described(self, info: KindInfo) -> None:
        kind = info.resource.kind
        for path, schema in nodes(root_schema(info), kind):
            if path == f"{kind}.metadata" or path.endswith(("[]", "{}")):
                continue
            assert schema.get("description", "").endswith("."), path

    @ANY_KIND
    def test_descriptions_are_our_own(self, info: KindInfo, reference: dict[str, Any]) -> None:
        """A description copied by chance must at least be short."""
        theirs = dict(nodes(version_of(reference[info.resource.kind])["schema"]["openAPIV3Schema"], ""))
        for path, schema in nodes(root_schema(info), ""):
            text = schema.get("description", "")
            assert len(text) < 40 or text.strip(".") != theirs[path].get("description", "").strip("."), path

    @ANY_KIND
    def test_schema_is_structural(self, info: KindInfo) -> None:
        """What the API server insists on: types everywhere, defaults that are valid, map keys that are required."""
        for path, schema in nodes(root_schema(info), info.resource.kind):
            assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
            assert schema.get("required", []) == sorted(set(schema.get("required", []))), path
            assert set(schema.get("required", [])) <= set(schema.get("properties", {})), path
            if "default" in schema:
                jsonschema.validate(schema["default"], schema)
            if schema.get("x-kubernetes-list-type") == "map":
                assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"]), path

    @ANY_KIND
    def test_a_default_of_the_schema_is_the_default_of_the_type(self, info: KindInfo) -> None:
        """Leaving a default out when encoding is right only if the server fills in the same one."""

        def check(schema: dict[str, Any], value: Any, path: str) -> None:
            for name, child in schema.get("properties", {}).items():
                if "default" in child:
                    assert value[name] == child["default"], f"{path}.{name}"
                elif isinstance(value.get(name), dict):
                    check(child, value[name], f"{path}.{name}")

        for part in ("spec", "status"):
            holder = getattr(info.type(metadata=ObjectMeta(name="x")), part, None)
            if holder is not None:
                whole = {
                    name: _whole(getattr(holder, field))
                    for field, name in zip(holder.__struct_fields__, holder.__struct_encode_fields__, strict=True)
                }
                check(root_schema(info)["properties"][part], whole, info.resource.kind)

    def test_manifests_are_up_to_date(self) -> None:
        tool = ROOT / "tools" / "generate_crds.py"
        result = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr

    def test_check_finds_what_is_wrong(self, tmp_path: Path) -> None:
        tool = [sys.executable, str(ROOT / "tools" / "generate_crds.py"), "--directory", str(tmp_path)]
        assert subprocess.run([*tool, "--check"], capture_output=True, check=False).returncode == 1
        subprocess.run(tool, check=True)
        assert len(list(tmp_path.glob("*.yaml"))) == 25
        (tmp_path / "vpcs.yaml").write_text("stale")
        (tmp_path / "leftovers.yaml").write_text("not a kind")
        result = subprocess.run([*tool, "--check"], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert "vpcs.yaml" in result.stderr
        assert "leftovers.yaml" in result.stderr
        assert "subnets.yaml" not in result.stderr
        subprocess.run(tool, check=True)
        assert subprocess.run([*tool, "--check"], check=False).returncode == 0

    def test_generation_is_deterministic_and_parses_back(self) -> None:
        first = manifests()
        assert first == manifests()
        assert differences(first) == []
        for info in KINDS.values():
            assert yaml.safe_load(first[f"{info.resource.plural}.yaml"]) == definition(info)


def _whole(value: Any) -> Any:
    """Builtins of a value with its defaults, by wire name."""
    if isinstance(value, msgspec.Struct):
        fields = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {name: _whole(getattr(value, field)) for field, name in fields}
    return value
