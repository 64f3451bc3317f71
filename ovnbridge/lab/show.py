"""What the commands print: a lab's state, and what manifests do in it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ovnbridge.lab.client import Object
from ovnbridge.lab.errors import LabError
from ovnbridge.lab.lab import Lab
from ovnbridge.lab.matrix import Matrix
from ovnbridge.model.resource import DAEMON_SET, DEPLOYMENT, JOB, POD, SERVICE, STATEFUL_SET

_POLL = 0.2
_MATRIX_LIMIT = 40


def status_text(status: dict[str, Any]) -> str:
    """`lab status`."""
    options = status["options"]
    state = "up" if status["ready"] else "coming up"
    made_of = f"{options['nodes']} nodes, OVN {options['ovn']}, Kubernetes {options['kubernetes']}"
    lines = [f"lab {status['name']} is {state}: {made_of}"]
    if status["phases"]:
        lines.append("  phases: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in status["phases"].items()))
    width = max((len(component["name"]) for component in status["components"]), default=0)
    for component in status["components"]:
        pid = component["pid"] or "-"
        lines.append(f"  {component['name']:<{width}}  {pid!s:>7}  {component['state']}")
    lines += [f"  FAILED {failure}" for failure in status["failures"]]
    return "\n".join(lines)


async def run_manifests(lab: Lab, files: Sequence[str], timeout: float) -> bool:
    """Applies, waits and shows; returns whether everything became available and reachable."""
    started = time.monotonic()
    for file in files:
        print(await lab.kubectl("apply", "-f", file), end="")
    waiting = await _wait(lab, timeout)
    print(f"\n{'everything is available' if not waiting else 'NOT available: ' + ', '.join(waiting)}", end=" ")
    print(f"after {time.monotonic() - started:.1f} s\n")
    print(await lab.kubectl("get", "nodes", "-o", "wide"))
    print(await lab.kubectl("get", "pods", "--all-namespaces", "-o", "wide"))
    print(await lab.kubectl("get", "services", "--all-namespaces"))
    if waiting:
        pods = [pod for pod in await lab.items(POD) if _not_ready(pod)]
        print(await lab.why(pods, timeout))
    reached = await _show_reach(lab)
    _show_words(await lab.words(), await lab.items(SERVICE))
    good = reached and not waiting
    verdict = "every workload is available and every pod reached" if good else "FAILED, see above"
    print(f"\n{verdict}; {time.monotonic() - started:.1f} s since the first manifest")
    return good


async def _wait(lab: Lab, timeout: float) -> list[str]:
    """Returns what is not available when time is up."""
    deadline = time.monotonic() + timeout
    while True:
        waiting: list[str] = []
        failed: list[str] = []
        for resource in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, JOB):
            for value in await lab.items(resource):
                if not _available(resource.kind, value):
                    hopeless = resource is JOB and _has(value.get("status") or {}, "Failed")
                    (failed if hopeless else waiting).append(f"{resource.kind} {value['metadata']['name']}")
        waiting += [f"Pod {pod['metadata']['name']}" for pod in await lab.items(POD) if _not_ready(pod)]
        if not waiting or time.monotonic() > deadline:
            return failed + waiting
        await asyncio.sleep(_POLL)


def _available(kind: str, value: Object) -> bool:
    spec, status = value["spec"], value.get("status") or {}
    if kind == "Job":
        return _has(status, "Complete")
    if (status.get("observedGeneration") or 0) < value["metadata"].get("generation", 1):
        return False
    if kind == "DaemonSet":
        return bool(status.get("numberAvailable", 0) >= status.get("desiredNumberScheduled", 0))
    wanted = spec.get("replicas", 1)
    return bool(status.get("availableReplicas", 0) >= wanted and status.get("updatedReplicas", 0) >= wanted)


def _has(status: Object, kind: str) -> bool:
    return any(found["type"] == kind and found["status"] == "True" for found in status.get("conditions") or ())


def _not_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in {"Succeeded", "Failed"}:
        return False
    return not _has(status, "Ready")


async def _show_reach(lab: Lab) -> bool:
    """Pings and TCP connections between all; returns whether all were answered."""
    pods = sorted(await lab.remote.sandboxes())
    if not pods:
        return True
    if len(pods) > _MATRIX_LIMIT:
        print(f"(no reachability: {len(pods)} pods, shown up to {_MATRIX_LIMIT})")
        return True
    try:
        pings, connections = await lab.ping_matrix(pods), await _connections(lab, pods)
    except LabError as error:  # a pod that ended meanwhile
        print(f"no reachability: {error}")
        return True
    print(f"ping from each pod and node to each pod: {len(pings.failures)} of {len(pings.answers)} without answer")
    print(pings.table())
    failed, asked = len(connections.failures), len(connections.answers)
    print(f"\nTCP from each pod and node to each pod's declared ports: {failed} of {asked} without answer")
    if asked:
        print(connections.table())
    return pings.ok and connections.ok


async def _connections(lab: Lab, pods: list[str]) -> Matrix:
    """TCP connections to the ports that pods declare; a pair counts when all its ports answer."""
    ports: dict[int, list[str]] = defaultdict(list)
    for pod in await lab.items(POD):
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if key in pods and port.get("protocol", "TCP") == "TCP" and key not in ports[port["containerPort"]]:
                    ports[port["containerPort"]].append(key)
    answers: dict[tuple[str, str], bool] = {}
    for number, targets in sorted(ports.items()):
        for pair, answered in (await lab.ping_matrix(pods, tcp_port=number, targets=targets)).answers.items():
            answers[pair] = answers.get(pair, True) and answered
    return Matrix(answers)


def _show_words(words: dict[str, list[str]], services: list[Object]) -> None:
    """What was stood in for, each sentence once, with the pods that it is about."""
    pods = defaultdict(list)
    for pod, sentences in sorted(words.items()):
        for sentence in sentences:
            pods[sentence].append(pod.removeprefix("default/"))
    pending = [
        service["metadata"]["name"]
        for service in services
        if service["spec"].get("type") == "LoadBalancer"
        and not ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    ]
    if pending:
        pods["no load balancer outside the cluster gives this Service an address"] = pending
    if not pods:
        return
    print("\nnot as in a real cluster:")
    for sentence, names in pods.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        print(f"  {sentence} ({shown})")
