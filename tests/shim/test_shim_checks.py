"""What the plug-in refuses by itself, before a socket is opened."""

from __future__ import annotations

import asyncio
import json
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shim_harness import ADD, MEBIBYTE, FakeDaemon, Outcome, config, run

NOWHERE = "/nonexistent/daemon.sock"


def without(*names: str, **changes: str) -> dict[str, str]:
    return {name: value for name, value in (ADD | changes).items() if name not in names}


def only(variable: str, value: str, command: str = "ADD") -> dict[str, str]:
    return ADD | {"CNI_COMMAND": command, variable: value}


ENVIRONMENT = "invalid environment variables"

BAD_ENVIRONMENTS = [
    (without("CNI_COMMAND", CNI_COMMANDX="ADD"), "CNI_COMMAND is missing"),
    (only("CNI_COMMAND", ""), "CNI_COMMAND is missing"),
    (only("CNI_COMMAND", "add"), "unknown CNI_COMMAND: add"),
    (only("CNI_COMMAND", "ADD "), "unknown CNI_COMMAND: ADD "),
    (only("CNI_COMMAND", "UPDATE"), "unknown CNI_COMMAND: UPDATE"),
    (only("CNI_COMMAND", '"\\ü'), 'unknown CNI_COMMAND: "\\ü'),
    (without("CNI_CONTAINERID"), "CNI_CONTAINERID is missing"),
    (without("CNI_NETNS"), "CNI_NETNS is missing"),
    (without("CNI_IFNAME"), "CNI_IFNAME is missing"),
    (only("CNI_NETNS", ""), "CNI_NETNS is missing"),
    (without("CNI_CONTAINERID", CNI_COMMAND="DEL"), "CNI_CONTAINERID is missing"),
    (without("CNI_IFNAME", CNI_COMMAND="DEL"), "CNI_IFNAME is missing"),
    (without("CNI_CONTAINERID", CNI_COMMAND="CHECK"), "CNI_CONTAINERID is missing"),
    (without("CNI_NETNS", CNI_COMMAND="CHECK"), "CNI_NETNS is missing"),
    (without("CNI_IFNAME", CNI_COMMAND="CHECK"), "CNI_IFNAME is missing"),
    *(
        (only("CNI_CONTAINERID", bad), "CNI_CONTAINERID is not")
        for bad in ("-a", "_a", ".a", "a/b", "a b", "a:b", "aé", "a%")
    ),
    *((only("CNI_IFNAME", bad), "CNI_IFNAME is not") for bad in (".", "..", "a/b", "a:b", "a b", " ", "x" * 16, "à")),
    (only("CNI_IFNAME", "a/b", "STATUS"), "CNI_IFNAME is not"),
    (only("CNI_CONTAINERID", "..", "GC"), "CNI_CONTAINERID is not"),
    *((only(variable, "a\rb"), f"{variable} has a control character") for variable in ADD),
    *((only("CNI_ARGS", f"a{bad}b"), "CNI_ARGS has a control character") for bad in "\n\t\x01\x1f\x7f\x1b"),
    (only("CNI_NETNS", "x\r\nCni-Command: DEL"), "CNI_NETNS has a control character"),
    *((only(variable, "x" * 4097), f"{variable} is longer than 4096 bytes") for variable in ADD),
    *(
        (only("OVNBRIDGE_CNI_TIMEOUT", bad), "OVNBRIDGE_CNI_TIMEOUT")
        for bad in ("0", "601", "-1", "1.5", "x", " 1", "9" * 30)
    ),
]


@pytest.mark.parametrize(("environment", "details"), BAD_ENVIRONMENTS)
async def test_bad_environment(plugin: Path, environment: dict[str, str], details: str) -> None:
    stdin = config(NOWHERE, cniVersion="1.0.0")
    # Without a command there is no caller who writes to stdin, so it is not read and the version not known.
    version = "1.0.0" if environment.get("CNI_COMMAND") else "0.3.1"
    (await run(plugin, environment, stdin)).fails(4, ENVIRONMENT, details, version=version)


