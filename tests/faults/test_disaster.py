"""The database is lost, set back or upgraded while the controller runs and all kinds of objects exist.

Rows are compared by their natural keys, with the values that a fresh controller could have chosen differently: MAC
addresses and UUIDs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio

from ovnbridge.model.ovn import NORTHBOUND
from tests.faults.estate import Estate
from tests.faults.estate_scripts import NETWORKS
from tests.faults.harness import NODES, NOTE, Action, Harness
from tests.support.ovsdb import NB_SCHEMA, create

TABLES = tuple(json.loads(NB_SCHEMA.read_text())["tables"])
EPOCH = "ovnbridge-epoch"

EVERYTHING: list[Action] = [
    *[("pod", space, f"p{n}", NODES[n % 3]) for space in "ab" for n in range(6)],
    ("put", "vpcs", "v1", {
        "staticRoutes": [{"cidr": "198.51.100.0/24", "nextHopIP": "10.190.0.254", "policy": "policyDst"}],
        "policyRoutes": [{"priority": 1100, "match": "ip4.dst == 203.0.113.0/24", "action": "drop"}],
        "vpcPeerings": [{"remoteVpc": "v2", "localConnectIP": "169.254.0.1/30"}],
    }),
    ("put", "vpcs", "v2", {"vpcPeerings": [{"remoteVpc": "v1", "localConnectIP": "169.254.0.2/30"}]}),
    ("put", "subnets", "x0", {"cidrBlock": "10.190.0.0/24", "vpc": "v1", "enableDHCP": True}),
    ("put", "subnets", "x1", {"cidrBlock": "10.191.0.0/24", "vpc": "v2", "private": True}),
    ("put", "subnets", "under", {
        "cidrBlock": "172.30.0.0/24", "gateway": "172.30.0.1", "vlan": "vlan1", "u2oInterconnection": True,
    }),
    ("put", "subnets", "fixed", {
        "private": True, "allowSubnets": ["10.99.0.0/28"], "enableDHCP": True,
        "gatewayType": "centralized", "gatewayNode": "node-2,node-3",
        "acls": [{"direction": "to-lport", "priority": 1010, "match": "ip4.src == 10.0.0.0/8", "action": "drop"}],
    }),
    ("put", "ippools", "pool1", {"subnet": "fixed", "ips": ["10.198.0.20..10.198.0.29"]}),
    ("put", "vips", "vip0", {"subnet": "fixed"}),
    ("put", "vips", "vip1", {"subnet": "fixed", "namespace": "c"}),
    ("put", "vips", "vip2", {"subnet": "fixed", "type": "switch_lb_vip"}),
    ("scale", "web", 3),
    *[("member", "web", n, NODES[n]) for n in range(3)],
    ("noted", "c", "q0", "node-1", {}),
    ("noted", "c", "q1", "node-2", {f"{NOTE}ip_address": "10.198.0.60"}),
    ("noted", "c", "q2", "node-3", {f"{NOTE}ip_pool": "pool1"}),
    ("noted", "c", "q3", "node-1", {f"{NOTE}aaps": "vip1"}),
    ("noted", "c", "q4", "node-2", {f"{NOTE}vip": "vip0"}),
    ("noted", "c", "q5", "node-3", {NETWORKS: "c/net"}),
    ("node", "node-4"),
    ("settle",),
    ("delete", "d", "web-2"),  # its address outlives it
    ("settle",),
]  # fmt: skip


@pytest_asyncio.fixture
async def estate() -> AsyncIterator[Estate]:
    async with Estate() as estate:
        await estate.run(EVERYTHING)
        yield estate


async def dump(harness: Harness) -> dict[str, list[str]]:
    """Every table, references by the natural keys that they mean, with the UUIDs of rows that are made by key."""
    found = await harness.rows(*TABLES)
    names = {row["_uuid"][1]: f"{table} {_name(row)}" for table, rows in found.items() for row in rows}
    return {table: sorted(_text(table, row, names) for row in rows) for table, rows in found.items()}


def _name(row: Mapping[str, Any]) -> str:
    return str(
        [row[column] for column in ("name", "priority", "match", "ip_prefix", "nexthop", "cidr") if column in row]
    )


def _text(table: str, row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2 and value[0] == "uuid":
            return names.get(value[1], value[1])
        if isinstance(value, list) and len(value) == 2 and value[0] in ("set", "map"):
            return sorted((plain(part) for part in value[1]), key=str)
        if isinstance(value, list):
            return [plain(part) for part in value]
        return value

    kept = {column: plain(value) for column, value in row.items() if column not in ("_uuid", "_version")}
    if table == "NB_Global":  # the row itself is the server's
        kept["external_ids"] = [pair for pair in kept["external_ids"] if pair[0] != EPOCH]
    elif table in NORTHBOUND:
        kept["_uuid"] = row["_uuid"][1]
    return json.dumps(kept, sort_keys=True)


async def statement(harness: Estate) -> dict[str, Any]:
    """What Kubernetes says of addresses and subnets."""
    kinds = ("ips", "subnets", "vips", "ippools", "vpcs")
    return {
        kind: {o["metadata"]["name"]: (o.get("spec"), o.get("status")) for o in harness.objects("kubeovn.io", kind)}
        for kind in kinds
    }


async def test_an_emptied_database_is_rebuilt_from_kubernetes_alone(estate: Estate) -> None:
    before, said, pid = await dump(estate), await statement(estate), estate.controller_pid
    for table in ("Logical_Router_Port", "Logical_Router_Static_Route", "Logical_Router_Policy", "DHCP_Options", "ACL",
                  "Address_Set", "Port_Group", "Gateway_Chassis", "Load_Balancer"):  # fmt: skip
        assert before[table] or table == "Gateway_Chassis", f"the test holds no {table}"
    await estate.run([("empty_nb",), ("settle",)])
    assert await dump(estate) == before
    assert await statement(estate) == said
    assert estate.controller_pid == pid, "the controller was restarted"


async def test_an_older_backup_is_brought_up_to_date(estate: Estate) -> None:
    """What came after the backup is made again, what went after it is removed again."""
    pid = estate.controller_pid
    await estate.run([
        ("backup_nb",),
        ("delete", "c", "q0"),
        ("noted", "c", "q6", "node-2", {f"{NOTE}ip_pool": "pool1"}),
        ("put", "vpcs", "v2", {"vpcPeerings": []}),
        ("put", "vpcs", "v1", {"vpcPeerings": [], "staticRoutes": []}),
        ("put", "subnets", "x1", {"vpc": "v1", "private": False}),
        ("put", "subnets", "fixed", {"private": False, "enableDHCP": False, "acls": []}),
        ("remove", "subnets", "under"),
        ("remove", "vips", "vip2"),
        ("scale", "web", 1),
        ("remove_node", "node-4"),
        ("settle",),
    ])  # fmt: skip
    before, said = await dump(estate), await statement(estate)
    await estate.run([("restore_nb",), ("settle",)])
    assert await dump(estate) == before
    assert await statement(estate) == said
    assert estate.controller_pid == pid, "the controller was restarted"


async def test_the_schema_is_upgraded_under_the_running_controller(tmp_path: Path) -> None:
    """An older schema lacks columns that are written as soon as the server has them; nobody restarts anything."""
    newer = json.loads(NB_SCHEMA.read_text())
    older = json.loads(json.dumps(newer))
    older["version"] = "5.0.0"
    for table, column in (("Load_Balancer", "options"), ("Logical_Router_Static_Route", "external_ids")):
        del older["tables"][table]["columns"][column]
    for name, schema in (("older", older), ("newer", newer)):
        (tmp_path / name).write_text(json.dumps(schema))

    async with Estate() as estate:
        estate._replace_nb(lambda file: create(file, tmp_path / "older"))
        await estate.run(EVERYTHING)
        pid = estate.controller_pid
        converted = asyncio.create_task(
            asyncio.to_thread(
                subprocess.run,
                ["ovsdb-client", "convert", estate.servers[0].remote, str(tmp_path / "newer")],
                check=True,
            )
        )
        await estate.run([("pod", "a", "during", "node-1"), ("noted", "c", "q7", "node-1", {NETWORKS: "c/net"})])
        await converted
        await estate.run([("settle",)])
        assert estate.controller_pid == pid, "the controller was restarted"
        upgraded = await dump(estate)
        await estate.run([("empty_nb",), ("settle",)])  # made with the newer schema: the same
        assert await dump(estate) == upgraded
        for row in map(json.loads, upgraded["Load_Balancer"]):
            assert row["options"], "a column of the newer schema was not written"
