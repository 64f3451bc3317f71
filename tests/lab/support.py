"""Helpers of the lab's tests: a network for pods without our roles, and a look at what a lab leaves on the host."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ovnbridge.lab import Lab
from ovnbridge.model.resource import POD

FAKE_PLUGIN = Path(__file__).parent / "fake_cni.sh"
NAMES = ("central", "fabric", "node1", "node2", "node3")


def install_fake_network(lab: Lab) -> None:
    for node in lab.node_names:
        configuration, binaries = lab.cni_directories(node)
        shutil.copy(FAKE_PLUGIN, binaries / "fake")
        plugins = [{"type": "fake"}, {"type": "portmap", "capabilities": {"portMappings": True}}]
        conflist = {"name": "fake", "cniVersion": "0.3.1", "plugins": plugins}
        temporary = configuration / "tmp"
        temporary.write_text(json.dumps(conflist))
        temporary.rename(configuration / "10-fake.conflist")


def fake_calls(lab: Lab, node: str) -> list[list[str]]:
    """(command, pod, container id) of each call of the fake plug-in."""
    calls = lab.cni_directories(node)[1] / "state" / "calls"
    return [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []


def pod(name: str, **spec: Any) -> str:
    container = {"name": "c", "image": "nginx", **spec.pop("container", {})}
    labels = spec.pop("labels", {"app": name})
    value = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], **spec},
    }
    return f"---\n{json.dumps(value)}\n"  # a document of YAML: kubectl 1.36 takes what begins with a brace as all JSON


async def until(condition: Callable[[], Any], what: str, timeout: float = 20) -> Any:
    """Waits for a condition (may be a coroutine function); returns its first true value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        await asyncio.sleep(0.02)


async def get_pod(lab: Lab, name: str) -> dict[str, Any] | None:
    found = [value for value in await lab.items(POD, "default") if value["metadata"]["name"] == name]
    return found[0] if found else None


def leftovers(name: str) -> list[str]:
    """What of a lab is on the host: its directory, processes that name it, namespaces, links and mounts."""
    directory = f"/run/ovnbridge-lab/{name}"
    found = [directory] if os.path.exists(directory) else []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != os.getpid():
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if directory in line or f"ovnbridge.lab.supervise {name} " in line:
                found.append(f"process {entry}: {line}")
    netns = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    found += [f"netns {line}" for line in netns if line in NAMES or line.startswith("cni-")]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    found += [f"link {end}" for end in NAMES for prefix in ("u-", "x-") if f" {prefix}{end}" in links]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "ovnbridge-lab" in line]
    return found