async def test_a_missing_command_does_not_wait_for_stdin(plugin: Path) -> None:
    process = await asyncio.create_subprocess_exec(plugin, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(10):
        stdout = await process.stdout.read()
        assert await process.wait() == 1
    assert json.loads(stdout)["code"] == 4


async def test_bytes_that_are_not_utf8(plugin: Path) -> None:
    environment = {name.encode(): value.encode() for name, value in ADD.items()}
    outcome = await run(plugin, environment | {b"CNI_COMMAND": b"A\xff\xed\xa0\x80D"}, config(NOWHERE))
    outcome.fails(4, ENVIRONMENT, "unknown CNI_COMMAND: A\ufffd\ufffd\ufffd\ufffdD")
    (await run(plugin, environment | {b"CNI_IFNAME": b"a\xa0b"}, config(NOWHERE))).fails(
        4, ENVIRONMENT, "CNI_IFNAME is not"
    )


def allowed_interface_name(name: str) -> bool:
    encoded = name.encode()
    spaces = string.whitespace.encode() + b"\xa0"
    return (
        1 <= len(encoded) <= 15
        and name not in (".", "..")
        and not any(byte in b"/:" + spaces or byte < 0x20 or byte == 0x7F for byte in encoded)
    )


def allowed_container_id(name: str) -> bool:
    letters = string.ascii_letters + string.digits
    return name != "" and name[0] in letters and all(c in letters + "_.-" for c in name)


names = st.text(st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=17) | st.text("a0._-/: \u00e9", max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(interface=names, container=names)
def test_names(plugin: Path, interface: str, container: str) -> None:
    environment = ADD | {"CNI_IFNAME": interface, "CNI_CONTAINERID": container}
    done = subprocess.run(
        [plugin], env=environment, input=config(NOWHERE), capture_output=True, timeout=10, check=False
    )
    code = Outcome(done.returncode, done.stdout, done.stderr).error()["code"]
    assert code == (11 if allowed_interface_name(interface) and allowed_container_id(container) else 4)


# ---- stdin ----

NOT_OBJECTS = [
    b"",
    b" \n",
    b"[]",
    b'"kube-ovn"',
    b"null",
    b"{",
    b'{"a":1,}',
    b"{} {}",
    b"{}\0",
    b"\0{}",
    b"\xef\xbb\xbf{}",
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}',
    b'{"a":NaN}',
    b'{"a":01}',
    b"{'a':1}",
    b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    b'{"a":' * 100_000,
    b"[" * MEBIBYTE,
]


@pytest.mark.parametrize("stdin", NOT_OBJECTS, ids=lambda stdin: repr(stdin[:20]))
async def test_stdin_must_be_a_json_object(plugin: Path, stdin: bytes) -> None:
    details = "stdin is not a JSON object" if stdin else "stdin is empty"
    (await run(plugin, ADD, stdin)).fails(6, "failed to decode content", details)


async def test_64_levels_are_allowed(plugin: Path) -> None:
    stdin = config(NOWHERE)[:-1] + b',"a":' + b"[" * 63 + b"]" * 63 + b"}"
    (await run(plugin, ADD, stdin)).rpc_failed()


@pytest.mark.parametrize("length", [MEBIBYTE + 1, 5 * MEBIBYTE])
async def test_stdin_has_a_limit(plugin: Path, length: int) -> None:
    stdin = config(NOWHERE).ljust(length)
    (await run(plugin, ADD, stdin)).fails(6, "failed to decode content", "larger than 1 MiB")


CONFIG = "invalid network config"
KUBE_OVN: dict[str, object] = {"cniVersion": "1.0.0", "type": "kube-ovn"}

BAD_CONFIGS: list[tuple[dict[str, object], str]] = [
    (KUBE_OVN, "server_socket is required"),
    (KUBE_OVN | {"server_socket": ""}, "server_socket is required"),
    (KUBE_OVN | {"server_socket": None}, "server_socket is required"),
    (KUBE_OVN | {"ipam": {"server_socket": NOWHERE}}, "server_socket is required"),
    (KUBE_OVN | {"server_socket": 7}, "server_socket is not a string"),
    (KUBE_OVN | {"server_socket": [NOWHERE]}, "server_socket is not a string"),
    (KUBE_OVN | {"server_socket": {"server_socket": NOWHERE}}, "server_socket is not a string"),
    (KUBE_OVN | {"server_socket": "run/daemon.sock"}, "server_socket is not an absolute path"),
    (KUBE_OVN | {"server_socket": "/" + "x" * 107}, "server_socket is longer than 107 bytes"),
    (KUBE_OVN | {"server_socket": "/" + "é" * 54}, "server_socket is longer than 107 bytes"),
    (KUBE_OVN | {"server_socket": NOWHERE + "\0"}, "server_socket has a NUL"),
    (KUBE_OVN | {"server_socket": "/" + "x" * 200 + "\0"}, "server_socket has a NUL"),
    ({"cniVersion": "1.0.0", "type": "macvlan", "server_socket": NOWHERE}, "ipam.server_socket is required"),
    ({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {}}, "ipam.server_socket is required"),
    (
        {"cniVersion": "1.0.0", "type": "macvlan", "ipam": [{"server_socket": NOWHERE}]},
        "ipam.server_socket is required",
    ),
    ({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"server_socket": True}}, "ipam.server_socket is not a string"),
    (
        {"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"server_socket": "x"}},
        "ipam.server_socket is not an absolute",
    ),
    ({"cniVersion": "1.0.0", "server_socket": NOWHERE}, "ipam.server_socket is required"),
    ({"cniVersion": "1.0.0", "type": 1, "server_socket": NOWHERE}, "type is not a string"),
    ({"cniVersion": "1.0.0", "type": "kube-ovn\0", "server_socket": NOWHERE}, "type has a NUL"),
]


@pytest.mark.parametrize(("conf", "details"), BAD_CONFIGS)
async def test_bad_config(plugin: Path, conf: dict[str, object], details: str) -> None:
    for command in ("ADD", "DEL", "CHECK", "STATUS", "GC"):
        outcome = await run(plugin, ADD | {"CNI_COMMAND": command}, json.dumps(conf).encode())
        outcome.fails(7, CONFIG, details, version="1.0.0")


async def test_a_nul_in_the_version(plugin: Path) -> None:
    (await run(plugin, ADD, config(NOWHERE, cniVersion="1.0.0\0"))).fails(7, CONFIG, "cniVersion has a NUL")


async def test_of_equal_keys_the_last_counts_even_if_it_is_worse(plugin: Path) -> None:
    for text, details in (
        ('{"type":"kube-ovn","server_socket":"/nonexistent/s","server_socket":null}', "server_socket is required"),
        ('{"type":"x","ipam":{"server_socket":"/nonexistent/s"},"ipam":{}}', "ipam.server_socket is required"),
        ('{"type":"x","ipam":{"server_socket":"/nonexistent/s"},"ipam":3}', "ipam.server_socket is required"),
        ('{"type":"kube-ovn","type":"x","server_socket":"/nonexistent/s"}', "ipam.server_socket is required"),
    ):
        (await run(plugin, ADD, text.encode())).fails(7, CONFIG, details)
    text = '{"server_socket":"\\u0000","server_socket":"/nonexistent/s","type":"\\u0000","type":"kube-ovn"}'
    (await run(plugin, ADD, text.encode())).rpc_failed("/nonexistent/s")


async def test_nothing_is_sent_when_a_check_fails(plugin: Path, socket_path: str) -> None:
    async with FakeDaemon(socket_path) as daemon:
        (await run(plugin, without("CNI_NETNS"), config(socket_path))).fails(4, ENVIRONMENT)
        (await run(plugin, ADD, config(socket_path) + b"}")).fails(6, "failed to decode content")
        (await run(plugin, ADD, config(socket_path, type=[]))).fails(7, CONFIG)
        assert daemon.requests == []
        assert (await run(plugin, ADD, config(socket_path))).status == 0
        assert len(daemon.requests) == 1


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0.4.0", "0.4.0"),
        ("", "0.3.1"),
        (None, "0.3.1"),
        (4, "0.3.1"),
        ("9" * 108, "0.3.1"),
        ('"\\\n\x7fé', '"\\\n\x7fé'),
    ],
)
async def test_an_error_carries_the_configs_version(plugin: Path, version: object, told: str) -> None:
    (await run(plugin, ADD, config(NOWHERE, cniVersion=version))).rpc_failed(version=told)
