"""The socket: both protocols end to end, hostile input, and the socket file itself."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import Rig, Sandbox, Switch, address_annotations, pod_object

from ovnbridge.node.cni.server import BODY_LIMIT, CniServer
from ovnbridge.node.install import default_shim

CONF = {"cniVersion": "1.1.0", "name": "kube-ovn", "type": "kube-ovn"}


def headers(command: str, sandbox: Sandbox, pod: str = "p") -> dict[str, str]:
    """What the shim sends."""
    return {
        "Cni-Command": command,
        "Cni-Containerid": sandbox.container_id,
        "Cni-Netns": sandbox.path,
        "Cni-Ifname": "eth0",
        "Cni-Args": f"K8S_POD_NAMESPACE=ns;K8S_POD_NAME={pod}",
        "Cni-Path": "/opt/cni/bin",
    }


@pytest.fixture
async def client(switch: Switch) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(path=f"{switch.directory}/cni.sock")
    async with aiohttp.ClientSession("http://cni", connector=connector) as session:
        yield session


async def test_shim_protocol(switch: Switch, sandboxes: Callable[[], Sandbox], client: aiohttp.ClientSession) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(60)))
        async with client.post("/cni/v1", json=CONF, headers=headers("ADD", sandbox)) as reply:
            assert reply.status == 200
            result = await reply.json()
        assert result["interfaces"][0]["mtu"] == 1400
        assert result["ips"][0]["address"] == "10.16.0.60/16"
        for command in ("CHECK", "DEL", "DEL", "STATUS", "GC"):
            async with client.post("/cni/v1", json=CONF, headers=headers(command, sandbox)) as reply:
                assert (reply.status, await reply.text()) == (200, "")
        async with client.post("/cni/v1", json=CONF, headers=headers("CHECK", sandbox)) as reply:
            assert reply.status == 500
            error = await reply.json()
        assert (error["cniVersion"], error["code"]) == ("1.1.0", 108)
        assert "is not a port of the integration bridge" in error["details"]
        async with client.post("/cni/v1", data=b"{", headers=headers("ADD", sandbox)) as reply:
            assert (reply.status, (await reply.json())["code"]) == (500, 6)
        async with client.post("/cni/v1", data=b" " * (BODY_LIMIT + 1), headers=headers("ADD", sandbox)) as reply:
            assert (reply.status, (await reply.json())["code"]) == (500, 6)
        page = rig.agent._metrics.page()[0].decode()
        assert 'cni_op_latency_seconds_count{method="/cni/v1",node_name="n1",status_code="200"} 6' in page


async def test_kube_ovns_protocol(
    switch: Switch, sandboxes: Callable[[], Sandbox], client: aiohttp.ClientSession
) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(61)))
        wire = {
            "cni_type": "kube-ovn",
            "pod_name": "p",
            "pod_namespace": "ns",
            "container_id": sandbox.container_id,
            "net_ns": sandbox.path,
            "if_name": "eth0",
            "provider": "ovn",
            "routes": None,
        }
        async with client.post("/api/v1/add", json=wire, compress="gzip") as reply:
            assert reply.status == 200
            result = await reply.json()
        assert result["ips"] == [
            {"protocol": "IPv4", "ip": "10.16.0.61", "cidr": "10.16.0.0/16", "gateway": "10.16.0.1"}
        ]
        assert (result["nicname"], result["mtu"]) == ("eth0", 1400)
        async with client.post("/api/v1/del", json=wire) as reply:
            assert reply.status == 204
        async with client.post("/api/v1/add", json=wire | {"provider": "nobody.ns.ovn"}) as reply:
            assert reply.status == 400
            assert (await reply.json())["error"] == "provider nobody.ns.ovn is not bound to any subnet"
        async with client.post("/api/v1/add", data=b"nonsense") as reply:
            assert reply.status == 400


async def test_the_real_plugin(switch: Switch, sandboxes: Callable[[], Sandbox]) -> None:
    shim = default_shim()
    if shim is None:
        pytest.skip("the plug-in is not built (make -C cni-shim)")
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(62)))
        conf = json.dumps(CONF | {"server_socket": f"{switch.directory}/cni.sock"}).encode()

        async def call(command: str, pod: str = "p") -> tuple[int, Any]:
            variables = {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": sandbox.container_id,
                "CNI_NETNS": sandbox.path,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": "/opt/cni/bin",
                "CNI_ARGS": f"K8S_POD_NAMESPACE=ns;K8S_POD_NAME={pod}",
            }
            process = await asyncio.create_subprocess_exec(
                str(shim), env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            out, _ = await process.communicate(conf)
            return process.returncode or 0, json.loads(out) if out.strip() else None

        status, result = await call("ADD")
        assert (status, result["ips"][0]["address"]) == (0, "10.16.0.62/16")
        assert (await call("CHECK"))[0] == 0
        assert await call("DEL") == (0, None)
        status, error = await call("ADD", "unknown")
        assert (status != 0, error["code"]) == (True, 11)


async def test_socket_is_replaced_and_left_to_a_successor(tmp_path: Path) -> None:
    path = str(tmp_path / "cni.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    first, second = CniServer(None), CniServer(None)  # type: ignore[arg-type]
    await first.start(path)
    assert first.listening
    assert os.stat(path).st_mode & 0o777 == 0o600
    await second.start(path)
    assert (first.listening, second.listening) == (False, True)
    await first.stop()
    assert second.listening
    await second.stop()
    assert os.listdir(tmp_path) == []


PATHS = st.sampled_from(["/cni/v1", "/api/v1/add", "/api/v1/del", "/", "/nothing"])
DOCUMENTS = [json.dumps(CONF).encode(), b'{"cniVersion": "0.4.0", "ipam": 1}']
BODIES = st.binary(max_size=100) | st.sampled_from(DOCUMENTS)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


async def test_hostile_requests(switch: Switch) -> None:
    """Whatever a client sends, it gets an answer and the next client is served."""
    async with Rig(switch) as rig:
        loop = asyncio.get_running_loop()
        path = f"{switch.directory}/cni.sock"

        async def send(raw: bytes) -> bytes:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(raw)
            if not raw.startswith(b"POST"):
                writer.write_eof()  # no request can come of it any more
            try:
                async with asyncio.timeout(5):
                    return await reader.read()
            finally:
                writer.close()

        def post(target: str, fields: dict[str, str], body: bytes) -> bytes:
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            head += f"Host: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
            return f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body

        async def one(raw: bytes) -> None:
            answer = await send(raw)
            if raw.startswith(b"POST") or answer:
                assert answer.startswith(b"HTTP/1."), (raw, answer[:80])

        requests: list[bytes] = []
        names = st.sampled_from(["Cni-Command", "Cni-Containerid", "Cni-Netns", "Cni-Ifname", "Cni-Args"])
        commands = st.dictionaries(names, VALUES | st.sampled_from(["STATUS", "DEL", "GC"]), max_size=5)

        @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(raw=st.binary(max_size=200) | st.builds(post, PATHS, commands, BODIES))
        def collect(raw: bytes) -> None:
            requests.append(raw)

        collect()
        for raw in requests:
            await one(raw)
        status = post("/cni/v1", {"Cni-Command": "STATUS"}, json.dumps(CONF).encode())
        answer = await send(status)
        assert answer.startswith(b"HTTP/1.1 200")
        assert rig.service.active() == set()
        assert loop.is_running()
