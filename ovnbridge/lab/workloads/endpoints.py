"""The EndpointSlice stand-in: the pods behind each Service that has a selector."""

from __future__ import annotations

import ipaddress
from collections import defaultdict

from ovnbridge.lab.client import ApiError, Object
from ovnbridge.lab.informer import Informers, key_of
from ovnbridge.lab.workloads.common import owner_reference, phase, ready
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import ENDPOINT_SLICE, POD, SERVICE

_MANAGER = "endpointslice-controller.k8s.io"
_LIMIT = 1000

Ports = tuple[tuple[str, str, int], ...]
"""(name, protocol, number), as a pod resolves a Service's target ports."""


class EndpointSlices(Reconciler):
    """One slice for each address family and set of ports; names are derived, so that nothing is made twice."""

    name = "endpointslice-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._services = self.follow(SERVICE)
        self._slices = self.follow_owned(ENDPOINT_SLICE, SERVICE.kind)
        self._pods = informers[POD]
        self._pods.subscribe(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        value = new or old or {}
        for service in self._services.in_namespace(value["metadata"]["namespace"]):
            if any(pod is not None and _selects(service, pod) for pod in (old, new)):
                self.add(key_of(service))

    async def reconcile(self, key: str) -> None:
        service = self._services.get(key)
        if service is None or service["metadata"].get("deletionTimestamp"):
            return
        wanted = self._wanted(service) if service["spec"].get("selector") else {}
        existing = {value["metadata"]["name"]: value for value in self._slices.owned(service["metadata"]["uid"])}
        if not service["spec"].get("selector") and not existing:
            return
        for name, made in wanted.items():
            await self._write(existing.get(name), made)
        for name, value in existing.items():
            managed = (value["metadata"].get("labels") or {}).get("endpointslice.kubernetes.io/managed-by") == _MANAGER
            if name not in wanted and managed:
                await self.client.delete(ENDPOINT_SLICE, value["metadata"]["namespace"], name)
                self._slices.observe_deleted(value)

    async def _write(self, before: Object | None, made: Object) -> None:
        if before is None:
            self._slices.observe(await self.client.create(ENDPOINT_SLICE, made))
            return
        if all(_plain(before.get(field)) == _plain(made[field]) for field in ("endpoints", "ports")):
            return
        value = {**before, "endpoints": made["endpoints"], "ports": made["ports"]}
        try:
            self._slices.observe(await self.client.update(ENDPOINT_SLICE, value))
        except ApiError as error:
            if not error.not_found:
                raise

    def _wanted(self, service: Object) -> dict[str, Object]:
        groups: defaultdict[tuple[str, Ports], list[Object]] = defaultdict(list)
        families = service["spec"].get("ipFamilies") or ["IPv4"]
        for pod in self._pods.in_namespace(service["metadata"]["namespace"]):
            if not _selects(service, pod) or phase(pod) in {"Succeeded", "Failed"}:
                continue
            ports = _ports(service, pod)
            for family, endpoint in _endpoints(service, pod):
                if family in families:
                    groups[family, ports].append(endpoint)
        for family in families:
            if not any(kind == family for kind, _ in groups):
                groups[family, ()] = []
        found = {}
        counts: defaultdict[str, int] = defaultdict(int)
        for (family, ports), endpoints in sorted(groups.items(), key=lambda group: group[0]):
            endpoints.sort(key=lambda endpoint: str(endpoint["targetRef"]["name"]))
            for start in range(0, len(endpoints) or 1, _LIMIT):
                counts[family] += 1
                suffix = "" if counts[family] == 1 else f"-{counts[family]}"
                name = f"{service['metadata']['name']}-{family.lower()}{suffix}"
                found[name] = _slice(service, name, family, ports, endpoints[start : start + _LIMIT])
        return found


def _slice(service: Object, name: str, family: str, ports: Ports, endpoints: list[Object]) -> Object:
    labels = {
        **(service["metadata"].get("labels") or {}),
        "kubernetes.io/service-name": service["metadata"]["name"],
        "endpointslice.kubernetes.io/managed-by": _MANAGER,
    }
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return {
        "metadata": {
            "name": name,
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service, SERVICE)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": port_name, "protocol": protocol, "port": number} for port_name, protocol, number in ports],
    }


def _endpoints(service: Object, pod: Object) -> list[tuple[str, Object]]:
    metadata, found = pod["metadata"], []
    serving, terminating = ready(pod), bool(metadata.get("deletionTimestamp"))
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    for entry in (pod.get("status") or {}).get("podIPs") or ():
        endpoint: Object = {
            "addresses": [entry["ip"]],
            "conditions": {
                "ready": published or (serving and not terminating),
                "serving": serving or published,
                "terminating": terminating,
            },
            "nodeName": pod["spec"].get("nodeName", ""),
            "targetRef": {
                "kind": "Pod",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        named = pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]
        if named:
            endpoint["hostname"] = pod["spec"]["hostname"]
        found.append(("IPv6" if ipaddress.ip_address(entry["ip"]).version == 6 else "IPv4", endpoint))
    return found


def _ports(service: Object, pod: Object) -> Ports:
    found = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort", port["port"])
        number = target if isinstance(target, int) else _named(pod, target, protocol)
        if number is not None:
            found.append((port.get("name") or "", protocol, number))
    return tuple(found)


def _named(pod: Object, name: str, protocol: str) -> int | None:
    for container in (*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())):
        for port in container.get("ports") or ():
            if port.get("name") == name and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return int(name) if name.isdecimal() else None


def _selects(service: Object, pod: Object) -> bool:
    selector = service["spec"].get("selector")
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _facts(pod: Object) -> tuple[object, ...]:
    """What of a pod an endpoint depends on."""
    metadata = pod["metadata"]
    addresses = (pod.get("status") or {}).get("podIPs")
    ends = (bool(metadata.get("deletionTimestamp")), phase(pod) in {"Succeeded", "Failed"})
    return metadata["uid"], metadata.get("labels"), pod["spec"].get("nodeName"), addresses, ready(pod), ends


def _plain(value: object) -> object:
    """Without the nulls and empty fields that a server may leave out."""
    if isinstance(value, dict):
        return {key: _plain(field) for key, field in value.items() if field not in (None, "")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value or []
