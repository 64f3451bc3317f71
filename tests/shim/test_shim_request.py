"""What the plug-in sends: which socket, which bytes; and VERSION, for which it sends nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from shim_harness import ADD, MEBIBYTE, SUPPORTED, FakeDaemon, config, reply, request, run

DEL = {name: ADD[name] for name in ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")} | {"CNI_COMMAND": "DEL"}

ENVIRONMENTS = [
    pytest.param(ADD, id="ADD"),
    pytest.param(ADD | {"CNI_COMMAND": "CHECK"}, id="CHECK"),
    pytest.param(DEL, id="DEL without a network namespace"),
    pytest.param(DEL | {"CNI_NETNS": ""}, id="DEL with an empty network namespace"),
    pytest.param({"CNI_COMMAND": "STATUS", "CNI_PATH": "/opt/cni/bin"}, id="STATUS"),
    pytest.param({"CNI_COMMAND": "GC"}, id="GC with nothing else"),
    pytest.param(ADD | {"HOME": "/", "CNI_COMMANDS": "x", "XCNI_ARGS": "y", "CNI": "z"}, id="other variables"),
    pytest.param(ADD | {"CNI_CONTAINERID": "A_.-9", "CNI_IFNAME": "a.b-c_d@e", "CNI_ARGS": "é=ü "}, id="odd but good"),
    pytest.param(ADD | {"CNI_ARGS": "x" * 4096, "CNI_PATH": "/" * 4096, "CNI_NETNS": "n" * 4096}, id="longest"),
    pytest.param(ADD | {"CNI_CONTAINERID": "c" * 4096, "CNI_IFNAME": "i" * 15}, id="longest names"),
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
async def test_the_request_is_exactly_the_protocol(plugin: Path, socket_path: str, environment: dict[str, str]) -> None:
    body = config(socket_path)
    async with FakeDaemon(socket_path) as daemon:
        outcome = await run(plugin, environment, body)
    assert daemon.requests == [request(environment, body)]
    assert outcome.status == 0


async def test_stdin_is_passed_on_unchanged(plugin: Path, socket_path: str) -> None:
    body = (
        b' \r\n\t{"type" : "kube-ovn",\n"server_socket":"'
        + socket_path.encode()
        + b'", "\\u00e9":[1.50,"\xc3\xa9"]}\n\n '
    )
    async with FakeDaemon(socket_path) as daemon:
        await run(plugin, ADD, body)
    assert daemon.requests == [request(ADD, body)]


async def test_stdin_of_one_mebibyte_arrives_whole(plugin: Path, socket_path: str) -> None:
    body = config(socket_path, big="")
    body = body.replace(b'"big": ""', b'"big": "' + b"x" * (MEBIBYTE - len(body)) + b'"')
    assert len(body) == MEBIBYTE
    async with FakeDaemon(socket_path) as daemon:
        outcome = await run(plugin, ADD, body)
    assert daemon.requests == [request(ADD, body)]
    assert outcome.status == 0


async def test_stdin_in_pieces(plugin: Path, socket_path: str) -> None:
    body = config(socket_path)
    async with FakeDaemon(socket_path) as daemon, asyncio.timeout(20):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(plugin, env=ADD, stdin=pipe, stdout=pipe)
        assert process.stdin is not None
        for byte in body:
            process.stdin.write(bytes([byte]))
            await process.stdin.drain()
            await asyncio.sleep(0)
        process.stdin.close()
        await process.communicate()
    assert daemon.requests == [request(ADD, body)]


class Repeated(dict[str, str]):
    """An environment that has an entry twice, which a dict cannot; subprocess takes what items() gives."""

    def items(self) -> Any:
        return [*super().items(), ("CNI_COMMAND", "DEL"), ("CNI_IFNAME", "eth1")]


async def test_of_equal_variables_the_first_counts(plugin: Path, socket_path: str) -> None:
    body = config(socket_path)
    async with FakeDaemon(socket_path) as daemon:
        await run(plugin, Repeated(ADD), body)
    assert daemon.requests == [request(ADD, body)]


async def test_arguments_are_ignored(plugin: Path, socket_path: str) -> None:
    body = config(socket_path)
    async with FakeDaemon(socket_path) as daemon:
        await run(plugin, ADD, body, "--help", "", "x" * 100_000)
    assert daemon.requests == [request(ADD, body)]


# ---- the socket's path ----


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"type": "kube-ovn", "server_socket": "@"}, id="main plug-in"),
        pytest.param({"type": "kube-ovn", "server_socket": "@", "ipam": {"server_socket": "/no"}}, id="main, not ipam"),
        pytest.param({"type": "macvlan", "ipam": {"type": "kube-ovn", "server_socket": "@"}}, id="IPAM plug-in"),
        pytest.param(
            {"type": "ipvlan", "server_socket": "/no", "ipam": {"server_socket": "@"}}, id="IPAM, not top level"
        ),
        pytest.param({"ipam": {"server_socket": "@"}}, id="no type"),
        pytest.param(
            {"type": "x", "ipam": {"server_socket": "@", "a": {"server_socket": "/no"}}}, id="not nested deeper"
        ),
        pytest.param({"type": "kube-ovn", "server_socket": "@", "a": {"ipam": {}, "type": "x"}}, id="not nested"),
    ],
)
async def test_where_the_socket_is_named(plugin: Path, socket_path: str, members: dict[str, object]) -> None:
    body = json.dumps(members).replace("@", socket_path).encode()
    async with FakeDaemon(socket_path) as daemon:
        await run(plugin, ADD, body)
    assert daemon.requests == [request(ADD, body)]


async def test_escapes_and_the_last_of_equal_keys(plugin: Path, socket_path: str) -> None:
    path = socket_path.replace("daemon", 'dé"😀\\')
    escaped = "".join(f"\\u{ord(c):04x}" if c.isalnum() and ord(c) < 128 else json.dumps(c)[1:-1] for c in path)
    escaped = escaped.replace("/", "\\/")
    body = f'{{"server_socket":"/no","t\\u0079pe":"kube\\u002dovn","server\\u005fsocket":"{escaped}"}}'.encode()
    async with FakeDaemon(path) as daemon:
        await run(plugin, ADD, body)
    assert daemon.requests == [request(ADD, body)]


async def test_the_longest_path(plugin: Path, socket_path: str) -> None:
    path = socket_path + "x" * (107 - len(socket_path))
    async with FakeDaemon(path) as daemon:
        outcome = await run(plugin, ADD, config(path))
    assert len(daemon.requests) == 1
    assert outcome.status == 0


async def test_an_unsupported_version_is_the_daemons_to_refuse(plugin: Path, socket_path: str) -> None:
    error = b'{"cniVersion":"9.9.9","code":1,"msg":"incompatible CNI version"}'
    for version in ("9.9.9", 7, None, "x" * 200):
        async with FakeDaemon(socket_path, reply=reply("400 Bad Request", error)) as daemon:
            outcome = await run(plugin, ADD, config(socket_path, cniVersion=version))
        assert len(daemon.requests) == 1
        assert (outcome.status, outcome.stdout) == (1, error)


# ---- VERSION ----


@pytest.mark.parametrize(
    ("stdin", "version"),
    [
        (b'{"cniVersion":"0.4.0"}', "0.4.0"),
        (b'{"cniVersion":"1.1.0","type":"kube-ovn","server_socket":"/nowhere"}', "1.1.0"),
        (b'{"cniVersion":"\\u0031.0.0\\"\\n"}', '1.0.0"\n'),
        (b'{"cniVersion":"7.0.0"}', "7.0.0"),
        (b"{}", "1.1.0"),
        (b'{"cniVersion":""}', "1.1.0"),
        (b'{"cniVersion":"1\\u0000"}', "1.1.0"),
        (b'{"cniVersion":"' + b"1" * 200 + b'"}', "1.1.0"),
        (b"", "1.1.0"),
        (b"nonsense", "1.1.0"),
        (b" " * (MEBIBYTE + 1), "1.1.0"),
    ],
)
async def test_version_needs_no_daemon(plugin: Path, stdin: bytes, version: str) -> None:
    # A runtime fills the other variables with anything when it asks for versions.
    environment = {"CNI_COMMAND": "VERSION", "CNI_IFNAME": "/", "CNI_CONTAINERID": "..", "OVNBRIDGE_CNI_TIMEOUT": "x"}
    outcome = await run(plugin, environment, stdin)
    assert outcome.status == 0
    assert outcome.stderr == b""
    assert json.loads(outcome.stdout) == {"cniVersion": version, "supportedVersions": SUPPORTED}
