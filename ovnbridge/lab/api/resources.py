"""The registry of what is served: builtin resources from the real server's data, others from CRDs.

A `Resource` is one served version of one kind, with its compiled schema; the objects live in a `Collection`
of the store, in storage form.  `requests` looks resources up, `crds` installs and removes them.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources as package_data
from typing import Any

import orjson

from . import jsonpath
from .errors import Object
from .report import Check
from .schema import Compiler
from .store import Collection, FieldReader, Store

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}


@dataclass(frozen=True, slots=True)
class Subresource:
    name: str
    kind: str
    group: str
    version: str
    verbs: list[str]


@dataclass(eq=False, slots=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    singular: str
    list_kind: str
    namespaced: bool
    short_names: list[str]
    categories: list[str]
    verbs: list[str]
    schema: Mapping[str, Any]
    check: Check | None
    collection: Collection
    subresources: dict[str, Subresource] = field(default_factory=dict)
    definition: Object | None = None
    """The version's entry in the CRD, for a custom resource."""
    to_storage: Callable[[Object], Object] | None = None
    from_storage: Callable[[Object], Object] | None = None

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def builtin(self) -> bool:
        return self.definition is None

    def text(self, data: bytes) -> bytes:
        """The stored text as this version shows it."""
        return data if self.from_storage is None else orjson.dumps(self.from_storage(orjson.loads(data)))

    def decode(self, data: bytes) -> Object:
        obj: Object = orjson.loads(data)
        return obj if self.from_storage is None else self.from_storage(obj)

    def stored(self, obj: Object) -> Object:
        return obj if self.to_storage is None else self.to_storage(obj)


def load_data() -> Object:
    packed = package_data.files(__package__).joinpath("data/openapi.json.gz").read_bytes()
    data: Object = orjson.loads(gzip.decompress(packed))
    return data


class Registry:
    def __init__(self, store: Store) -> None:
        data = load_data()
        self.server_version: str = data["version"]
        self.definitions: dict[str, Any] = data["definitions"]
        self.store = store
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self.generation = 0
        """Counts changes of what is served, so that documents made from the registry can be cached."""
        compiler = Compiler(self.definitions, builtin=True)
        kinds = {
            (gvk["group"], gvk["version"], gvk["kind"]): name
            for name, schema in self.definitions.items()
            for gvk in schema.get("x-kubernetes-group-version-kind", ())
        }
        for group_version, listed in data["groups"].items():
            group, _, version = group_version.rpartition("/")
            self._add_builtin(group, version, listed, compiler, kinds)
        core_events, new_events = self.find("", "v1", "events"), self.find("events.k8s.io", "v1", "events")
        assert core_events is not None
        assert new_events is not None
        new_events.collection = core_events.collection
        new_events.to_storage, new_events.from_storage = _core_event, _new_event

    def _add_builtin(
        self,
        group: str,
        version: str,
        listed: list[Object],
        compiler: Compiler,
        kinds: Mapping[tuple[str, str, str], str],
    ) -> None:
        for item in listed:
            plural, _, sub = item["name"].partition("/")
            if sub:
                found = self._resources[group, version, plural]
                found.subresources[sub] = Subresource(
                    sub, item["kind"], item.get("group", group), item.get("version", version), item["verbs"]
                )
                continue
            schema = {"$ref": kinds[group, version, item["kind"]]}
            resource = Resource(
                group=group,
                version=version,
                plural=plural,
                kind=item["kind"],
                singular=item["singularName"],
                list_kind=item["kind"] + "List",
                namespaced=item["namespaced"],
                short_names=item.get("shortNames", []),
                categories=item.get("categories", []),
                verbs=item["verbs"],
                schema=schema,
                check=compiler.compile(schema),
                collection=self.store.collection(group, plural),
            )
            resource.collection.field_readers.update(
                {path: _text_reader(path) for path in BUILTIN_FIELDS.get((group, plural), ())}
            )
            self._resources[group, version, plural] = resource

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._resources.get((group, version, plural))

    def get(self, group: str, version: str, plural: str) -> Resource:
        return self._resources[group, version, plural]

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources.values())

    def storage_view(self, collection: Collection) -> Resource:
        """A resource through which a collection can be written: builtin, or any served version."""
        return next(resource for resource in self if resource.collection is collection)

    def install(self, crd: Object) -> None:
        """Serves the versions of a CRD and stops serving those that it no longer has."""
        spec = crd["spec"]
        group, names = spec["group"], spec["names"]
        self._forget(group, names["plural"])
        collection = self.store.collection(group, names["plural"])
        collection.field_readers.clear()
        storage = next(version["name"] for version in spec["versions"] if version["storage"])
        for version in spec["versions"]:
            collection.field_readers.update(_selectable_fields(version))
            if version["served"]:
                resource = _custom_resource(spec, version, collection, storage)
                self._resources[group, version["name"], names["plural"]] = resource
        self.generation += 1

    def uninstall(self, crd: Object) -> None:
        self._forget(crd["spec"]["group"], crd["spec"]["names"]["plural"])
        self.generation += 1

    def _forget(self, group: str, plural: str) -> None:
        for key in [key for key in self._resources if (key[0], key[2]) == (group, plural)]:
            del self._resources[key]


