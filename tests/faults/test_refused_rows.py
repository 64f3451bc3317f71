"""NB refuses a row: the person who made the object is told on it, the object does not say Ready, all else goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.faults.harness import Harness, Object
from tests.support.ovsdb import NB_SCHEMA, create, eventually

LONG = "a-name-that-is-too-long-for-this-database"


class Strict(Harness):
    def foreign(self, name: str) -> bool:
        return name.startswith(LONG)

    def conditions(self) -> dict[str, str]:
        (subnet,) = [s for s in self.objects("kubeovn.io", "subnets") if s["metadata"]["name"] == LONG]
        return {c["type"]: c["status"] for c in subnet.get("status", {}).get("conditions", ())}

    def told(self) -> list[Object]:
        return [e for e in self.objects("", "events") if e["reason"] == "OVNTransactionFailed"]


async def test_a_refused_row_is_told_on_its_object(tmp_path: Path) -> None:
    strict = json.loads(NB_SCHEMA.read_text())
    name = {"key": {"type": "string", "maxLength": 20}}
    strict["tables"]["Logical_Switch"]["columns"]["name"]["type"] = name
    (tmp_path / "strict").write_text(json.dumps(strict))
    async with Strict() as harness:
        harness._replace_nb(lambda file: create(file, tmp_path / "strict"))
        for number in range(5):
            harness.pod("a", f"p{number}", "node-1")
        harness.subnet(LONG, "10.150.0.0/24")
        harness.subnet("fine", "10.151.0.0/24")
        await harness.settle()
        await eventually(harness.told, "an event", 30)
        for event in harness.told():
            assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Subnet", LONG)
            assert event["type"] == "Warning"
            assert "constraint violation" in event["message"]
            assert LONG in event["message"]
        assert harness.conditions().get("Ready") != "True"
        harness.pod("a", "later", "node-2")
        await harness.settle()

        # Whoever repairs the database need not do anything else.
        subprocess.run(["ovsdb-client", "convert", harness.servers[0].remote, str(NB_SCHEMA)], check=True)
        await eventually(lambda: harness.conditions().get("Ready") == "True", "Ready", 90)
        names = {row["name"] for row in (await harness.rows("Logical_Switch"))["Logical_Switch"]}
        assert LONG in names
