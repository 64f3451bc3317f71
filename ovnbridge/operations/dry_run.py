"""A dry run: pump the controller's state until nothing new is wanted, as if every creation and deletion succeeded.

What would be created or deleted is fed back into the World, since rows depend on it; the result is everything by which
the state it was given differs from the one that a controller would leave. What a controller does on the way there and
undoes again (a port that is gone while its lease is made anew, say) is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ovnbridge.compile.options import Options
from ovnbridge.controller import KINDS, ControllerState
from ovnbridge.engine.desired import ObjectKey, RowKey
from ovnbridge.engine.diff import Change
from ovnbridge.kube.plan import Write, plan_writes
from ovnbridge.kube.writer import FINALIZERS
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.ovn import Key

_RESOURCES: Final = {resource.kind: resource for resource, _ in KINDS}
_TYPES: Final = {resource.kind: kind for resource, kind in KINDS}
_NEVER: Final = "0001-01-01T00:00:00Z"
_ROUNDS: Final = 20


class _Rows:
    """A row sink that only remembers."""

    def __init__(self) -> None:
        self.keys: dict[RowKey, None] = {}

    def touch(self, keys: Iterable[RowKey], *, urgent: bool = False) -> None:
        self.keys.update(dict.fromkeys(keys))

    def busy(self, table: str, key: Key) -> bool:
        return False

    def idle(self) -> bool:
        return True


class _Objects:
    """An object sink that only remembers."""

    def __init__(self) -> None:
        self.keys: dict[ObjectKey, None] = {}

    def touch(self, kind: str, key: str, *, urgent: bool = False) -> None:
        self.keys[(kind, key)] = None


class DryRun(msgspec.Struct):
    """What would be written."""

    changes: list[tuple[RowKey, Change]]
    writes: list[tuple[ObjectKey, Write]]


async def dry_run(state: ControllerState, options: Options) -> DryRun:
    """Run the state to its end without writing anything."""
    rows, objects = _Rows(), _Objects()
    await state.start(options)
    state.reactor.attach(rows=rows, objects=objects, actual_rows=state.owned_rows)
    done: dict[ObjectKey, list[Write]] = {}
    for _ in range(_ROUNDS):
        state.reactor.settle()
        if not _carry_out(state, objects, done):
            break
    changes = [(row, change) for row in sorted(rows.keys, key=str) for change in state.diff(*row)]
    writes = [(key, write) for key, carried_out in done.items() for write in carried_out]
    for kind, key in sorted(objects.keys):
        if (kind, key) not in done:
            writes += [((kind, key), write) for write in _writes(state, kind, key)]
    return DryRun(changes, writes)


def _writes(state: ControllerState, kind: str, key: str) -> tuple[Write, ...]:
    reactor, actual = state.reactor, state.world.get(kind, key)
    return plan_writes(
        reactor.items(kind, key),
        actual,
        body=reactor.lease_body(kind, key),
        unwanted=_unwanted(state, kind, key),
        now=_NEVER,
        own_finalizers=FINALIZERS,
    )


def _unwanted(state: ControllerState, kind: str, key: str) -> bool:
    actual = state.world.get(kind, key)
    return actual is not None and state.reactor.owned(kind, key, actual)


def _carry_out(state: ControllerState, objects: _Objects, done: dict[ObjectKey, list[Write]]) -> bool:
    """Make in the World what would be created, and take out what would be deleted. Returns whether there was any."""
    any_new = False
    for kind, key in list(objects.keys):
        actual, writes, before = state.world.get(kind, key), _writes(state, kind, key), done.get((kind, key), [])
        made = gone = None
        if actual is None and writes and all(write.verb != "create" for write in before):
            made = _decoded(kind, writes[0].body)
        elif actual is not None and not before and _unwanted(state, kind, key):
            gone = set(actual.metadata.finalizers or ()) <= FINALIZERS
        if made is None and not gone:
            continue
        done[kind, key] = [*before, *writes]
        state.source.apply(_RESOURCES[kind], key, made)
        any_new = True
    return any_new


def _decoded(kind: str, body: Mapping[str, Any]) -> Any:
    return convert(msgspec.to_builtins(body), _TYPES[kind])
