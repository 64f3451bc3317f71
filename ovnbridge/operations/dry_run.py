"""A dry run: pump the controller's state until nothing new is wanted, as if every Kubernetes write succeeded.

New leases and objects are fed back into the World, since rows depend on them; the result is everything a controller
would write to OVN and to Kubernetes for the state it was given.
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
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.ovn import Key

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
    created: dict[ObjectKey, Write] = {}
    for _ in range(_ROUNDS):
        state.reactor.settle()
        if not _create(state, objects, created):
            break
    changes = [(row, change) for row in sorted(rows.keys, key=str) for change in state.diff(*row)]
    writes = list(created.items())
    for kind, key in sorted(objects.keys):
        if (kind, key) not in created:
            writes += [((kind, key), write) for write in _writes(state, kind, key)]
    return DryRun(changes, writes)


def _writes(state: ControllerState, kind: str, key: str) -> tuple[Write, ...]:
    reactor, actual = state.reactor, state.world.get(kind, key)
    return plan_writes(
        reactor.items(kind, key),
        actual,
        body=reactor.lease_body(kind, key),
        unwanted=actual is not None and reactor.owned(kind, key, actual),
        now=_NEVER,
    )


def _create(state: ControllerState, objects: _Objects, created: dict[ObjectKey, Write]) -> bool:
    """Feed objects that would be created back into the World. Returns whether there were any."""
    any_new = False
    for kind, key in list(objects.keys):
        if (kind, key) in created or state.world.get(kind, key) is not None:
            continue
        for write in _writes(state, kind, key):
            if write.verb == "create":
                created[(kind, key)] = write
                resource = next(r for r, _ in KINDS if r.kind == kind)
                state.source.apply(resource, key, _decoded(kind, write.body))
                any_new = True
    return any_new


def _decoded(kind: str, body: Mapping[str, Any]) -> Any:
    return convert(msgspec.to_builtins(body), _TYPES[kind])
