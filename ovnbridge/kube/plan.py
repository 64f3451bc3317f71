"""What must be written to make one Kubernetes object as desired: pure, the `diff` of the Kubernetes side.

Called by `writer` with the desired items of an object and the object as the World has it; the writes come back in the
order in which they must be sent. Equal means equal to what the struct keeps: nothing is written for its own sake.

Why merge patches guarded by versions for finalizers: a merge patch replaces the whole list, so it carries the
resourceVersion it was derived from, and the server answers 409 when anybody changed the object since. A JSON patch
with a `test` on the old list would do as well, but a failed test comes back as 422, the same as invalid content.
All patches carry the uid: a patch for a pod that was deleted must not land on its namesake (422 from the server).
For the status of a custom resource the server does not look at it, only at the version: statuses are guarded too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, Protocol

import msgspec

from ovnbridge.engine.items import Annotations, Finalizer, Labels, Object, ObjectItem, Spec, Status
from ovnbridge.model.crd.codec import convert


class DesiredObjects(Protocol):
    """The desired store, as far as objects go."""

    def items(self, kind: str, key: str) -> Sequence[ObjectItem]:
        """All items about an object."""
        ...

    def lease_body(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """Of a fully owned kind: the object that must exist. It is created, and not overwritten afterwards."""
        ...

    def owned(self, kind: str, key: str, actual: Any) -> bool:
        """Of a fully owned kind: whether this object must be deleted when no `lease_body` asks for it."""
        ...

    def blocked(self, kind: str, key: str) -> bool:
        """Whether a status that waits for a commit must wait; the object is touched when it need not any more."""
        ...


class Objects(Protocol):
    """The World, as far as the writer reads it."""

    def get(self, kind: str, key: str) -> Any | None:
        """The object, or None."""
        ...


class Write(msgspec.Struct, frozen=True):
    """One request. `guarded`: `metadata.resourceVersion` of the object it was derived from must be added."""

    verb: Literal["create", "patch", "delete"]
    body: dict[str, Any] = {}
    subresource: str = ""
    guarded: bool = False


class PlanError(ValueError):
    """Desired items that do not fit the kind: a bug in `compile/`."""


def timestamp(now: datetime) -> str:
    """metav1.Time."""
    return _second(int(now.timestamp()))


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now: datetime) -> str:
    """metav1.MicroTime."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def plan_writes(
    items: Iterable[ObjectItem],
    actual: Any | None,
    *,
    body: Mapping[str, Any] | None = None,
    unwanted: bool = False,
    blocked: bool = False,
    now: str,
    own_finalizers: frozenset[str] = frozenset(),
    status_with_object: bool = False,
) -> tuple[Write, ...]:
    """The requests that make `actual` (None: absent) as desired; empty when it is.

    `body` is the object to create when absent. `unwanted`: it is ours and nobody wants it, so `own_finalizers` (all
    names that ours ever had) go and then the object. `blocked`: statuses that wait for a commit wait.
    `status_with_object`: the kind has no status subresource.
    """
    if actual is None:
        wanted = body if body is not None else next((i.body for i in items if isinstance(i, Object)), None)
        return () if wanted is None else (Write("create", dict(wanted)),)
    if unwanted:
        return _removal(actual.metadata, own_finalizers)
    items = tuple(items)
    metadata, guarded = _metadata_patch(items, actual.metadata, own_finalizers)
    patch: dict[str, Any] = {"metadata": metadata} if metadata else {}
    spec = _spec_patch(items, actual)
    if spec:
        patch["spec"] = spec
    status = _status_patch(items, actual, blocked, now)
    if status and status_with_object:
        patch["status"] = status
        status = {}
    writes = []
    if patch:
        writes.append(Write("patch", _identified(patch, actual.metadata.uid), guarded=guarded))
    if status:
        body = _identified({"status": status}, actual.metadata.uid)
        writes.append(Write("patch", body, subresource="status", guarded=True))
    return tuple(writes)


def _identified(patch: dict[str, Any], uid: str) -> dict[str, Any]:
    if uid:
        patch["metadata"] = {"uid": uid, **patch.get("metadata", {})}
    return patch


def _removal(meta: Any, own_finalizers: frozenset[str]) -> tuple[Write, ...]:
    before = meta.finalizers or ()
    after = [name for name in before if name not in own_finalizers]
    writes = []
    if len(after) != len(before):
        writes.append(Write("patch", _identified({"metadata": {"finalizers": after}}, meta.uid), guarded=True))
    if not meta.deleting:
        writes.append(Write("delete"))
    return tuple(writes)


