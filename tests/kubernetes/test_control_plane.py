"""The real control plane: it runs workloads, keeps data over restarts, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ovnbridge.lab.kubernetes import (
    ALL,
    ControlPlaneError,
    RealControlPlane,
    find_binaries,
)
from ovnbridge.lab.kubernetes_configuration import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER

pytestmark = [
    pytest.mark.real_kubernetes,
    pytest.mark.skipif(find_binaries(names=ALL) is None, reason="the real control plane is not built: run `make kube`"),
]

DEADLINE = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealControlPlane]:
    async with RealControlPlane(directory=tmp_path_factory.mktemp("plane")) as started:
        yield started


async def eventually(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (result := await condition()):
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE:g} s"
        await asyncio.sleep(0.1)
    return result


async def apply(plane: RealControlPlane, *objects: dict[str, Any]) -> None:
    await plane.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


async def read(plane: RealControlPlane, *what: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(await plane.kubectl("get", *what, "-o", "json"))
    return result


async def add_ready_node(plane: RealControlPlane, name: str) -> None:
    labels = {"kubernetes.io/hostname": name}
    await apply(plane, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    resources = {"cpu": "8", "memory": "16Gi", "pods": "250"}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "declared by a test"}
    status = {"status": {"allocatable": resources, "capacity": resources, "conditions": [ready]}}
    await plane.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))

    async def schedulable() -> bool:
        return "taints" not in (await read(plane, "node", name))["spec"]

    await eventually(schedulable, "the controller-manager removes the not-ready taint")


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "example.invalid/none"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers, **spec},
    }


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"kept": name}}


def runs(pid: int) -> bool:
    """Whether a process still executes; one that awaits burial by another parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def listeners(pids: Iterable[int]) -> set[tuple[str, int]]:
    """The TCP addresses, in the kernel's hexadecimal notation, and ports on which these processes listen."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == "0A" and fields[9] in inodes:
                found.add((address, int(port, 16)))
    return found


async def test_a_deployment_becomes_pods_on_ready_nodes(plane: RealControlPlane) -> None:
    for name in ("node-1", "node-2"):
        await add_ready_node(plane, name)
    labels = {"app": "web"}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    template = {
        "metadata": {"labels": labels},
        "spec": pod("")["spec"] | {"topologySpreadConstraints": [spread | {"labelSelector": {"matchLabels": labels}}]},
    }
    spec = {"replicas": 4, "selector": {"matchLabels": labels}, "template": template}
    await apply(
        plane,
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels}, "spec": spec},
    )

    async def scheduled() -> list[dict[str, Any]] | None:
        pods = (await read(plane, "pods", "-l", "app=web"))["items"]
        return pods if len(pods) == 4 and all(item["spec"].get("nodeName") for item in pods) else None

    pods = await eventually(scheduled, "four pods are scheduled")
    assert {item["spec"]["nodeName"] for item in pods} == {"node-1", "node-2"}
    assert {item["metadata"]["ownerReferences"][0]["kind"] for item in pods} == {"ReplicaSet"}


async def test_a_pod_may_name_a_service_account_made_just_before(plane: RealControlPlane) -> None:
    metadata = {"name": "fresh", "namespace": "fresh"}
    # A pod on a node without a kubelet would not go away when it is deleted: nobody confirms that it has ended.
    worker = pod("worker", serviceAccountName="fresh", nodeSelector={"no": "node"})
    worker["metadata"]["namespace"] = "fresh"
    await apply(
        plane,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        worker,
    )
    created = await read(plane, "pod", "worker", "-n", "fresh")
    assert created["spec"]["serviceAccountName"] == "fresh"
    assert created["spec"]["volumes"][0]["projected"]
    await plane.kubectl("delete", "namespace", "fresh", "--wait=true", f"--timeout={DEADLINE:g}s")


async def test_a_service_account_token_has_only_the_rights_that_a_role_gives(plane: RealControlPlane) -> None:
    await plane.kubectl("create", "serviceaccount", "reader")
    await plane.kubectl("create", "clusterrole", "pod-reader", "--verb=get,list", "--resource=pods")
    await plane.kubectl(
        "create", "clusterrolebinding", "reader", "--clusterrole=pod-reader", "--serviceaccount=default:reader"
    )
    token = (await plane.kubectl("create", "token", "reader")).strip()
    configuration = plane.kubeconfig()
    configuration["users"][0]["user"] = {"token": token}
    path = plane.directory / "reader.kubeconfig"
    path.write_text(json.dumps(configuration))
    as_reader = f"--kubeconfig={path}"

    async def listed() -> bool:
        try:
            await plane.kubectl("get", "pods", as_reader)
        except ControlPlaneError:
            return False
        return True

    await eventually(listed, "the role takes effect")
    with pytest.raises(ControlPlaneError, match="Forbidden"):
        await plane.kubectl("get", "nodes", as_reader)


async def test_it_listens_on_one_loopback_port_only(plane: RealControlPlane) -> None:
    assert set(plane.processes) == {ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER}
    assert listeners(plane.processes.values()) == {("0100007F", plane.port)}


async def test_stop_leaves_no_process_and_no_port_and_start_finds_the_data_again(tmp_path: Path) -> None:
    plane = RealControlPlane(directory=tmp_path)
    await plane.start()
    pids, port = set(plane.processes.values()), plane.port
    assert len(pids) == 4
    assert accepts(port)
    await apply(plane, config_map("before"))
    # A client that watches must not hold up the end.
    watch = await asyncio.create_subprocess_exec(
        *(str(Path(find_binaries() or "") / "kubectl"), f"--kubeconfig={plane.kubeconfig_path}"),
        *("get", "configmaps", "--watch", f"--cache-dir={tmp_path / 'cache'}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert watch.stdout is not None
    assert await asyncio.wait_for(watch.stdout.readline(), DEADLINE)
    started = time.monotonic()
    await plane.stop()
    assert time.monotonic() - started < 5
    assert not any(runs(pid) for pid in pids)
    assert not plane.processes
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
    await asyncio.wait_for(watch.communicate(), DEADLINE)

    kubeconfig = json.dumps(plane.kubeconfig())
    async with RealControlPlane(directory=tmp_path, port=port, scheduler=False) as again:
        assert again.url == plane.url
        (tmp_path / "earlier").write_text(kubeconfig)
        found = await read(again, "configmap", "before", f"--kubeconfig={tmp_path / 'earlier'}")
        assert found["data"] == {"kept": "before"}


@pytest.mark.parametrize("kill", [False, True], ids=["asked", "killed"])
async def test_restarted_components_keep_what_was_written(plane: RealControlPlane, kill: bool) -> None:
    names = []
    for component in (API_SERVER, ETCD, CONTROLLER_MANAGER, SCHEDULER):
        names.append(f"{component}-{kill}".lower())
        await apply(plane, config_map(names[-1]))
        pid, port = plane.processes[component], plane.port
        await plane.restart(component, kill=kill)
        assert not runs(pid)
        assert plane.processes[component] != pid
        assert plane.port == port
        for name in names:
            assert (await read(plane, "configmap", name))["data"] == {"kept": name}


async def test_the_controllers_and_the_scheduler_work_after_a_restart_of_everything(plane: RealControlPlane) -> None:
    await add_ready_node(plane, "node-3")
    for component in (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER):
        await plane.restart(component, kill=True)
    await plane.kubectl("create", "job", "late", "--image=example.invalid/none")

    async def scheduled() -> bool:
        pods = (await read(plane, "pods", "-l", "job-name=late"))["items"]
        return any(item["spec"].get("nodeName") for item in pods)

    await eventually(scheduled, "the job's pod is scheduled")


PARENT = """
import asyncio, json, sys
from pathlib import Path
from ovnbridge.lab.kubernetes import RealControlPlane

