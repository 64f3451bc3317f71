"""A controller without a process: the real state and reactor, an NB database and a Kubernetes API in memory.

`Api` holds objects as a server would and lets the test decide when the World hears of them; `Cluster` wires it to a
`ControllerState` and a `Memory` database. Builders make objects as users write them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from ovnbridge.compile.options import Options
from ovnbridge.controller import KINDS, ControllerState
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.diff import Change
from ovnbridge.kube.plan import Write, plan_writes
from ovnbridge.kube.writer import FINALIZERS
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.ovn import SOUTHBOUND, Key
from tests.support.memory import Memory, MemoryDatabase

NOW = "2026-01-01T00:00:00Z"
_KINDS = {resource.kind: (resource, kind) for resource, kind in KINDS}

Json = dict[str, Any]


def node(name: str, *addresses: str, ready: bool = True, labels: Mapping[str, str] | None = None, **notes: str) -> Json:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(labels or {}), "annotations": _prefixed(notes)},
        "status": {
            "addresses": [{"type": "InternalIP", "address": a} for a in addresses],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def namespace(name: str, **labels: str) -> Json:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def vpc(name: str, **spec: Any) -> Json:
    return {"kind": "Vpc", "metadata": {"name": name}, "spec": spec}


def subnet(name: str, **spec: Any) -> Json:
    return {"kind": "Subnet", "metadata": {"name": name}, "spec": spec}


def underlay(vlan: str = "v", tag: int = 10, network: str = "net1") -> tuple[Json, Json]:
    """A provider network and a vlan on it."""
    return (
        {"kind": "ProviderNetwork", "metadata": {"name": network}, "spec": {"defaultInterface": "eth1"}},
        {"kind": "Vlan", "metadata": {"name": vlan}, "spec": {"id": tag, "provider": network}},
    )


def pod(name: str, on: str = "", *, spec: Mapping[str, Any] | None = None, phase: str = "", **notes: str) -> Json:
    """`name` is `namespace/name`; `notes` are annotations without their prefix."""
    space, _, own = name.partition("/")
    return {
        "kind": "Pod",
        "metadata": {"name": own, "namespace": space, "annotations": _prefixed(notes)},
        "spec": {"nodeName": on, **(spec or {})},
        "status": {"phase": phase},
    }


def ip(owner: str, in_subnet: str, *addresses: str, mac: str = "", labels: Mapping[str, str] | None = None) -> Json:
    """The IP object of a pod (`namespace/name`) or node (`name`)."""
    space, _, own = owner.rpartition("/")
    v4 = next((a for a in addresses if ":" not in a), "")
    v6 = next((a for a in addresses if ":" in a), "")
    return {
        "kind": "IP",
        "metadata": {
            "name": f"{own}.{space}" if space else f"node-{own}",
            "labels": {"ovn.kubernetes.io/ip_reserved": "false"} if labels is None else dict(labels),
        },
        "spec": {
            "subnet": in_subnet,
            "podName": own,
            "namespace": space,
            "nodeName": "" if space else own,
            "v4IpAddress": v4,
            "v6IpAddress": v6,
            "ipAddress": ",".join(filter(None, (v4, v6))),
            "macAddress": mac or mac_of(owner),
        },
    }


def mac_of(owner: str) -> str:
    """A MAC address that depends on the owner only."""
    digits = f"{abs(sum(ord(c) * 31**i for i, c in enumerate(owner))) % (1 << 40):010x}"
    return "02:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))


def _prefixed(notes: Mapping[str, str]) -> dict[str, str]:
    return {f"ovn.kubernetes.io/{name}": value for name, value in notes.items()}


def key_of(obj: Json) -> tuple[str, str]:
    """(kind, World key)."""
    meta = obj["metadata"]
    return obj["kind"], f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]


class Conflict(Exception):
    """The object exists, or is not the one that was meant."""


class Api:
    """Objects of a Kubernetes server; `events` is what its watchers have not been told."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.events: list[tuple[str, str, Json | None]] = []
        self._uids = 0

    def create(self, obj: Json) -> None:
        kind, key = key_of(obj)
        if (kind, key) in self.objects:
            raise Conflict(f"{kind} {key} exists")
        self._uids += 1
        stored = copy.deepcopy(obj)
        stored["metadata"] |= {"uid": f"uid-{self._uids}", "creationTimestamp": NOW}
        self._store(kind, key, stored)

    def apply(self, obj: Json) -> None:
        """Create, or replace what a user may write (annotations, labels, spec; status when given)."""
        kind, key = key_of(obj)
        known = self.objects.get((kind, key))
        if known is None:
            self.create(obj)
        else:
            meta = {**known["metadata"], **copy.deepcopy(obj["metadata"])}
            self._store(kind, key, {**known, **copy.deepcopy(obj), "metadata": meta})

    def patch(self, kind: str, key: str, patch: Json) -> None:
        known = self.objects.get((kind, key))
        uid = patch.get("metadata", {}).get("uid")
        if known is None or (uid and uid != known["metadata"]["uid"]):
            raise Conflict(f"{kind} {key} is not the one that was meant")
        self._store(kind, key, merged(known, patch))

    def delete(self, kind: str, key: str) -> None:
        known = self.objects.get((kind, key))
        if known is not None:
            self._store(kind, key, merged(known, {"metadata": {"deletionTimestamp": NOW}}))

    def _store(self, kind: str, key: str, obj: Json) -> None:
        if obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get("finalizers"):
            self.objects.pop((kind, key), None)
            self.events.append((kind, key, None))
        elif self.objects.get((kind, key)) != (stored := json.loads(json.dumps(obj))):
            self.objects[(kind, key)] = stored
            self.events.append((kind, key, copy.deepcopy(stored)))


