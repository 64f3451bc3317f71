"""A lab comes up, goes down, and leaves nothing, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from ovnbridge.lab import Lab, LabError, Network
from ovnbridge.lab.launch import end, parent_of, supervisor_pid
from ovnbridge.lab.paths import LabPaths, lab_names

from .support import leftovers, pod, until

# A shell's background jobs ignore interrupts, and so would everything that they start.
COMMAND = ["env", "--default-signal=INT", sys.executable, "-m", "ovnbridge.lab"]
BARE = ["--no-controller", "--no-cni"]


def unique() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


def bare_lab(name: str | None = None, **options: object) -> Lab:
    return Lab(name or unique(), controller=False, cni=False, **options)  # type: ignore[arg-type]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)


async def assert_nothing_left(name: str) -> None:
    await until(lambda: not leftovers(name), f"nothing is left of {name}: {leftovers(name)}")


async def test_two_labs_side_by_side_and_again_under_the_same_names() -> None:
    names = [unique(), unique()]
    for _ in range(2):
        labs = [bare_lab(name, nodes=2) for name in names]
        await asyncio.gather(*(lab.start() for lab in labs))
        try:
            for lab in labs:
                await until(lambda lab=lab: both_chassis(lab), "both chassis are registered")
                assert "1 received" in (await lab.node_exec("node1", "ping", "-c1", "-W2", "172.30.0.102")).stdout
                assert set(names) <= set(lab_names())
                assert not [entry for entry in leftovers(lab.name) if not entry.startswith(("/run/", "process "))]
        finally:
            await asyncio.gather(*(lab.stop() for lab in labs))
        for name in names:
            assert leftovers(name) == []


async def both_chassis(lab: Lab) -> bool:
    return {"node1", "node2"} <= set((await lab.sbctl("--bare", "--columns=name", "list", "Chassis")).split())


async def test_commands_up_status_down() -> None:
    name = unique()
    up = command("up", "--name", name, "--nodes", "1", *BARE)
    try:
        assert up.returncode == 0, up.stderr
        assert f"export KUBECONFIG=/run/ovnbridge-lab/{name}/kubeconfig" in up.stdout
        again = command("up", "--name", name, *BARE)
        assert again.returncode == 1
        assert "already up" in again.stderr
        status = command("status", "--name", name)
        assert "ovn-controller-node1" in status.stdout
        assert "running" in status.stdout
        nodes = command("kubectl", "--name", name, "get", "nodes")
        assert "node1" in nodes.stdout
        link = command("node", "--name", name, "node1", "--", "hostname")
        assert link.stdout == "node1\n"
    finally:
        down = command("down", "--name", name)
    assert "is down" in down.stdout
    assert leftovers(name) == []
    again = command("down", "--name", name)
    assert again.returncode == 0
    assert "was not up" in again.stdout


@pytest.mark.parametrize("attempt", range(8))
async def test_interrupt_at_any_moment_of_up_leaves_nothing(attempt: int) -> None:
    name = unique()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "up",
        "--name",
        name,
        *BARE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    await asyncio.sleep(random.Random(attempt).uniform(0.05, 0.9))  # the moment is the test's subject, not a wait
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    async with asyncio.timeout(20):
        await process.wait()
    if process.returncode == 0:  # it was up before the signal came
        assert await end(name)
    await assert_nothing_left(name)


async def test_interrupt_reaches_a_running_up_in_words() -> None:
    name = unique()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "up", "--name", name, *BARE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    while b"machines" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, error = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error
    assert leftovers(name) == []


async def test_interrupt_of_run_leaves_nothing(tmp_path: Path) -> None:
    name = unique()
    manifest = tmp_path / "pod.json"
    manifest.write_text(pod("never-ready"))
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "run", "--name", name, *BARE, str(manifest), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    while b"pod/never-ready created" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, error = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error
    assert leftovers(name) == []


@pytest.mark.parametrize("victim", ["supervisor", "process 1", "unshare"])
async def test_kill_of_any_process_of_the_chain_leaves_nothing(victim: str) -> None:
    lab = bare_lab(nodes=1)
    await lab.start()
    try:
        supervisor = lab.remote.supervisor
        shell = parent_of(supervisor)
        os.kill({"supervisor": supervisor, "process 1": shell, "unshare": parent_of(shell)}[victim], signal.SIGKILL)
        await until(
            lambda: not LabPaths(lab.name).control.exists() or supervisor_pid(LabPaths(lab.name)) is None, "it is gone"
        )
    finally:
        await lab.stop()
    await assert_nothing_left(lab.name)


async def test_death_of_the_launcher_ends_a_lab_that_was_not_detached() -> None:
    name = unique()
    script = (
        "import asyncio\nfrom ovnbridge.lab import Lab\n"
        f"async def main():\n  async with Lab({name!r}, nodes=1, controller=False, cni=False):\n"
        "    print('up', flush=True); await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    process.kill()
    await process.wait()
    await assert_nothing_left(name)


async def test_a_detached_lab_that_was_killed_is_cleaned_by_the_next_down() -> None:
    lab = bare_lab(nodes=1)
    await lab.start()
    shell = parent_of(lab.remote.supervisor)
    lab.detach()
    await lab.close()
    os.kill(shell, signal.SIGKILL)  # nobody is left who could tidy up
    paths = LabPaths(lab.name)
    await until(lambda: supervisor_pid(paths) is None, "the supervisor is gone")
    assert paths.directory.exists()
    assert command("down", "--name", lab.name).returncode == 0
    await assert_nothing_left(lab.name)


async def test_down_ends_a_lab_that_does_not_answer() -> None:
    lab = bare_lab(nodes=1)
    await lab.start()
    os.kill(lab.remote.supervisor, signal.SIGSTOP)
    paths = LabPaths(lab.name)
    paths.control.unlink()
    lab.detach()
    await lab.close()
    assert "is down" in command("down", "--name", lab.name).stdout
    await assert_nothing_left(lab.name)


async def test_the_same_name_again_and_again_at_once() -> None:
    name = unique()
    for _ in range(4):
        labs = [bare_lab(name, nodes=1) for _ in range(3)]
        results = await asyncio.gather(*(lab.start() for lab in labs), return_exceptions=True)
        refused = [result for result in results if isinstance(result, LabError)]
        assert len(refused) == 2
        assert all("already up" in str(result) for result in refused)
        (up,) = [lab for lab, result in zip(labs, results, strict=True) if result is None]
        ends = await asyncio.gather(end(name), up.stop(), end(name), return_exceptions=True)
        assert all(not isinstance(result, BaseException) or isinstance(result, LabError) for result in ends)
    await assert_nothing_left(name)


async def test_a_lab_that_cannot_come_up_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    lab = bare_lab(ovs_root=tmp_path)
    with pytest.raises(LabError, match="ovsdb-tool is not there"):
        await lab.start()
    assert not LabPaths(lab.name).directory.exists()
    with pytest.raises(LabError, match="nodes"):
        await bare_lab(nodes=0).start()


@pytest.fixture
def ovs_root(tmp_path: Path) -> Path:
    """A root directory with nothing but OVS and OVN in it, as a debootstrap root would have them."""
    names = ["ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl"]
    names += ["ovn-northd", "ovn-controller", "ovn-nbctl", "ovn-sbctl"]
    programs = [shutil.which(name) for name in names]
    libraries = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    files = {word for word in libraries.split() if word.startswith("/") and not word.endswith(":")}
    for file in [*files, *map(str, programs)]:
        target = tmp_path / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(file, target)
    (tmp_path / "tmp").mkdir()
    for folder in ("openvswitch", "ovn"):
        shutil.copytree(
            f"/usr/share/{folder}", tmp_path / "usr/share" / folder, ignore=shutil.ignore_patterns("scripts")
        )
    return tmp_path


async def test_ovn_from_another_root_directory(ovs_root: Path) -> None:
    async with bare_lab(nodes=2, ovs_root=ovs_root) as lab:
        await until(lambda: both_chassis(lab), "both chassis are registered")
        pid = lab.component("vswitchd-node1").pid
        assert Path(f"/proc/{pid}/root").readlink() == ovs_root
        assert "br-phy" in await lab.vsctl("node1", "show")
        assert "1 received" in (await lab.node_exec("node1", "ping", "-c1", "-W2", "172.30.0.102")).stdout
        name = lab.name
    assert leftovers(name) == []
    assert not list((ovs_root / "run").iterdir()), "nothing was mounted there for anybody else"


async def test_a_dual_stack_underlay_and_the_external_network() -> None:
    network = Network(pods="10.16.0.0/16,fd00:10:16::/112", services="10.96.0.0/12,fd00:10:96::/112")
    async with bare_lab(nodes=2, network=network) as lab:
        ping = await lab.node_exec("node1", "ping", "-c1", "-W2", "fd00:172:30::102")
        assert "1 received" in ping.stdout
        addresses = await lab.kubectl("get", "node", "node2", "-o", "jsonpath={.status.addresses[*].address}")
        assert addresses == "172.30.0.102 fd00:172:30::102 node2"
        await lab.node_exec("node1", "ip", "addr", "add", "172.31.0.101/24", "dev", "br-ex")
        assert "1 received" in (await lab.node_exec("fabric", "ping", "-c1", "-W2", "172.31.0.101")).stdout


async def test_components_are_killed_and_started_by_name() -> None:
    async with bare_lab(nodes=1) as lab:
        await until(lambda: lab.sbctl("--bare", "--columns=name", "list", "Chassis"), "the chassis is registered")
        for name in ("vswitchd-node1", "ovn-controller-node1", "nb", "sb", "northd", "ovsdb-node1"):
            component = lab.component(name)
            before = component.pid
            assert before is not None
            assert Path(f"/proc/{before}").exists()
            await component.kill(9)
            assert component.state == "ended by SIGKILL"
            assert component.pid is None
            with pytest.raises(LabError, match="does not run"):
                await component.kill(9)
            await component.start()
            assert component.pid not in {before, None}
        await until(lambda: pings(lab, "172.30.0.101"), "the node's address survives the death of its switch")
        await lab.nbctl("--wait=hv", "sync")
        assert "node1" in await lab.sbctl("show")
        # Files are where a tool looks for them on a real machine.
        await lab.central_exec("ovn-nbctl", "show")
        assert "br-phy" in (await lab.node_exec("node1", "ovs-vsctl", "show")).stdout
        assert "pid" not in (await lab.node_exec("node1", "ovs-appctl", "version")).stderr


async def test_the_embedded_api_takes_faults_and_keeps_its_objects_over_a_stop() -> None:
    async with bare_lab(nodes=1) as lab:
        await lab.requests(reset=True)
        await lab.kubectl(
            "create", "-f", "-", input='{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kept"}}'
        )
        assert (await lab.requests())["POST", "core/namespaces"] == 1
        await lab.faults("fail", status=503, count=1, match="GET .*/nodes")
        with pytest.raises(LabError):
            await lab.kubectl("get", "--raw", "/api/v1/nodes")
        assert "node1" in await lab.kubectl("get", "--raw", "/api/v1/nodes")
        api = lab.component("api")
        await api.kill(9)
        with pytest.raises(LabError):
            await lab.kubectl("get", "--raw", "/api/v1/nodes")
        await api.start()
        assert "kept" in await lab.kubectl("get", "namespaces")
        # The stand-ins have found their way back too: the new namespace got its service account, as the next one does.
        await lab.kubectl(
            "create", "-f", "-", input='{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"later"}}'
        )
        await until(lambda: service_account(lab, "later"), "the default service account")


async def pings(lab: Lab, address: str) -> bool:
    return (await lab.central_exec("ping", "-c1", "-W1", address, check=False)).returncode == 0


async def service_account(lab: Lab, namespace: str) -> bool:
    return "default" in await lab.kubectl("get", "serviceaccounts", "-n", namespace, "-o", "name")


async def test_raft_cluster_of_three_keeps_working_without_its_leader() -> None:
    async with bare_lab(nodes=1, ovn="raft3") as lab:
        await lab.nbctl("ls-add", "before")
        for member in ("ovnnb_db", "ovnnb_db2", "ovnnb_db3"):
            target = f"{lab.directory}/central/run/{member}.ctl"
            await until(lambda target=target: three_members(lab, target), f"{member} knows three members")
        await lab.component("nb1").kill(9)
        await until(lambda: added(lab), "a write without the first member")
        assert {"before", "after"} <= set(
            (await lab.nbctl("--bare", "--columns=name", "list", "Logical_Switch")).split()
        )


async def three_members(lab: Lab, target: str) -> bool:
    status = await lab.central_exec("ovs-appctl", "-t", target, "cluster/status", "OVN_Northbound")
    return "Status: cluster member" in status.stdout and status.stdout.count("172.30.0.1") >= 3


async def added(lab: Lab) -> bool:
    try:
        await lab.nbctl("--may-exist", "ls-add", "after")
    except LabError:
        return False
    return True
