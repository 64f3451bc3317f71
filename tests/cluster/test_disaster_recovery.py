"""NB is lost, or put back from an older backup, while everything runs: it is rebuilt from Kubernetes alone.

Nothing is restarted, every pod keeps its address, traffic returns. The time is printed, not judged: it is mostly the
time in which the nodes' ovn-controllers follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import ROOT, Cluster, until

from ovnbridge.lab.errors import LabError

_PINGS = 100
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_emptied_database_is_rebuilt(cluster: Cluster) -> None:
    await cluster.lab.apply(ROOT / "examples" / "first-light.yaml")
    await cluster.lab.wait_pods("first-light", timeout=60)
    await cluster.quiet()

    async def empty(file: Path) -> None:
        file.unlink()
        schema = "/usr/share/ovn/ovn-nb.ovsschema"
        await cluster.lab.central_exec("ovsdb-tool", "create", str(file), schema)

    await _lose_database(cluster, "emptied", empty)


async def test_an_older_backup_is_brought_up_to_date(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.lab.apply(ROOT / "examples" / "first-light.yaml")
    await cluster.lab.wait_pods("first-light", timeout=60)
    await cluster.quiet()
    backup = tmp_path / "backup.db"
    shutil.copy(_file(cluster), backup)
    # What the backup does not know: pods that are gone and others that came, and a port that it holds at another place.
    await cluster.lab.kubectl("delete", "deployment", "web", "-n", "first-light")
    await cluster.lab.kubectl("scale", "deployment", "client", "-n", "first-light", "--replicas=3")
    await cluster.lab.wait_pods("first-light", timeout=60)
    await cluster.quiet()

    async def restore(file: Path) -> None:
        shutil.copy(backup, file)

    await _lose_database(cluster, "restored from an older backup", restore)


def _file(cluster: Cluster) -> Path:
    (file,) = cluster.lab.directory.rglob("ovnnb_db.db")
    return file


async def _lose_database(cluster: Cluster, how: str, replace: object) -> None:
    """Stop NB's server, replace its file, start it again; everything must be as it was."""
    lab = cluster.lab
    addresses, pids, restarts = await _addresses(cluster), _pids(cluster), await _restarts(cluster)
    ports, rows = await cluster.ports(), await _rows(cluster)
    server = lab.component("nb")
    began = time.monotonic()
    await server.kill(signal.SIGKILL)
    await until(lambda: _gone(cluster), what="NB's server ended")
    await replace(_file(cluster))  # type: ignore[operator]
    assert await _ports_in(cluster, _file(cluster)) != ports, "the file is not an older one"
    pinging = asyncio.create_task(_pings(cluster))
    await server.start()

    async def rebuilt() -> bool:
        with contextlib.suppress(LabError):  # the server does not listen yet
            return await cluster.ports() == ports and await _rows(cluster) == rows
        return False

    await until(rebuilt, timeout=60, what="the same rows")
    written = time.monotonic() - began
    while not (matrix := await lab.ping_matrix(nodes=True)).ok:
        assert time.monotonic() - began < 120, matrix.table()
        await asyncio.sleep(0.2)
    everything = time.monotonic() - began
    lost = await pinging
    print(
        f"\nNB {how}: rows after {written:.1f} s, all traffic after {everything:.1f} s; {lost} of {_PINGS} pings lost"
    )
    assert await _addresses(cluster) == addresses
    assert _pids(cluster) == {**pids, "nb": _pids(cluster)["nb"]}, "something was restarted"
    assert await _restarts(cluster) == restarts, "a container was restarted"
    await cluster.quiet()


async def _pings(cluster: Cluster) -> int:
    """A ping each 50 ms from one pod to another on another node, beginning now; how many are not answered."""
    pods = (await cluster.get("pods", "-n", "first-light"))["items"]
    source = pods[0]
    target = next(p for p in pods if p["spec"]["nodeName"] != source["spec"]["nodeName"])
    command = ("ping", "-q", "-W1", "-i0.05", f"-c{_PINGS}", target["status"]["podIP"])
    done = await cluster.lab.exec(
        source["metadata"]["name"], *command, namespace="first-light", check=False, timeout=60
    )
    found = re.search(r"(\d+) received", done.stdout)
    assert found is not None, done
    return _PINGS - int(found[1])


async def _ports_in(cluster: Cluster, file: Path) -> set[str]:
    """Names of the logical switch ports in a database file that is not served."""
    query = json.dumps(["OVN_Northbound", {"op": "select", "table": "Logical_Switch_Port", "where": []}])
    done = await cluster.lab.central_exec("ovsdb-tool", "query", str(file), query)
    return {row["name"] for row in json.loads(done.stdout)[0]["rows"]}


async def _gone(cluster: Cluster) -> bool:
    return cluster.lab.component("nb").pid is None


async def _addresses(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Address and MAC of every lease, by owner."""
    found = (await cluster.get("ips"))["items"]
    return {ip["metadata"]["name"]: (ip["spec"]["ipAddress"], ip["spec"]["macAddress"]) for ip in found}


async def _rows(cluster: Cluster) -> dict[str, list[str]]:
    """What of NB traffic depends on, by names and values."""
    columns = {
        "Logical_Switch_Port": "name,addresses,external_ids",
        "Logical_Router_Policy": "priority,match,action,nexthops",
        "Logical_Router_Static_Route": "ip_prefix,nexthop,policy",
        "Logical_Router_Port": "name,networks",
        "Address_Set": "name,addresses",
    }
    return {
        table: sorted((await cluster.nb("--format=csv", f"--columns={names}", "list", table)).splitlines())
        for table, names in columns.items()
    }


def _pids(cluster: Cluster) -> dict[str, int | None]:
    names = ["controller", "northd", "nb", "sb"]
    for node in cluster.lab.node_names:
        names += [f"ovsdb-{node}", f"vswitchd-{node}", f"ovn-controller-{node}", f"cni-{node}"]
    return {name: cluster.lab.component(name).pid for name in names}


async def _restarts(cluster: Cluster) -> dict[str, int]:
    """Containers' restarts, by pod uid: also shows that no pod was exchanged."""
    return {
        pod["metadata"]["uid"]: sum(c.get("restartCount", 0) for c in pod["status"].get("containerStatuses", ()))
        for pod in (await cluster.get("pods", "--all-namespaces"))["items"]
    }