async def main():
    async with RealControlPlane(directory=Path(sys.argv[1]), namespace_exec=sys.argv[2:]) as plane:
        print(json.dumps({"pids": list(plane.processes.values()), "port": plane.port}), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


# `sh -c` with something after the command forks, so that the server is a grandchild: a namespace command may do so too.
@pytest.mark.parametrize("prefix", [(), ("sh", "-c", '"$@"; exit $?', "sh")], ids=["direct", "forking prefix"])
async def test_no_component_outlives_a_parent_that_is_killed(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path / "plane"), *prefix), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        line = await asyncio.wait_for(parent.stdout.readline(), DEADLINE)
        report = json.loads(line)
        tree = {pid for root in report["pids"] for pid in descendants(root)}
        assert len(tree) == 4 * (2 if prefix else 1)
        assert all(runs(pid) for pid in tree)
        assert accepts(report["port"])
    finally:
        parent.send_signal(signal.SIGKILL)
        await parent.wait()

    async def gone() -> bool:
        return not any(runs(pid) for pid in tree) and not accepts(report["port"])

    await eventually(gone, "every component ends with its parent")


def descendants(pid: int) -> set[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(descendants(int(child)) for child in children))


async def test_two_run_side_by_side_and_a_port_is_not_shared(plane: RealControlPlane, tmp_path: Path) -> None:
    async with RealControlPlane(directory=tmp_path / "second", controller_manager=False, scheduler=False) as second:
        assert second.port != plane.port
        await apply(second, config_map("second"))
        with pytest.raises(ControlPlaneError, match="NotFound"):
            await read(plane, "configmap", "second")
        with pytest.raises(OSError, match="in use"):
            await RealControlPlane(directory=tmp_path / "third", port=second.port).start()


