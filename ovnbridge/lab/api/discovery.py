"""The discovery documents: `/api`, `/apis` (old style and aggregated), `/apis/G`, `/apis/G/V`, `/version`."""

from __future__ import annotations

from .errors import Object
from .resources import Registry, Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Discovery:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def version(self) -> Object:
        text = self._registry.server_version
        major, minor = text.removeprefix("v").split(".")[:2]
        return {
            "major": major,
            "minor": minor,
            "gitVersion": f"{text}+embedded",
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "",
            "platform": "linux/amd64",
        }

    def _versions(self) -> dict[str, dict[str, list[Resource]]]:
        groups: dict[str, dict[str, list[Resource]]] = {}
        for resource in self._registry:
            groups.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
        return groups

    def aggregated(self, *, core: bool) -> Object:
        items = [
            {
                "metadata": {"name": group, "creationTimestamp": None},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Current",
                        "resources": [self._aggregated_resource(resource) for resource in resources],
                    }
                    for version, resources in versions.items()
                ],
            }
            for group, versions in self._versions().items()
            if (group == "") is core
        ]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}

    @staticmethod
    def _aggregated_resource(resource: Resource) -> Object:
        subresources = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs,
            }
            for sub in resource.subresources.values()
        ]
        document: Object = {
            "resource": resource.plural,
            "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": resource.singular,
            "verbs": resource.verbs,
        }
        for name, value in (
            ("shortNames", resource.short_names),
            ("categories", resource.categories),
            ("subresources", subresources),
        ):
            if value:
                document[name] = value
        return document

    def core_versions(self) -> Object:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}

    def groups(self) -> Object:
        listed = [self._group(group, list(versions)) for group, versions in self._versions().items() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}

    def group(self, name: str) -> Object | None:
        versions = self._versions().get(name)
        if versions is None:
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name, list(versions))}

    @staticmethod
    def _group(name: str, versions: list[str]) -> Object:
        listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"name": name, "versions": listed, "preferredVersion": listed[0]}

    def resources(self, group: str, version: str) -> Object | None:
        found = self._versions().get(group, {}).get(version)
        if found is None:
            return None
        listed: list[Object] = []
        for resource in found:
            entry: Object = {
                "name": resource.plural,
                "singularName": resource.singular,
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": resource.verbs,
            }
            if resource.short_names:
                entry["shortNames"] = resource.short_names
            if resource.categories:
                entry["categories"] = resource.categories
            listed.append(entry)
            for sub in resource.subresources.values():
                entry = {
                    "name": f"{resource.plural}/{sub.name}",
                    "singularName": "",
                    "namespaced": resource.namespaced,
                    "kind": sub.kind,
                    "verbs": sub.verbs,
                }
                if (sub.group, sub.version) != (group, version):
                    entry.update(group=sub.group, version=sub.version)
                listed.append(entry)
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}
