"""Deletion: grace periods, finalizers, owners, namespaces and CRDs that take their contents with them.

What the real cluster leaves to the garbage collector and the namespace controller happens here, as small
steps on the event loop after the request that caused them: the store tells of each change, a step is queued,
and running it may delete objects, which queues the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from . import errors
from .errors import Object
from .objects import Objects
from .resources import Registry, Resource
from .store import Change, Collection, Entry, Key, Store
from .timestamps import now

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
PROTECTED = {"default", "kube-system", "kube-public"}
# Resources whose deletion answers with the object rather than with a Status.
ANSWERS_OBJECT = {"pods", "services", "serviceaccounts", "persistentvolumeclaims", "namespaces"}
STEPS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace: int | None = None
    propagation: str = ""
    dry_run: bool = False
    uid: str = ""
    version: str = ""


class Lifecycle:
    def __init__(self, store: Store, registry: Registry, objects: Objects) -> None:
        self._store = store
        self._registry = registry
        self._objects = objects
        self._namespaces = store.collection("", "namespaces")
        self._crds = store.collection("apiextensions.k8s.io", "customresourcedefinitions")
        self._queue: deque[Callable[[], None]] = deque()
        self._running = False
        self._terminating: set[str] = set()
        self._dying_crds: dict[Collection, Key] = {}
        store.listeners.append(self._changed)
        objects.removal = self._remove_released

    # -- requests ------------------------------------------------------------------------------------------

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> tuple[int, bytes]:
        entry = resource.collection.objects.get(key)
        if entry is None:
            raise errors.not_found(resource.group, resource.plural, key[1])
        self._check_preconditions(resource, entry, options)
        collection = resource.collection
        if collection is self._namespaces and key[1] in PROTECTED:
            raise errors.forbidden("", "namespaces", key[1], "this namespace may not be deleted")
        obj = entry.decode()
        meta = obj["metadata"]
        finalizers = self._finalizers(collection, meta, options)
        grace = self._grace(collection, obj, options)
        holds = bool(finalizers or grace or (collection is self._namespaces and obj["spec"].get("finalizers")))
        if options.dry_run:
            return 200, resource.text(entry.data)
        if holds:
            data = self._mark(collection, entry, obj, finalizers, grace)
            code = 202 if finalizers and options.propagation == "Foreground" else 200
            return (code if resource.plural != "pods" else 200), resource.text(data)
        data = resource.text(collection.remove(key))
        if resource.plural in ANSWERS_OBJECT and not resource.group:
            return 200, data
        details = {
            "name": key[1],
            **({"group": resource.group} if resource.group else {}),
            "kind": resource.plural,
            "uid": entry.uid,
        }
        return 200, orjson.dumps(errors.success(details))

    @staticmethod
    def _check_preconditions(resource: Resource, entry: Entry, options: DeleteOptions) -> None:
        name = entry.key[1]
        if options.uid and options.uid != entry.uid:
            why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {entry.uid}"
            raise errors.conflict(resource.group, resource.plural, name, why)
        if options.version and options.version != str(entry.version):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {options.version}, "
                f"ResourceVersion in object meta: {entry.version}"
            )
            raise errors.conflict(resource.group, resource.plural, name, why)

    def _finalizers(self, collection: Collection, meta: Object, options: DeleteOptions) -> list[str]:
        found = [name for name in meta.get("finalizers") or () if name not in (FOREGROUND, ORPHAN)]
        kept = [name for name in meta.get("finalizers") or () if name in (FOREGROUND, ORPHAN)]
        if options.propagation == "Foreground":
            kept = [FOREGROUND]
        elif options.propagation == "Orphan":
            kept = [ORPHAN]
        elif options.propagation == "Background":
            kept = []
        if collection is self._crds and CRD_FINALIZER not in found:
            found.append(CRD_FINALIZER)
        return found + kept

    @staticmethod
    def _grace(collection: Collection, obj: Object, options: DeleteOptions) -> int:
        if (collection.group, collection.plural) != ("", "pods"):
            return 0
        spec = obj["spec"]
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if options.grace is not None:
            return max(options.grace, 0)
        return int(spec.get("terminationGracePeriodSeconds", 30))

    def _mark(self, collection: Collection, entry: Entry, obj: Object, finalizers: list[str], grace: int) -> bytes:
        """Puts an object under deletion, or shortens the grace of one that is."""
        meta = obj["metadata"]
        before = orjson.dumps(obj)
        if "deletionTimestamp" not in meta:
            meta["deletionTimestamp"] = now(grace)
            meta["deletionGracePeriodSeconds"] = grace
            if "generation" in meta:
                meta["generation"] += 1
        elif grace < meta.get("deletionGracePeriodSeconds", 0):
            meta["deletionTimestamp"] = now(grace)
            meta["deletionGracePeriodSeconds"] = grace
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)
        if collection is self._namespaces:
            obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
            meta.pop("deletionGracePeriodSeconds", None)
        if orjson.dumps(obj) == before:
            return entry.data
        return collection.write(entry.key, obj).data

    def _remove_released(self, resource: Resource, key: Key, obj: Object) -> bytes:
        """An update took the last finalizer away: the object goes, and the update's answer is its last form."""
        resource.collection.remove(key)
        obj["metadata"]["resourceVersion"] = str(self._store.version)
        return orjson.dumps(resource.stored(obj))

    # -- consequences --------------------------------------------------------------------------------------

    def _changed(self, collection: Collection, change: Change) -> None:
        old, new = change.old, change.new
        if new is None:
            assert old is not None
            self._removed(collection, old)
            return
        adopted = new.owners and (old is None or old.owners != new.owners)
        if adopted and any(owner not in self._store.uids for owner in new.owners):
            self._later(lambda: self._collect(collection, new.key))
        if new.deleting:
            if collection is self._namespaces:
                self._terminating.add(new.key[1])
                self._later(lambda: self._drain_namespace(new.key[1]))
            elif collection is self._crds:
                self._later(lambda: self._drain_crd(new.key))
            if b'"' + FOREGROUND.encode() + b'"' in new.data:
                self._later(lambda: self._foreground(collection, new.key))
            elif b'"' + ORPHAN.encode() + b'"' in new.data:
                self._later(lambda: self._orphan(collection, new.key))

    def _removed(self, collection: Collection, old: Entry) -> None:
        self._objects.forget(old.uid)
        for dependents, key in list(self._store.dependents.pop(old.uid, ())):
            self._later(lambda where=dependents, name=key: self._collect(where, name))  # type: ignore[misc]
        for owner in old.owners:
            where = self._store.uids.get(owner)
            if where is not None and where[0].objects[where[1]].deleting:
                self._later(lambda found=where: self._foreground(*found))  # type: ignore[misc]
        if collection is self._namespaces:
            self._terminating.discard(old.key[1])
        elif old.key[0] in self._terminating:
            self._later(lambda: self._drain_namespace(old.key[0]))
        if collection is self._crds:
            self._registry.uninstall(old.decode())
        elif collection in self._dying_crds:
            self._later(lambda: self._drain_crd(self._dying_crds.get(collection, ("", ""))))

    def _later(self, step: Callable[[], None]) -> None:
        self._queue.append(step)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._running = False
        for _ in range(min(STEPS_AT_ONCE, len(self._queue))):
            self._queue.popleft()()
        if self._queue and not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._run)

    def _delete_quietly(self, collection: Collection, key: Key, propagation: str) -> None:
        """Deletes for the garbage collector: through any served version, if the resource is still served."""
        entry = collection.objects.get(key)
        if entry is None or entry.deleting:
            return
        resource = next((r for r in self._registry if r.collection is collection), None)
        if resource is None:
            collection.remove(key)
        else:
            self.delete(resource, key, DeleteOptions(propagation=propagation))

    def _collect(self, collection: Collection, key: Key) -> None:
        """Deletes an object none of whose owners exists."""
        entry = collection.objects.get(key)
        if entry is not None and entry.owners and not any(uid in self._store.uids for uid in entry.owners):
            self._delete_quietly(collection, key, "Background")

    def _foreground(self, collection: Collection, key: Key) -> None:
        """Deletes the dependents of an object in foreground deletion; without any left lets it go."""
        entry = collection.objects.get(key)
        if entry is None or FOREGROUND not in (entry.decode()["metadata"].get("finalizers") or ()):
            return
        dependents = list(self._store.dependents.get(entry.uid, ()))
        for where, name in dependents:
            self._delete_quietly(where, name, "Foreground")
        if not dependents:
            self._drop_finalizer(collection, entry, FOREGROUND)

    def _orphan(self, collection: Collection, key: Key) -> None:
        entry = collection.objects.get(key)
        if entry is None or ORPHAN not in (entry.decode()["metadata"].get("finalizers") or ()):
            return
        for where, name in list(self._store.dependents.get(entry.uid, ())):
            obj = where.objects[name].decode()
            owners = [o for o in obj["metadata"]["ownerReferences"] if o["uid"] != entry.uid]
            obj["metadata"]["ownerReferences"] = owners
            if not owners:
                del obj["metadata"]["ownerReferences"]
            where.write(name, obj)
        self._drop_finalizer(collection, entry, ORPHAN)

    @staticmethod
    def _drop_finalizer(collection: Collection, entry: Entry, finalizer: str) -> None:
        obj = entry.decode()
        meta = obj["metadata"]
        meta["finalizers"] = [name for name in meta["finalizers"] if name != finalizer]
        if meta["finalizers"]:
            collection.write(entry.key, obj)
        elif meta.get("deletionGracePeriodSeconds"):
            del meta["finalizers"]
            collection.write(entry.key, obj)
        else:
            collection.remove(entry.key)

    def _drain_namespace(self, name: str) -> None:
        entry = self._namespaces.objects.get(("", name))
        if entry is None or not entry.deleting:
            return
        left = 0
        for collection in list(self._store.collections.values()):
            keys = [found.key for found in collection.select_namespace(name)]
            left += len(keys)
            for key in keys:
                self._delete_quietly(collection, key, "Background")
        if left:
            return
        obj = entry.decode()
        if obj["metadata"].get("finalizers"):
            if obj["spec"].pop("finalizers", None):
                self._namespaces.write(entry.key, obj)
        else:
            self._namespaces.remove(entry.key)

    def _drain_crd(self, key: Key) -> None:
        entry = self._crds.objects.get(key)
        if entry is None or not entry.deleting:
            return
        obj = entry.decode()
        if CRD_FINALIZER not in (obj["metadata"].get("finalizers") or ()):
            return
        collection = self._store.collection(obj["spec"]["group"], obj["spec"]["names"]["plural"])
        self._dying_crds[collection] = key
        for instance in list(collection.objects):
            self._delete_quietly(collection, instance, "Background")
        if not collection.objects:
            del self._dying_crds[collection]
            self._drop_finalizer(self._crds, entry, CRD_FINALIZER)
            collection.finish_watches()
