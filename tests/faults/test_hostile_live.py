"""The running controller, a real NB server and the embedded API against objects that nobody should write."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest

from ovnbridge.controller import KINDS
from ovnbridge.lab.api.errors import ApiError
from ovnbridge.lab.api.store import Change, Collection
from tests.faults.estate import ATTACHMENTS
from tests.faults.harness import Harness, Object
from tests.faults.test_live_commands import command
from tests.support.army import army
from tests.support.cluster import Json, subnet, vpc

RESOURCES = {resource.kind: resource for resource, _ in KINDS}
COUNT = 240


class Stand(Harness):
    """Healthy pods in a subnet of their own, and whatever comes."""

    def _populate(self) -> None:
        super()._populate()
        self.create("apiextensions.k8s.io", "v1", "customresourcedefinitions", copy.deepcopy(ATTACHMENTS))

    def _observe(self, collection: Collection, change: Change) -> None:
        """Not watched: hostile objects may well say that two pods have one address."""

    def write(self, obj: Json) -> bool:
        """Create an object of any kind; whether the API server takes it. It must say why not."""
        resource = RESOURCES[obj["kind"]]
        body = json.loads(json.dumps(obj)) | {"apiVersion": resource.api_version}
        if obj["kind"] == "Pod":
            body["spec"]["containers"] = [{"name": "c", "image": "i"}]
        try:
            self.create(resource.group, resource.version, resource.plural, body)
        except ApiError as error:
            refusal = error.message
        else:
            return True
        assert len(refusal) > 10
        return False

    def remove(self, obj: Json) -> None:
        resource, meta = RESOURCES[obj["kind"]], obj["metadata"]
        grace = 0 if obj["kind"] == "Pod" else None
        self._delete(resource.group, resource.version, resource.plural, meta.get("namespace", ""), meta["name"], grace)

    def stored(self, obj: Json) -> Object | None:
        resource, meta = RESOURCES[obj["kind"]], obj["metadata"]
        entry = self._collection(resource.group, resource.plural).objects.get((meta.get("namespace", ""), meta["name"]))
        return entry.decode() if entry is not None else None

    def warned(self) -> set[tuple[str, str, str]]:
        """Kind, namespace and name of what has a warning of ours that says something."""
        return {
            (about["kind"], about.get("namespace", ""), about["name"])
            for event in self.objects("", "events")
            if event["type"] == "Warning" and len(event["message"]) > 5
            for about in [event["involvedObject"]]
        }

    async def names(self, table: str) -> set[str]:
        return {row["name"] for row in (await self.rows(table))[table]}

    async def eventually(self, wrong: Any, what: str) -> None:
        """Until an asynchronous question finds nothing wrong."""
        async with asyncio.timeout(120):
            while found := await wrong():
                assert self._controller is not None
                assert self._controller.poll() is None, self._output()[-3000:]
                last = found
                await asyncio.sleep(0.2)
                print(f"{what}: {len(last)}, as {str(last[0])[:200]}")


def silent(obj: Json, now: Object, warned: set[tuple[str, str, str]], ports: set[str], routers: set[str]) -> bool:
    """Whether an object neither works nor has a word said about it."""
    kind, meta, status = obj["kind"], obj["metadata"], now.get("status") or {}
    said = {c["type"]: c["status"] for c in status.get("conditions") or ()} if kind != "Node" else {}
    if (kind, meta.get("namespace", ""), meta["name"]) in warned or said.get("Ready") == "False":
        return False
    if kind == "Pod":
        return f"{meta['name']}.{meta['namespace']}" not in ports
    if kind in ("Subnet", "IPPool"):
        return said.get("Ready") != "True"
    if kind == "Vpc":
        image = meta.get("labels", {}).get("ovn.kubernetes.io/vpc_external") == "true"
        return not image and meta["name"] not in routers
    if kind == "Vip":
        return not (status.get("v4ip") or status.get("v6ip") or status.get("mac"))
    return False


@pytest.mark.parametrize("seed", [1, *(pytest.param(s, marks=pytest.mark.slow) for s in range(2, 8))])
async def test_the_controller_stands_hostile_objects(seed: int) -> None:
    async with Stand() as at:
        healthy = [
            vpc("sane"),
            subnet("healthy", cidrBlock="10.30.0.0/24", namespaces=["a"]),
            subnet("apart", vpc="sane", cidrBlock="10.30.0.0/24", namespaces=["b"]),
        ]
        assert all(map(at.write, healthy))
        for number in range(6):
            at.pod("a", f"p{number}", f"node-{number % 3 + 1}")
        own = {f"p{number}.a" for number in range(6)}

        async def missing() -> list[str]:
            return sorted(own - await at.names("Logical_Switch_Port"))

        await at.eventually(missing, "healthy pods")
        await settled(at)
        before = await at.snapshot()
        taken = [obj for obj in army(seed, COUNT) if at.write(obj)]
        assert len(taken) > COUNT // 2, "most of it is well-formed"
        at.pod("a", "canary", "node-1")
        own.add("canary.a")
        await at.eventually(missing, "a healthy pod among them")

        async def unanswered() -> list[str]:
            warned, ports = at.warned(), await at.names("Logical_Switch_Port")
            routers = await at.names("Logical_Router")
            left = [(obj, now) for obj in taken if (now := at.stored(obj)) is not None]
            return [json.dumps(obj)[:300] for obj, now in left if silent(obj, now, warned, ports, routers)]

        await at.eventually(unanswered, "objects of which nothing is said")
        await settled(at)
        after = await at.snapshot()
        for table in ("Logical_Switch_Port", "Logical_Router_Port", "ACL"):
            assert set(before[table]) <= set(after[table]), "what is healthy is as it was"
        assert "Traceback" not in at._controller_log.read_text(errors="replace")
        at.delete("a", "canary")
        for obj in taken:
            at.remove(obj)

        async def left() -> list[str]:
            now = await at.snapshot()
            return [f"{table}: {row}" for table in now for row in sorted({*now[table]} ^ {*before[table]})]

        await at.eventually(left, "rows that are not as before")
        assert at.kills == 0


async def settled(at: Stand) -> None:
    """Until a plan has nothing to write: what is accepted is carried out, and nothing is half made."""

    async def different() -> list[str]:
        status, report, err = await command(at, "plan")
        assert status in (0, 2), err
        return [f"{o['operation']} {o.get('table', o.get('kind'))} {o['key']}" for o in report["operations"]]

    await at.eventually(different, "what a plan would write")
