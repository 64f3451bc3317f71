"""The runtime's side of the CNI protocol: runs the plug-ins of the node's network configuration on the node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ovnbridge.lab.client import Object
from ovnbridge.lab.kubelet.environment import NodeEnvironment
from ovnbridge.lab.namespaces import NETNS_DIRECTORY

_TIMEOUT = 120.0
_AT_ONCE = 64
"""So many that those which wait for something do not hold up the rest."""
_DEFAULT_VERSION = "0.3.1"


class CniError(RuntimeError):
    """A plug-in refused, or there is no network configuration yet."""


@dataclass(kw_only=True)
class Sandbox:
    """One pod's network namespace and what the plug-ins made of it."""

    container_id: str
    netns: str
    addresses: tuple[str, ...] = ()
    result: Object = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


class Network:
    """CNI on one node."""

    def __init__(self, environment: NodeEnvironment) -> None:
        self._environment = environment
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def add(self, sandbox: Sandbox, pod: Object) -> None:
        """ADD of every plug-in; fills in the sandbox's addresses."""
        async with self._slots:
            await self._add(sandbox, pod)

    async def _add(self, sandbox: Sandbox, pod: Object) -> None:
        configuration = self._configuration()
        previous: Object | None = None
        skipped = []
        for plugin in configuration["plugins"]:
            if self._binary(plugin) is None:
                skipped.append(str(plugin.get("type")))
                continue
            previous = await self._execute("ADD", configuration, plugin, previous, sandbox, pod)
        if previous is None:
            raise CniError(f"none of the plug-ins of {configuration['name']} is in {self._environment.cni_binaries}")
        sandbox.result = previous
        sandbox.skipped = tuple(skipped)
        sandbox.addresses = tuple(entry["address"].partition("/")[0] for entry in previous.get("ips") or ())
        if not sandbox.addresses:
            raise CniError("the plug-in's result has no address")

    async def delete(self, sandbox: Sandbox, pod: Object) -> None:
        """DEL of every plug-in, last one first."""
        try:
            configuration = self._configuration()
        except CniError:
            return  # nothing was ever added
        for plugin in reversed(configuration["plugins"]):
            if self._binary(plugin) is not None:
                await self._execute("DEL", configuration, plugin, sandbox.result or None, sandbox, pod)

    @property
    def ready(self) -> bool:
        """Whether the node has a network configuration."""
        try:
            self._configuration()
        except CniError:
            return False
        return True

    def check(self) -> None:
        """Raises when the node has no network configuration yet."""
        self._configuration()

    def _configuration(self) -> Object:
        """The first configuration by file name, as every runtime chooses it."""
        for path in sorted(self._environment.cni_configuration.glob("*")):
            if path.suffix not in {".conflist", ".conf", ".json"}:
                continue
            try:
                value = orjson.loads(path.read_bytes())
            except (orjson.JSONDecodeError, FileNotFoundError):
                continue  # being written
            if "plugins" in value:
                return dict(value)
            return {"name": value.get("name", ""), "cniVersion": value.get("cniVersion"), "plugins": [value]}
        raise CniError(f"network not ready: no network configuration in {self._environment.cni_configuration}")

    def _binary(self, plugin: Object) -> Path | None:
        path = self._environment.cni_binaries / str(plugin.get("type"))
        return path if os.access(path, os.X_OK) else None

    async def _execute(
        self,
        command: str,
        configuration: Object,
        plugin: Object,
        previous: Object | None,
        sandbox: Sandbox,
        pod: Object,
    ) -> Object:
        binary = self._binary(plugin)
        assert binary is not None
        stdin: dict[str, Any] = {
            **plugin,
            "name": configuration.get("name"),
            "cniVersion": configuration.get("cniVersion") or _DEFAULT_VERSION,
        }
        if previous is not None:
            stdin["prevResult"] = previous
        process = await asyncio.create_subprocess_exec(
            *self._environment.holder.enter(str(binary)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self._variables(command, sandbox, pod)},
        )
        try:
            async with asyncio.timeout(_TIMEOUT):
                out, error = await process.communicate(orjson.dumps(stdin))
        except TimeoutError:
            raise CniError(f"plug-in {plugin['type']}: no answer to {command} after {_TIMEOUT:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            raise CniError(f"plug-in {plugin['type']} {command}: {_complaint(out, error, process.returncode)}")
        if command != "ADD":
            return {}
        try:
            answer = orjson.loads(out)
        except orjson.JSONDecodeError:
            raise CniError(f"plug-in {plugin['type']} {command}: its answer is not JSON: {out[:200]!r}") from None
        if not isinstance(answer, dict):
            raise CniError(f"plug-in {plugin['type']} {command}: its answer is not an object")
        return answer

    def _variables(self, command: str, sandbox: Sandbox, pod: Object) -> dict[str, str]:
        metadata = pod["metadata"]
        arguments = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": metadata["namespace"],
            "K8S_POD_NAME": metadata["name"],
            "K8S_POD_INFRA_CONTAINER_ID": sandbox.container_id,
            "K8S_POD_UID": metadata["uid"],
        }
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sandbox.container_id,
            "CNI_NETNS": str(NETNS_DIRECTORY / sandbox.netns),
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
            "CNI_PATH": str(self._environment.cni_binaries),
        }


def _complaint(out: bytes, error: bytes, status: int) -> str:
    """The error of the protocol, or whatever there is."""
    with contextlib.suppress(orjson.JSONDecodeError):
        value = orjson.loads(out)
        if isinstance(value, dict) and "msg" in value:
            details = f": {value['details']}" if value.get("details") else ""
            return f"{value['msg']}{details} (code {value.get('code')})"
    text = (error or out).decode(errors="replace").strip()
    return text[-500:] or f"status {status}"
