"""The environment variables of a container: values, fields of the pod, ConfigMaps and Secrets."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ovnbridge.lab.client import ApiError, Client, Object
from ovnbridge.lab.kubelet.container import expand
from ovnbridge.model.resource import CONFIG_MAP, Resource

SECRET = Resource("", "v1", "secrets", "Secret", True)


async def variables_of(
    client: Client, pod: Object, container: Object, addresses: Sequence[str], host: str
) -> dict[str, str]:
    """Resolved in the order of declaration; a later value may use an earlier one as `$(NAME)`."""
    source = _Source(client, pod, addresses, host)
    found: dict[str, str] = {"HOSTNAME": pod["metadata"]["name"]}
    for entry in container.get("envFrom") or ():
        for kind, resource in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
            if kind in entry:
                data = await source.data(resource, entry[kind]["name"], optional=bool(entry[kind].get("optional")))
                found |= {f"{entry.get('prefix') or ''}{key}": value for key, value in data.items()}
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            found[entry["name"]] = await source.value(entry["valueFrom"])
        else:
            found[entry["name"]] = expand(entry.get("value") or "", found)
    return found


class _Source:
    def __init__(self, client: Client, pod: Object, addresses: Sequence[str], host: str) -> None:
        self._client = client
        self._pod = pod
        self._addresses = addresses
        self._host = host

    async def value(self, reference: Object) -> str:
        if "fieldRef" in reference:
            return self._field(reference["fieldRef"]["fieldPath"])
        for kind, resource in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
            if kind in reference:
                selector = reference[kind]
                data = await self.data(resource, selector["name"], optional=bool(selector.get("optional")))
                return data.get(selector["key"], "")
        return "0"  # resourceFieldRef: nothing is limited here

    async def data(self, resource: Resource, name: str, *, optional: bool) -> dict[str, str]:
        try:
            value = await self._client.get(resource, self._pod["metadata"]["namespace"], name)
        except ApiError as error:
            if error.not_found and optional:
                return {}
            raise
        data = value.get("data") or {}
        if resource is CONFIG_MAP:
            return dict(data)
        return {key: base64.b64decode(text).decode(errors="replace") for key, text in data.items()}

    def _field(self, path: str) -> str:
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        for field in ("labels", "annotations"):
            if path.startswith(f"metadata.{field}['"):
                return str((metadata.get(field) or {}).get(path.partition("'")[2].rstrip("']"), ""))
        fields = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": spec["nodeName"],
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
            "status.hostIP": self._host,
            "status.hostIPs": self._host,
            "status.podIP": next(iter(self._addresses), ""),
            "status.podIPs": ",".join(self._addresses),
        }
        return str(fields.get(path, ""))