async def test_without_a_controller_manager_pods_need_no_service_account(tmp_path: Path) -> None:
    plane = RealControlPlane(
        directory=tmp_path,
        controller_manager=False,
        scheduler=False,
        service_cidrs=("10.112.0.0/16", "fd00:10:112::/112"),
        api_flags=("--enable-priority-and-fairness=false",),
    )
    async with plane:
        await apply(plane, pod("alone"))
        assert "volumes" not in (await read(plane, "pod", "alone"))["spec"]
        ports = [{"port": 80}]
        spec = {"ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"}, "ports": ports}
        await apply(plane, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dual"}, "spec": spec})
        four, six = (await read(plane, "service", "dual"))["spec"]["clusterIPs"]
        assert four.startswith("10.112.")
        assert six.startswith("fd00:10:112::")
        with pytest.raises(ControlPlaneError, match="not part"):
            await plane.restart(SCHEDULER)


async def test_a_failed_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    plane = RealControlPlane(directory=tmp_path, api_flags=("--no-such-flag",))
    with pytest.raises(ControlPlaneError, match=r"kube-apiserver ended[^$]*unknown flag: --no-such-flag"):
        await plane.start()
    assert not plane.processes
    with pytest.raises(ControlPlaneError, match="is missing"):
        await RealControlPlane(directory=tmp_path, binaries=tmp_path).start()


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    plane = RealControlPlane(directory=tmp_path)
    starting = asyncio.create_task(plane.start())

    async def begun() -> dict[str, int] | None:
        return plane.processes if API_SERVER in plane.processes else None

    pids = (await eventually(begun, "the first processes run")).values()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not any(runs(pid) for pid in pids)


@pytest.fixture
def namespace() -> Iterable[str]:
    name = f"ovnbridge-test-{os.getpid()}"
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "-n", name, "address", "add", "192.0.2.10/24", "dev", "lo"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


async def test_it_runs_inside_a_network_namespace(tmp_path: Path, namespace: str) -> None:
    plane = RealControlPlane(
        directory=tmp_path,
        listen_address="0.0.0.0",
        extra_sans=("api.example", "192.0.2.10"),
        namespace_exec=("ip", "netns", "exec", namespace),
    )
    async with plane:
        assert plane.port == 6443
        outside = tmp_path / "outside"
        outside.write_text(json.dumps(plane.kubeconfig("https://192.0.2.10:6443")))
        await plane.kubectl("get", "nodes", f"--kubeconfig={outside}")
        # The port is the namespace's, not ours, and the Service leads to the address that the certificate names.
        assert not listeners(plane.processes.values())
        slices = await read(plane, "endpointslices", "kubernetes")
        assert slices["endpoints"][0]["addresses"] == ["192.0.2.10"]
        pids = set(plane.processes.values())
    assert not any(runs(pid) for pid in pids)


async def test_the_certificate_is_valid_for_the_names_by_which_the_server_is_reached(
    plane: RealControlPlane, tmp_path: Path
) -> None:
    authority = base64.b64decode(plane.kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"])
    (tmp_path / "ca").write_bytes(authority)
    for name in ("localhost", "kubernetes", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1"):
        await plane.kubectl("get", "--raw", "/readyz", f"--tls-server-name={name}")
    with pytest.raises(ControlPlaneError, match="certificate is valid for"):
        await plane.kubectl("get", "--raw", "/readyz", "--tls-server-name=elsewhere.example")
