"""Names of Services for the programs in pods, in their /etc/hosts: there is no DNS server in a lab.

A Service without an address of its own (headless) leads to its first ready pod, and each of its named pods has its
name. Where two namespaces have a Service of the same name, the short one is that of `default`, or of the first
namespace.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ovnbridge.lab.client import Object
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import ENDPOINT_SLICE, SERVICE

_DOMAIN = "svc.cluster.local"


class ServiceNames(Reconciler):
    """Keeps one hosts file, which all pods share."""

    name = "service-names"

    def __init__(self, informers: Informers, hosts: Path) -> None:
        super().__init__(informers)
        self._hosts = hosts
        self._base = hosts.read_text() if hosts.exists() else "127.0.0.1 localhost\n"
        self._written = ""
        self._services = informers[SERVICE]
        self._slices = informers[ENDPOINT_SLICE]
        for informer in (self._services, self._slices):
            informer.subscribe(lambda _old, _new: self.add("hosts"))

    async def reconcile(self, key: str) -> None:
        text = self._base + "".join(hosts_lines(self._services.objects.values(), self._slices.objects.values()))
        if text != self._written:
            self._hosts.write_text(text)
            self._written = text


def hosts_lines(services: Iterable[Object], slices: Iterable[Object]) -> list[str]:
    """The lines, in a stable order; `default` comes first, and a resolver takes the first match."""
    by_service: dict[str, list[Object]] = {}
    for value in slices:
        service = (value["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        by_service.setdefault(f"{value['metadata']['namespace']}/{service}", []).extend(value.get("endpoints") or ())
    lines = []
    for service in sorted(services, key=_order):
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        full = f"{name}.{namespace}.{_DOMAIN}"
        names = f"{full} {name}.{namespace}.svc {name}.{namespace} {name}"
        addresses = [ip for ip in service["spec"].get("clusterIPs") or () if ip != "None"]
        if not addresses:
            endpoints = [one for one in by_service.get(f"{namespace}/{name}", ()) if one["conditions"].get("ready")]
            for endpoint in endpoints:
                if endpoint.get("hostname"):
                    pod = endpoint["hostname"]
                    lines.append(f"{endpoint['addresses'][0]} {pod}.{full} {pod}.{name}.{namespace} {pod}.{name}\n")
            addresses = [endpoints[0]["addresses"][0]] if endpoints else []
        lines += [f"{address} {names}\n" for address in addresses]
    return lines


def _order(service: Object) -> tuple[bool, str, str]:
    metadata = service["metadata"]
    return metadata["namespace"] != "default", metadata["namespace"], metadata["name"]