def _custom_resource(spec: Object, version: Object, collection: Collection, storage: str) -> Resource:
    names, group = spec["names"], spec["group"]
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    if spec.get("preserveUnknownFields"):
        schema = {**schema, "x-kubernetes-preserve-unknown-fields": True}
    resource = Resource(
        group=group,
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        singular=names["singular"],
        list_kind=names["listKind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=names.get("shortNames", []),
        categories=names.get("categories", []),
        verbs=VERBS,
        schema=schema,
        check=Compiler({}, builtin=False).compile(schema, root=True),
        collection=collection,
        definition=version,
    )
    verbs = ["get", "patch", "update"]
    for name in version.get("subresources") or {}:
        if name == "scale":
            resource.subresources[name] = Subresource(name, "Scale", "autoscaling", "v1", verbs)
        else:
            resource.subresources[name] = Subresource(name, names["kind"], group, version["name"], verbs)
    if len(spec["versions"]) > 1:
        resource.from_storage = _relabel(f"{group}/{version['name']}")
        resource.to_storage = _relabel(f"{group}/{storage}")
    return resource


def _relabel(group_version: str) -> Callable[[Object], Object]:
    return lambda obj: {**obj, "apiVersion": group_version}


def _selectable_fields(version: Object) -> dict[str, FieldReader]:
    fields = {}
    for selectable in version.get("selectableFields") or ():
        path = selectable["jsonPath"]
        fields[path.removeprefix(".")] = _as_text(jsonpath.first(path))
    return fields


def _as_text(read: Callable[[Object], Any]) -> FieldReader:
    def reader(obj: Object) -> str:
        value = read(obj)
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    return reader


def _text_reader(path: str) -> FieldReader:
    names = path.split(".")
    absent = ABSENT_FIELDS.get(path, "")

    def reader(obj: Object) -> str:
        value: Any = obj
        for name in names:
            value = value.get(name) if value.__class__ is dict else None
        if value.__class__ is str:
            return str(value)
        if value is None:
            return absent
        return str(value).lower() if isinstance(value, bool) else str(value)

    return reader


ABSENT_FIELDS = {
    "spec.hostNetwork": "false",
    "spec.unschedulable": "false",
    "status.replicas": "0",
    "status.successful": "0",
}
BUILTIN_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    ("", "events"): (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
    ("", "namespaces"): ("status.phase",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "secrets"): ("type",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("apps", "replicasets"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
}  # fmt: skip


def _core_event(obj: Object) -> Object:
    back = {new: old for old, new in EVENT_FIELDS.items()}
    return {**{back.get(key, key): value for key, value in obj.items()}, "apiVersion": "v1"}


def _new_event(obj: Object) -> Object:
    return {**{EVENT_FIELDS.get(key, key): value for key, value in obj.items()}, "apiVersion": "events.k8s.io/v1"}
