"""Creates, updates, patches and applies objects: from a request body to a new version in the store.

The order is the real server's: decode and prune by schema, defaults, what the kind prepares, validation, then
the write.  `requests` calls these methods; deletion is in `lifecycle`.
"""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from . import errors, patches
from .defaults import apply_defaults
from .errors import ApiError, Cause, Object
from .initial_status import INITIAL_STATUS
from .report import Report
from .resources import Registry, Resource
from .schema import Compiler
from .services import ServiceAllocator
from .store import Entry, Key, Store
from .timestamps import now
from .validation import IMMUTABLE, denied, kind_causes, metadata_causes, name_causes, required, wrong

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
SYSTEM_FIELDS = (
    "uid", "creationTimestamp", "name", "namespace", "resourceVersion", "deletionTimestamp",
    "deletionGracePeriodSeconds", "generation", "generateName", "selfLink",
)  # fmt: skip
# Builtin resources whose objects carry a generation.
GENERATIONS = {
    ("", "pods"), ("apps", "deployments"), ("apps", "statefulsets"), ("apps", "daemonsets"), ("apps", "replicasets"),
    ("batch", "jobs"), ("batch", "cronjobs"), ("networking.k8s.io", "networkpolicies"),
    ("networking.k8s.io", "ingresses"), ("networking.k8s.io", "ingressclasses"), ("policy", "poddisruptionbudgets"),
    ("apiextensions.k8s.io", "customresourcedefinitions"), ("discovery.k8s.io", "endpointslices"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("scheduling.k8s.io", "priorityclasses"),
}  # fmt: skip
VERSION_REQUIRED = {("coordination.k8s.io", "leases"), ("apiextensions.k8s.io", "customresourcedefinitions")}
CREATE_ON_UPDATE = {("coordination.k8s.io", "leases"), ("", "endpoints"), ("", "events"), ("events.k8s.io", "events")}
NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    dry_run: bool = False
    validation: str = "Warn"
    manager: str = ""
    warnings: list[str] = field(default_factory=list)


def same_but_version(left: Object, right: Object) -> bool:
    """Whether two objects differ in nothing but the resource version."""
    if left.keys() != right.keys():
        return False
    for key, value in left.items():
        if key != "metadata" and value != right[key]:
            return False
    first, second = dict(left["metadata"]), dict(right["metadata"])
    first.pop("resourceVersion", None)
    second.pop("resourceVersion", None)
    return first == second


def drop_empty(meta: Object) -> None:
    """Metadata never carries empty lists and maps, not even that of a custom resource."""
    for name in ("labels", "annotations", "finalizers", "ownerReferences"):
        if name in meta and not meta[name]:
            del meta[name]


class Objects:
    def __init__(self, store: Store, registry: Registry, services: ServiceAllocator) -> None:
        self._store = store
        self._registry = registry
        self._services = services
        check = Compiler(registry.definitions, builtin=True).compile({"$ref": META})
        assert check is not None
        self._check_meta = check
        self._applied: dict[tuple[str, str], Object] = {}
        """What each manager applied last, by the object's uid: the `before` of a three-way apply."""
        self.removal: Callable[[Resource, Key, Object], bytes] | None = None
        """Set by `lifecycle`: finishes the deletion of an object that nothing holds any more."""

    # -- create --------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, obj: Object, options: WriteOptions) -> bytes:
        self._check_identity(resource, namespace, "", obj)
        meta = obj["metadata"]
        if resource.namespaced:
            meta["namespace"] = namespace
        else:
            meta.pop("namespace", None)
        if meta.get("resourceVersion"):
            raise ApiError(500, "resourceVersion should not be set on objects to be created")
        self._name(resource, meta)
        self._decode(resource, obj, options)
        self._check_namespace(resource, namespace, meta["name"])
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "generation"):
            meta.pop(name, None)
        drop_empty(meta)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = now()
        if not resource.builtin or (resource.group, resource.plural) in GENERATIONS:
            meta["generation"] = 1
        if "status" in resource.subresources and not (resource.builtin and resource.plural == "nodes"):
            self._reset_status(resource, obj)
        key = (namespace, meta["name"])
        self._finish(resource, obj, None)
        if key in resource.collection.objects:
            raise errors.already_exists(resource.group, resource.plural, key[1])
        if options.dry_run:
            return orjson.dumps(obj)
        entry = resource.collection.write(key, resource.stored(obj))
        self._written(resource, obj)
        return resource.text(entry.data)

    def _name(self, resource: Resource, meta: Object) -> None:
        prefix = meta.get("generateName")
        if not meta.get("name") and isinstance(prefix, str) and prefix:
            meta["name"] = prefix[:58] + "".join(secrets.choice(NAME_CHARACTERS) for _ in range(5))
        if not meta.get("name"):
            cause = required("metadata.name", "name or generateName is required")
            raise errors.invalid(resource.group, resource.kind, "", [cause])

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self._store.collection("", "namespaces").objects.get(("", namespace))
        if found is None:
            raise errors.not_found("", "namespaces", namespace)
        if found.deleting:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("metadata.namespace", f"namespace {namespace} is being terminated", "NamespaceTerminating")
            raise errors.forbidden(resource.group, resource.plural, name, why, [cause])

    @staticmethod
    def _reset_status(resource: Resource, obj: Object) -> None:
        """A main-resource create never sets the status."""
        obj.pop("status", None)
        if not resource.builtin:
            return
        status = INITIAL_STATUS.get((resource.group, resource.plural))
        if status is not None:
            obj["status"] = status(obj)

    # -- update --------------------------------------------------------------------------------------------

    def update(
        self, resource: Resource, key: Key, obj: Object, options: WriteOptions, sub: str = ""
    ) -> tuple[int, bytes]:
        entry = resource.collection.objects.get(key)
        self._check_identity(resource, key[0], key[1], obj)
        if entry is None:
            if (resource.group, resource.plural) in CREATE_ON_UPDATE and not sub:
                return 201, self.create(resource, key[0], obj, options)
            raise errors.not_found(resource.group, resource.plural, key[1])
        if not obj["metadata"].get("resourceVersion"):
            custom = not resource.builtin
            if (custom or (resource.group, resource.plural) in VERSION_REQUIRED) and not sub:
                text = "Invalid value: 0: must be specified for an update"
                cause = Cause("metadata.resourceVersion", text)
                raise errors.invalid(resource.group, resource.kind, key[1], [cause])
        return 200, self._replace(resource, entry, obj, options, sub)

    def patch(
        self, resource: Resource, key: Key, kind: str, patch: Any, options: WriteOptions, sub: str = ""
    ) -> tuple[int, bytes]:
        if kind == "application/apply-patch+yaml":
            return self._apply(resource, key, patch, options, sub)
        entry = resource.collection.objects.get(key)
        if entry is None:
            raise errors.not_found(resource.group, resource.plural, key[1])
        live = resource.decode(entry.data)
        current = live["metadata"].pop("resourceVersion")
        changed = self._patched(resource, kind, live, patch)
        if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict):
            raise ApiError(400, "the patch does not leave an object")
        if changed["metadata"].get("resourceVersion") == current:
            changed["metadata"].pop("resourceVersion")
        self._check_identity(resource, key[0], key[1], changed)
        self._check_incarnation(resource, entry, changed["metadata"], sub)
        return 200, self._replace(resource, entry, changed, options, sub)

    def _patched(self, resource: Resource, kind: str, live: Object, patch: Any) -> Any:
        if kind == "application/json-patch+json":
            return patches.json_patch(live, patch)
        if not isinstance(patch, dict):
            raise ApiError(400, "the body of the patch is not an object")
        if kind == "application/merge-patch+json":
            return patches.merge_patch(live, patch)
        return patches.Strategic(self._registry.definitions, resource.schema).apply(live, patch)

    def _apply(self, resource: Resource, key: Key, applied: Any, options: WriteOptions, sub: str) -> tuple[int, bytes]:
        if not isinstance(applied, dict):
            raise ApiError(400, "the body of an apply patch must be an object")
        if not options.manager:
            cause = required("fieldManager", "is required for apply patch")
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
        self._check_identity(resource, key[0], key[1], applied)
        if applied["metadata"].get("managedFields"):
            raise ApiError(400, "metadata.managedFields must be nil")
        applied["metadata"].setdefault("name", key[1])
        entry = resource.collection.objects.get(key)
        if entry is None:
            if sub:
                raise errors.not_found(resource.group, resource.plural, key[1])
            wanted = copy.deepcopy(applied)
            data = self.create(resource, key[0], applied, options)
            created = resource.collection.objects.get(key)
            if created is not None and not options.dry_run:
                self._applied[created.uid, options.manager] = wanted
            return 201, data
        live = resource.decode(entry.data)
        if not applied["metadata"].get("resourceVersion"):
            live["metadata"].pop("resourceVersion")
        owner = f"{options.manager}/{sub}" if sub else options.manager
        before = self._applied.get((entry.uid, owner))
        merge = patches.Apply(self._registry.definitions if resource.builtin else {}, resource.schema)
        changed = merge.apply(live, copy.deepcopy(applied), before)
        data = self._replace(resource, entry, changed, options, sub)
        if not options.dry_run:
            self._applied[entry.uid, owner] = applied
        return 200, data

    def _replace(self, resource: Resource, entry: Entry, obj: Object, options: WriteOptions, sub: str) -> bytes:
        live = resource.decode(entry.data)
        before, meta = live["metadata"], obj["metadata"]
        self._check_preconditions(resource, entry, meta, before)
        self._decode(resource, obj, options)
        meta = obj["metadata"]
        for name in SYSTEM_FIELDS:
            if name in before:
                meta[name] = before[name]
            else:
                meta.pop(name, None)
        meta.pop("managedFields", None)
        drop_empty(meta)
        if sub:
            obj = self._status_only(resource, obj, live, sub)
        elif "status" in resource.subresources:
            if "status" in live:
                obj["status"] = live["status"]
            else:
                obj.pop("status", None)
        self._check_finalizers(resource, obj, live)
        self._finish(resource, obj, live, status=sub == "status")
        self._bump_generation(resource, obj, live)
        if same_but_version(obj, live):
            return resource.text(entry.data)
        if options.dry_run:
            return orjson.dumps(obj)
        if self._released(resource, obj) and self.removal is not None:
            return resource.text(self.removal(resource, entry.key, obj))
        written = resource.collection.write(entry.key, resource.stored(obj))
        self._written(resource, obj)
        return resource.text(written.data)

    @staticmethod
    def _check_preconditions(resource: Resource, entry: Entry, meta: Object, before: Object) -> None:
        wanted = meta.get("resourceVersion")
        if wanted and wanted != str(entry.version):
            raise errors.conflict(resource.group, resource.plural, entry.key[1])
        if meta.get("uid") and meta["uid"] != before["uid"]:
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before['uid']}"
            raise errors.conflict(resource.group, resource.plural, entry.key[1], why)

    @staticmethod
    def _check_incarnation(resource: Resource, entry: Entry, meta: Object, sub: str) -> None:
        """A patch for another incarnation of the object. That of a custom resource's status is not noticed."""
        if meta.get("uid") == entry.uid or "resourceVersion" in meta:  # an old version is a conflict in any case
            return
        if sub and not resource.builtin:
            meta["uid"] = entry.uid
        else:
            causes = [wrong("metadata.uid", meta.get("uid", ""), IMMUTABLE)]
            raise errors.invalid(resource.group, resource.kind, entry.key[1], causes)

    @staticmethod
    def _status_only(resource: Resource, obj: Object, live: Object, sub: str) -> Object:
        if sub == "finalize":
            live["spec"] = obj.get("spec", {})
            return live
        if sub == "ephemeralcontainers":
            live["spec"]["ephemeralContainers"] = (obj.get("spec") or {}).get("ephemeralContainers") or []
            return live
        changed = dict(live)
        if resource.builtin:
            # A builtin status update may carry labels and annotations along; a custom one may not.
            changed["metadata"] = {**obj["metadata"], "ownerReferences": live["metadata"].get("ownerReferences")}
            if changed["metadata"]["ownerReferences"] is None:
                del changed["metadata"]["ownerReferences"]
        if "status" in obj:
            changed["status"] = obj["status"]
        else:
            changed.pop("status", None)
        return changed

    @staticmethod
    def _check_finalizers(resource: Resource, obj: Object, live: Object) -> None:
        if "deletionTimestamp" not in live["metadata"]:
            return
        before = live["metadata"].get("finalizers") or []
        added = [name for name in obj["metadata"].get("finalizers") or [] if name not in before]
        if added:
            names = ", ".join(f'"{name}"' for name in added)
            why = "no new finalizers can be added if the object is being deleted, "
            why += f"found new finalizers []string{{{names}}}"
            cause = denied("metadata.finalizers", why)
            raise errors.invalid(resource.group, resource.kind, live["metadata"]["name"], [cause])

    @staticmethod
    def _bump_generation(resource: Resource, obj: Object, live: Object) -> None:
        if "generation" not in live["metadata"]:
            return
        ignored = {"metadata", "apiVersion", "kind"}
        if resource.builtin or "status" in resource.subresources:
            ignored.add("status")
        changed = any(obj.get(name) != live.get(name) for name in obj.keys() | live.keys() if name not in ignored)
        if changed:
            obj["metadata"]["generation"] = live["metadata"]["generation"] + 1

    @staticmethod
    def _released(resource: Resource, obj: Object) -> bool:
        """Whether an object under deletion is held by nothing any more."""
        meta = obj["metadata"]
        if "deletionTimestamp" not in meta or meta.get("finalizers"):
            return False
        if meta.get("deletionGracePeriodSeconds"):
            return False
        if (resource.group, resource.plural) == ("", "namespaces"):
            return not obj["spec"].get("finalizers")
        return True

    # -- shared --------------------------------------------------------------------------------------------

    @staticmethod
    def _check_identity(resource: Resource, namespace: str, name: str, obj: Any) -> None:
        if not isinstance(obj, dict):
            raise ApiError(400, "the body of the request is not an object")
        given = obj.get("apiVersion")
        if given not in (None, resource.group_version):
            wanted = resource.group_version
            raise ApiError(
                400, f"the API version in the data ({given}) does not match the expected API version ({wanted})"
            )
        if obj.get("kind") not in (None, resource.kind):
            raise ApiError(
                400, f'{obj.get("kind")} in version "{resource.version}" cannot be handled as a {resource.kind}'
            )
        obj["apiVersion"], obj["kind"] = resource.group_version, resource.kind
        meta = obj.setdefault("metadata", {})
        if not isinstance(meta, dict):
            raise ApiError(400, "metadata is not an object")
        if resource.namespaced and meta.get("namespace") not in (None, "", namespace):
            raise ApiError(400, "the namespace of the provided object does not match the namespace sent on the request")
        if name and meta.get("name") not in (None, "", name):
            text = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
            raise ApiError(400, text)

    def _decode(self, resource: Resource, obj: Object, options: WriteOptions) -> None:
        """Prunes, fills in what the schema gives and checks types and required fields."""
        report = Report()
        if resource.builtin:
            if resource.check is not None:
                resource.check(obj, None, report)
        else:
            self._check_meta(obj["metadata"], (None, "metadata"), report)
            report.mistyped, meta_wrong = [], report.mistyped
            if meta_wrong:
                raise ApiError(400, f"{resource.kind} cannot be handled: {meta_wrong[0].text()}")
            if resource.check is not None:
                resource.check(obj, None, report)
        name = obj["metadata"].get("name", "")
        if report.mistyped and resource.builtin:
            text = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            raise ApiError(400, text + "; ".join(cause.text() for cause in report.mistyped))
        if report.unknown:
            self._unknown(resource, report.unknown, options)
        causes = report.mistyped + report.broken
        if resource.builtin:
            causes = [cause for cause in causes if not cause.field.startswith(("status.", "status["))]
        if causes:
            raise errors.invalid(resource.group, resource.kind, name, causes)

    @staticmethod
    def _unknown(resource: Resource, names: list[str], options: WriteOptions) -> None:
        texts = [f'unknown field "{name}"' for name in names]
        if options.validation == "Strict":
            if resource.builtin:
                text = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                raise ApiError(400, f"{text}strict decoding error: {', '.join(texts)}")
            raise ApiError(400, f"strict decoding error: {', '.join(texts)}")
        if options.validation == "Warn":
            options.warnings.extend(texts)

    def _finish(self, resource: Resource, obj: Object, live: Object | None, *, status: bool = False) -> None:
        """Defaults, preparation by kind, and validation."""
        causes = list(metadata_causes(obj["metadata"]))
        if live is None:
            causes += name_causes(resource.group, resource.plural, obj["metadata"]["name"])
        if resource.builtin and not status:
            if not causes:
                apply_defaults(resource.group, resource.plural, obj)
                if (resource.group, resource.plural) == ("", "services") and self._may_allocate(obj, live):
                    causes += self._services.allocate(obj, live)
            if not causes:
                causes += kind_causes(resource.group, resource.plural, obj, live)
        if causes:
            raise errors.invalid(resource.group, resource.kind, obj["metadata"]["name"], causes)

    @staticmethod
    def _may_allocate(obj: Object, live: Object | None) -> bool:
        """Not when an update names another address: that is refused as a change of an immutable field."""
        if live is None or live["spec"].get("type") == "ExternalName":
            return True
        return obj["spec"].get("clusterIP") in (None, "", live["spec"].get("clusterIP"))

    def _written(self, resource: Resource, obj: Object) -> None:
        if (resource.group, resource.plural) == ("apiextensions.k8s.io", "customresourcedefinitions"):
            self._registry.install(obj)

    def forget(self, uid: str) -> None:
        for key in [key for key in self._applied if key[0] == uid]:
            del self._applied[key]