def merged(obj: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(obj) if isinstance(obj, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class _Touched:
    """Both sinks: what was touched, in order."""

    def __init__(self) -> None:
        self.rows: dict[RowKey, None] = {}
        self.objects: dict[tuple[str, str], None] = {}


class _Rows:
    def __init__(self, touched: _Touched) -> None:
        self._touched = touched

    def touch(self, keys: Iterable[RowKey], *, urgent: bool = False) -> None:
        self._touched.rows.update(dict.fromkeys(keys))

    def busy(self, table: str, key: Key) -> bool:
        return (table, key) in self._touched.rows

    def idle(self) -> bool:
        return not self._touched.rows


class _Objects:
    def __init__(self, touched: _Touched) -> None:
        self._touched = touched

    def touch(self, kind: str, key: str, *, urgent: bool = False) -> None:
        self._touched.objects[(kind, key)] = None


class Cluster:
    """One controller: everything that it hears and writes is in the test's hands."""

    def __init__(
        self,
        api: Api | None = None,
        database: MemoryDatabase | None = None,
        options: Options | None = None,
        southbound: MemoryDatabase | None = None,
    ) -> None:
        self.api = api or Api()
        self.database = database or MemoryDatabase()
        self.southbound = southbound
        self.options = options or Options()
        self.written: list[tuple[tuple[str, str], Write]] = []
        self.now = datetime.fromisoformat(NOW).timestamp()
        self.start()

    def start(self) -> None:
        """A new process: lists everything, compiles, compares everything once."""
        self.database._listeners.clear()
        self.state = ControllerState(self.database, self.southbound, now=lambda: self.now)
        self.world, self.engine = self.state.world, self.state.engine
        self.memory = Memory(self.database, self.state.replica)
        south = self.state.southbound
        self.south = Memory(self.southbound, south.replica) if self.southbound and south else None
        self.api.events.clear()
        for kind, (resource, _) in _KINDS.items():
            known = {key: obj for (k, key), obj in self.api.objects.items() if k == kind}
            self.state.source.replace(resource, {key: _typed(kind, obj) for key, obj in known.items()})
        self.state.describe_schema()
        self.world.put("Options", "", self.options)
        self.state.reactor.settle()
        self.touched = _Touched()
        self.state.reactor.attach(
            rows=_Rows(self.touched), objects=_Objects(self.touched), actual_rows=self.state.owned_rows
        )

    # -- the world outside

    def apply(self, *objects: Json) -> Cluster:
        """What users and kubelets write."""
        for obj in objects:
            self.api.apply(obj)
        return self

    def delete(self, kind: str, key: str) -> Cluster:
        """What users and kubelets delete."""
        self.api.delete(kind, key)
        return self

    def pass_time(self, seconds: float) -> Cluster:
        """The clock goes on, and whoever waits for it has its turn."""
        self.now += seconds
        self.state.overdue.expire()
        return self

    # -- steps

    def hear(self, count: int = 0) -> None:
        """Deliver events to the World, all or the oldest ones, and compile."""
        events = self.api.events[: count or None]
        del self.api.events[: len(events)]
        for kind, key, obj in events:
            self.state.source.apply(_KINDS[kind][0], key, None if obj is None else _typed(kind, obj))
        self.state.reactor.settle()

    def plan(self, kind: str, key: str) -> tuple[Write, ...]:
        """What the writer would send for an object now."""
        reactor, actual = self.state.reactor, self.world.get(kind, key)
        body = reactor.lease_body(kind, key)
        return plan_writes(
            reactor.items(kind, key),
            actual,
            body=body,
            unwanted=actual is not None and body is None and reactor.owned(kind, key, actual),
            blocked=reactor.blocked(kind, key),
            now=NOW,
            own_finalizers=FINALIZERS,
        )

    def write(self, kind: str, key: str) -> bool:
        """One turn of the writer for one object; the World hears of it later. Returns whether anything was sent."""
        writes = self.plan(kind, key)
        for write in writes:
            try:
                if write.verb == "create":
                    self.api.create({"kind": kind, **write.body})
                elif write.verb == "patch":
                    self.api.patch(kind, key, write.body)
                else:
                    self.api.delete(kind, key)
            except Conflict:
                self.touched.objects[(kind, key)] = None  # looked at again when the World knows more
                return False
            self.written.append(((kind, key), write))
        return bool(writes)

    def commit(self, *, batch: int = 200, each: Callable[[], None] = lambda: None) -> list[Change]:
        """Write rows until none is touched. Returns all changes."""
        changes: list[Change] = []
        while self.touched.rows:
            keys = list(self.touched.rows)
            self.touched.rows.clear()
            northern = [key for key in keys if key[0] not in SOUTHBOUND]
            changes += self.memory.commit(self.state.diff, northern, batch=batch, each=each)
            if self.south is not None:
                southern = [key for key in keys if key[0] in SOUTHBOUND]
                changes += self.south.commit(self.state.diff, southern, batch=batch, each=each)
            self.state.reactor.committed(keys)
        return changes

    def run(self, *, batch: int = 200, each: Callable[[], None] = lambda: None, rounds: int = 50) -> list[Change]:
        """Everything until nothing is left to do. Returns the changes of rows."""
        changes: list[Change] = []
        for _ in range(rounds):
            self.hear()
            changes += self.commit(batch=batch, each=each)
            keys = list(self.touched.objects)
            self.touched.objects.clear()
            for key in keys:
                self.write(*key)
            if not (self.touched.rows or self.touched.objects or self.api.events):
                return changes
        raise AssertionError(f"does not settle: {list(self.touched.objects)[:5]} {self.written[-5:]}")

    def get(self, kind: str, key: str) -> Json:
        """An object as the server has it."""
        return self.api.objects[(kind, key)]

    def row(self, table: str, key: Key) -> dict[str, Any]:
        """A row's columns by name, references as (table, key)."""
        ((row,),) = [rows for found, rows in self.memory.snapshot().items() if found == (table, key)] or [[None]]
        assert row is not None, f"no {table} {key}"
        return dict(row)


def _typed(kind: str, obj: Json) -> Any:
    return convert(obj, _KINDS[kind][1])
