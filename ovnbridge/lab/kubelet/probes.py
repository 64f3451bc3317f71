"""Probes, made from the node as a kubelet does. gRPC ones are TCP connections only: a stand-in speaks no gRPC."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

from ovnbridge.lab.client import Object
from ovnbridge.lab.kubelet.container import declared_ports
from ovnbridge.lab.kubelet.environment import NodeEnvironment


async def probe(environment: NodeEnvironment, netns: str, address: str, container: Object, check: Object) -> bool:
    """Whether one attempt of a probe succeeds."""
    timeout = float(check.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(timeout):
            if "exec" in check:
                return await _execute(environment, netns, check["exec"].get("command") or [])
            for kind in ("httpGet", "tcpSocket", "grpc"):
                if kind in check:
                    target = check[kind]
                    port = port_number(container, target["port"])
                    host = target.get("host") or address
                    return port is not None and await _connect(
                        environment, host, port, target if kind == "httpGet" else None
                    )
    except (TimeoutError, OSError):
        return False
    return True


def port_number(container: Object, port: int | str) -> int | None:
    """A port by number or by the name that the container gave it."""
    if isinstance(port, int):
        return port
    for (_, number), declared in zip(declared_ports(container), container.get("ports") or (), strict=True):
        if declared.get("name") == port:
            return number
    return int(port) if port.isdecimal() else None


async def _connect(environment: NodeEnvironment, address: str, port: int, request: Object | None) -> bool:
    opened = await environment.namespaces.connect(environment.name, address, port)
    if request is None or (request.get("scheme") or "HTTP") != "HTTP":
        opened.close()
        return True
    reader, writer = await asyncio.open_connection(sock=opened)
    try:
        host = f"[{address}]" if ":" in address else address
        path = request.get("path") or "/"
        headers = "".join(f"{header['name']}: {header['value']}\r\n" for header in request.get("httpHeaders") or ())
        fixed = f"Host: {host}:{port}\r\nUser-Agent: kube-probe/lab\r\nConnection: close\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\n{fixed}{headers}\r\n".encode())
        status = (await reader.readline()).split()
        return len(status) > 1 and status[1].isdigit() and 200 <= int(status[1]) < 400
    finally:
        writer.close()


async def _execute(environment: NodeEnvironment, netns: str, command: list[str]) -> bool:
    if not command or shutil.which(command[0]) is None:
        return True  # said in words by the pod
    process = await asyncio.create_subprocess_exec(
        *environment.pod_root.enter(*command, netns=netns),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
