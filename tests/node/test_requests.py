"""CNI requests and results: every version's shape, every way to be wrong, and fuzz."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnbridge.node.cni import request as cni
from ovnbridge.node.cni.request import CniError, Dns, Request, Route, from_legacy, from_shim
from ovnbridge.node.cni.result import Address, Result, error_to_cni, to_cni, to_legacy

HEADERS = {
    "Cni-Command": "ADD",
    "Cni-Containerid": "c0ffee",
    "Cni-Netns": "/var/run/netns/x",
    "Cni-Ifname": "eth0",
    "Cni-Args": "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u1",
    "Cni-Path": "/opt/cni/bin",
}
CONF = {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": "/s"}


def shim(conf: dict[str, object] | bytes | None = None, **headers: str) -> Request:
    body = conf if isinstance(conf, bytes) else json.dumps(CONF | (conf or {})).encode()
    return from_shim(HEADERS | {f"Cni-{k.capitalize()}": v for k, v in headers.items()}, body)


def test_default_request() -> None:
    assert shim() == Request(
        command="ADD",
        container_id="c0ffee",
        netns="/var/run/netns/x",
        interface="eth0",
        pod="p",
        namespace="ns",
        pod_uid="u1",
        cni_version="1.0.0",
    )


def test_ipam_mode_takes_the_ipam_section() -> None:
    found = shim(
        {
            "type": "macvlan",
            "provider": "outer",
            "ipam": {"type": "kube-ovn", "provider": "net.ns", "routes": [{"dst": "10.0.0.0/8", "gw": "10.1.1.1"}]},
        }
    )
    assert (found.provider, found.address_only) == ("net.ns", True)
    assert found.routes == (Route(dst="10.0.0.0/8", gw="10.1.1.1"),)


def test_own_type_ignores_the_ipam_section() -> None:
    assert shim({"provider": "a.b.ovn", "ipam": {"type": "x", "provider": "other"}}).provider == "a.b.ovn"


def test_unknown_fields_are_ignored() -> None:
    assert shim({"prevResult": {"x": 1}, "runtimeConfig": {}, "capabilities": {"portMappings": True}}).pod == "p"


@pytest.mark.parametrize(
    ("conf", "headers", "code"),
    [
        (b"{", {}, cni.DECODING_FAILURE),
        (b"", {}, cni.DECODING_FAILURE),
        (b"\xff\xfe", {}, cni.DECODING_FAILURE),
        (b"[1]", {}, cni.INVALID_CONFIG),
        ({"cniVersion": "9.9.9"}, {}, cni.INCOMPATIBLE_VERSION),
        ({"cniVersion": 1}, {}, cni.INVALID_CONFIG),
        ({"routes": "x"}, {}, cni.INVALID_CONFIG),
        ({"routes": [{"dst": "nonsense"}]}, {}, cni.INVALID_CONFIG),
        ({"routes": [{"dst": "10.0.0.0/8", "gw": "fd00::1"}]}, {}, cni.INVALID_CONFIG),
        ({"routes": [{}]}, {}, cni.INVALID_CONFIG),
        ({"provider": "../x"}, {}, cni.INVALID_CONFIG),
        ({}, {"command": "EXPLODE"}, cni.INVALID_ENVIRONMENT),
        ({}, {"args": "K8S_POD_NAME=p"}, cni.INVALID_CONFIG),
        ({}, {"args": "K8S_POD_NAMESPACE=ns"}, cni.INVALID_CONFIG),
        ({}, {"args": "nonsense"}, cni.INVALID_ENVIRONMENT),
        ({}, {"args": "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=../../etc"}, cni.INVALID_CONFIG),
        ({}, {"containerid": ""}, cni.INVALID_ENVIRONMENT),
        ({}, {"containerid": "a/b"}, cni.INVALID_ENVIRONMENT),
        ({}, {"containerid": "x" * 129}, cni.INVALID_ENVIRONMENT),
        ({}, {"netns": "relative"}, cni.INVALID_ENVIRONMENT),
        ({}, {"netns": "/a\0b"}, cni.INVALID_ENVIRONMENT),
        ({}, {"ifname": "waytoolongforlinux"}, cni.INVALID_ENVIRONMENT),
        ({}, {"ifname": "a/b"}, cni.INVALID_ENVIRONMENT),
        ({}, {"ifname": ""}, cni.INVALID_ENVIRONMENT),
    ],
)
def test_wrong_requests(conf: dict[str, object] | bytes, headers: dict[str, str], code: int) -> None:
    with pytest.raises(CniError) as caught:
        shim(conf, **headers)
    assert caught.value.code == code
    assert caught.value.message


def test_del_needs_no_namespace_and_no_valid_routes() -> None:
    assert shim({"routes": [{"dst": "x"}]}, command="DEL", netns="").netns == ""


@pytest.mark.parametrize("command", ["STATUS", "GC"])
def test_commands_without_a_pod(command: str) -> None:
    assert from_shim({"Cni-Command": command}, json.dumps(CONF).encode()).command == command


def test_legacy_request() -> None:
    wire = {
        "cni_type": "kube-ovn",
        "pod_name": "p",
        "pod_namespace": "ns",
        "container_id": "c0ffee",
        "net_ns": "/x",
        "if_name": "net1",
        "provider": "a.b.ovn",
        "routes": None,
        "dns": {"nameservers": ["1.1.1.1"]},
        "vf_driver": "",
        "deviceID": "0000:00:01.0",
    }
    found = from_legacy("ADD", json.dumps(wire).encode())
    assert (found.interface, found.provider, found.device_id) == ("net1", "a.b.ovn", "0000:00:01.0")
    assert found.dns == Dns(nameservers=("1.1.1.1",))


RESULT = Result(
    interface="eth0",
    mac="00:00:00:00:00:01",
    mtu=1400,
    sandbox="/x",
    addresses=(
        Address(ip="10.16.0.2", cidr="10.16.0.0/16", gateway="10.16.0.1"),
        Address(ip="fd00::2", cidr="fd00::/64", gateway="fd00::1"),
    ),
    routes=(Route(dst="10.16.0.0/16"), Route(dst="0.0.0.0/0", gw="10.16.0.1"), Route(dst="::/0", gw="fd00::1")),
    dns=Dns(nameservers=("1.1.1.1",)),
)


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_result_shapes(version: str) -> None:
    reply = to_cni(RESULT, version)
    assert reply["cniVersion"] == version
    (interface,) = reply["interfaces"]
    assert interface == {"name": "eth0", "mac": "00:00:00:00:00:01", "sandbox": "/x"} | (
        {"mtu": 1400} if version == "1.1.0" else {}
    )
    v4, v6 = reply["ips"]
    assert (v4["address"], v4["gateway"], v4["interface"]) == ("10.16.0.2/16", "10.16.0.1", 0)
    assert v6["address"] == "fd00::2/64"
    assert v4.get("version") == ("4" if version.startswith("0.") else None)
    assert v6.get("version") == ("6" if version.startswith("0.") else None)
    assert {"dst": "0.0.0.0/0", "gw": "10.16.0.1"} in reply["routes"]
    assert reply["dns"] == {"nameservers": ("1.1.1.1",)}


def test_oldest_result_shape() -> None:
    reply = to_cni(RESULT, "0.2.0")
    assert reply["ip4"]["ip"] == "10.16.0.2/16"
    assert reply["ip6"]["gateway"] == "fd00::1"
    assert reply["ip4"]["routes"] == [{"dst": "10.16.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.16.0.1"}]
    assert "interfaces" not in reply


def test_default_routes_stand_in_for_missing_ones() -> None:
    bare = Result(interface="eth0", mac="m", mtu=0, sandbox="/x", addresses=RESULT.addresses)
    assert to_cni(bare, "1.0.0")["routes"] == [
        {"dst": "0.0.0.0/0", "gw": "10.16.0.1"},
        {"dst": "::/0", "gw": "fd00::1"},
    ]


def test_legacy_result() -> None:
    reply = to_legacy(RESULT)
    assert reply["ips"][0] == {
        "protocol": "IPv4",
        "ip": "10.16.0.2",
        "cidr": "10.16.0.0/16",
        "gateway": "10.16.0.1",
    }
    assert (reply["mac_address"], reply["mtu"], reply["nicname"]) == ("00:00:00:00:00:01", 1400, "eth0")


def test_error_object() -> None:
    assert error_to_cni(CniError(7, "bad", "why"), "0.4.0") == {
        "cniVersion": "0.4.0",
        "code": 7,
        "msg": "bad",
        "details": "why",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["cniVersion", "type", "provider", "routes", "ipam", "dns", "deviceID", "if_name", "pod_name"])
BODIES = st.binary(max_size=200) | st.dictionaries(FIELDS | st.text(max_size=8), JSON, max_size=6).map(
    lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
)


def outcome(decode: Callable[[], Request]) -> str | int:
    """The decoded command, or the error code; any other exception is a defect."""
    try:
        return decode().command
    except CniError as error:
        return error.code


@settings(max_examples=400, deadline=None)
@given(
    body=BODIES,
    headers=st.dictionaries(st.sampled_from(sorted(HEADERS)), st.text(max_size=40), max_size=6),
)
def test_shim_requests_are_decoded_or_refused(body: bytes, headers: dict[str, str]) -> None:
    answer = outcome(lambda: from_shim(HEADERS | headers, body))
    assert answer in (*cni.COMMANDS, 1, 4, 6, 7)
    assert cni.cni_version_of(body) in cni.VERSIONS


@settings(max_examples=400, deadline=None)
@given(body=BODIES)
def test_legacy_requests_are_decoded_or_refused(body: bytes) -> None:
    assert outcome(lambda: from_legacy("ADD", body)) in ("ADD", 4, 6, 7)
