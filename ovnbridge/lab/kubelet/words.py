"""What of a pod the lab does not do, in words: for the end of `lab run` and for Events of reason StoodIn."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from ovnbridge.lab.client import Object
from ovnbridge.lab.kubelet.container import declared_ports, program_of

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def words_of(pod: Object) -> list[str]:
    """Everything that is known before the pod runs."""
    spec = pod["spec"]
    found = [sentence for container in spec.get("containers") or () for sentence in _container(container, spec)]
    for container in spec.get("initContainers") or ():
        if program_of(container) is None:
            found.append(f"init container {container['name']}: {_missing(container)}; it counts as done")
    volumes = [
        volume["name"] for volume in spec.get("volumes") or () if not volume["name"].startswith("kube-api-access-")
    ]
    if volumes:
        found.append(f"volumes are not mounted: {', '.join(volumes)}")
    return found


def skipped_words(pod: Object, plugins: Sequence[str]) -> list[str]:
    """CNI plug-ins that are not installed; portmap matters only to a pod with host ports."""
    ports = [
        str(port["hostPort"])
        for container in pod["spec"].get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]
    found = [f"the CNI plug-in {plugin} is not installed and was skipped" for plugin in plugins if plugin != "portmap"]
    if ports and "portmap" in plugins:
        found.append(f"the CNI plug-in portmap is not installed: host ports {', '.join(ports)} lead nowhere")
    return found


def _container(container: Object, spec: Object) -> list[str]:
    name = container["name"]
    found = []
    if program_of(container) is None:
        ports = declared_ports(container)
        served = ", ".join(f"{protocol} {port}" for protocol, port in ports if protocol in {"TCP", "UDP"})
        if served:
            instead = f"a server that names the pod answers on {served}"
        elif (spec.get("restartPolicy") or "Always") == "Always":
            instead = "nothing runs in its place (it declares no ports)"
        else:
            instead = "it counts as completed"
        found.append(f"container {name}: {_missing(container)}; {instead}")
        unserved = ", ".join(f"{protocol} {port}" for protocol, port in ports if protocol not in {"TCP", "UDP"})
        if unserved:
            found.append(f"container {name}: nothing answers on {unserved}")
    elif _user(container) or _user(spec):
        found.append(f"container {name}: its program runs as root, whatever securityContext says")
    for kind in _PROBES:
        probe = container.get(kind) or {}
        if "grpc" in probe:
            found.append(f"container {name}: its gRPC {kind} is only a TCP connection")
        command = (probe.get("exec") or {}).get("command")
        if command and shutil.which(command[0]) is None:
            missing = f"the command of its {kind}, {command[0]}, is not on this machine"
            found.append(f"container {name}: {missing} and counts as passed")
        if (probe.get("httpGet") or {}).get("scheme") == "HTTPS":
            found.append(f"container {name}: its HTTPS {kind} is only a TCP connection")
    return found


def _user(spec: Object) -> bool:
    context = spec.get("securityContext") or {}
    return bool(context.get("runAsUser") or context.get("runAsNonRoot"))


def _missing(container: Object) -> str:
    command = container.get("command")
    if command:
        return f"the program {command[0]} is not on this machine"
    return f"the image {container.get('image', '')} is not run, and names its own program"