def _metadata_patch(
    items: tuple[ObjectItem, ...], meta: Any, own_finalizers: frozenset[str]
) -> tuple[dict[str, Any], bool]:
    annotations: dict[str, str | None] = {}
    labels: dict[str, str | None] = {}
    before = meta.finalizers or ()
    finalizers = list(before)
    for item in items:
        if isinstance(item, Annotations):
            annotations.update(item.values)
        elif isinstance(item, Labels):
            labels.update(item.values)
        elif isinstance(item, Finalizer):
            # Ours goes under whatever name; that of older versions is replaced (spec B.8).
            same = own_finalizers if item.name in own_finalizers else {item.name}
            stale = same - {item.name} if item.present else same
            finalizers = [name for name in finalizers if name not in stale]
            if not item.present:
                continue
            # The server refuses new finalizers on an object that is being deleted.
            if item.name not in finalizers and not meta.deleting:
                finalizers.append(item.name)
    patch: dict[str, Any] = {}
    if annotations and (changed := _changed(annotations, meta.annotations or {})):
        patch["annotations"] = changed
    if labels and (changed := _changed(labels, meta.labels or {})):
        patch["labels"] = changed
    if finalizers != list(before):
        patch["finalizers"] = finalizers
    return patch, "finalizers" in patch


def _changed(wanted: Mapping[str, str | None], actual: Mapping[str, str]) -> dict[str, str | None]:
    return {name: value for name, value in wanted.items() if actual.get(name) != value}


# ---- spec


@lru_cache(maxsize=256)
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _spec_patch(items: tuple[ObjectItem, ...], actual: Any) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, Spec):
            continue
        spec = getattr(actual, "spec", None)
        if not isinstance(spec, msgspec.Struct):
            raise PlanError(f"{item.kind} has no spec that is kept")
        fields = _fields(type(spec))
        for name, value in item.fields.items():
            field = fields.get(name)
            if field is None:
                raise PlanError(f"{item.kind} keeps no spec field {name!r}")
            present = getattr(spec, field.name)
            if _typed(item.kind, field, value) != present:
                patch[name] = replacing(value, msgspec.to_builtins(present))
    return patch


def _typed(kind: str, field: msgspec.structs.FieldInfo, value: Any) -> Any:
    """The value as the kind's struct would hold it, so that `false` and a missing field are the same."""
    if value is None:
        return field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    try:
        return convert(msgspec.to_builtins(value), field.type)
    except msgspec.ValidationError as error:
        raise PlanError(f"{kind} spec field {field.encode_name!r}: {error}") from error


# ---- status


def _status_patch(items: tuple[ObjectItem, ...], actual: Any, blocked: bool, now: str) -> dict[str, Any]:
    for item in items:
        if not isinstance(item, Status) or (blocked and item.after_commit):
            continue
        present = getattr(actual, "status", None)
        if type(present) is not type(item.value):
            kept, given = type(present).__name__, type(item.value).__name__
            raise PlanError(f"{item.kind} keeps its status as {kept}, not {given}")
        wanted = with_times(item.value, present, now)
        if wanted != present:
            patch: dict[str, Any] = replacing(msgspec.to_builtins(wanted), msgspec.to_builtins(present))
            return patch
    return {}


def with_times(status: Any, actual: Any, now: str) -> Any:
    """`status` with the condition times that it must have, given the conditions that are there."""
    conditions = getattr(status, "conditions", None)
    if not conditions:
        return status
    before = {_aspect(condition): condition for condition in getattr(actual, "conditions", None) or ()}
    stamped = tuple(_stamped(condition, before.get(_aspect(condition)), now) for condition in conditions)
    return msgspec.structs.replace(status, conditions=stamped)


def _aspect(condition: Any) -> tuple[str, str]:
    """What a condition is about: its type, in a ProviderNetwork that of a node."""
    return condition.type, getattr(condition, "node", "")


def _stamped(condition: Any, before: Any | None, now: str) -> Any:
    updates = hasattr(condition, "last_update_time")
    times = {"last_transition_time": now, **({"last_update_time": now} if updates else {})}
    if before is not None:
        kept = {name: getattr(before, name) for name in times}
        same = msgspec.structs.replace(condition, **kept)
        if same == before:
            return same
        if condition.status == before.status and before.last_transition_time:
            times["last_transition_time"] = before.last_transition_time
    return msgspec.structs.replace(condition, **times)


def replacing(wanted: Any, present: Any) -> Any:
    """`wanted` as a merge patch that also removes what `present` has beyond it."""
    if isinstance(wanted, Mapping) and isinstance(present, Mapping):
        stale = {name: None for name in present if name not in wanted}
        return {**stale, **{name: replacing(value, present.get(name)) for name, value in wanted.items()}}
    return wanted
