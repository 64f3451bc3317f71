"""`Lab`: the Python interface to a lab, used by the cluster tests and by the command line alike."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ovnbridge.lab.client import Client, Object
from ovnbridge.lab.errors import LabError
from ovnbridge.lab.launch import Launcher
from ovnbridge.lab.matrix import Matrix
from ovnbridge.lab.options import LabOptions, Network
from ovnbridge.lab.ovn import file_stem
from ovnbridge.lab.processes import Completed, complete
from ovnbridge.lab.remote import Remote
from ovnbridge.model.resource import EVENT, POD, Resource

if TYPE_CHECKING:
    from ovnbridge.kube.connection import Connection

_KUBECTL_TIMEOUT = 120.0
_CLIENT_TIMEOUT = "20"
_POLL = 0.05


class ComponentHandle:
    """One daemon of a running lab."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote = remote
        self.name = name

    async def kill(self, number: int = 9) -> None:
        await self._act("kill", signal=int(number))

    async def start(self) -> None:
        await self._act("start")

    async def stop(self) -> None:
        await self._act("stop")

    async def restart(self) -> None:
        await self._act("restart")

    @property
    def pid(self) -> int | None:
        """The pid in the caller's pid namespace, while it runs."""
        inner = self._entry()["pid"]
        return None if inner is None else self._remote.outer_pid(inner)

    @property
    def state(self) -> str:
        """`running`, or how it ended."""
        return str(self._entry()["state"])

    async def _act(self, action: str, **arguments: int) -> None:
        await self._remote.ask(f"/components/{self.name}/{action}", arguments)

    def _entry(self) -> dict[str, Any]:
        for entry in self._remote.status_now()["components"]:
            if entry["name"] == self.name:
                return dict(entry)
        raise LabError(f"no component {self.name}")


class Lab:
    """One lab. `async with Lab(...)` makes and ends one; `Lab.attach(name)` speaks with one that is up."""

    def __init__(
        self,
        name: str | None = None,
        *,
        nodes: int = 3,
        ovn: str = "central",
        kubernetes: str = "embedded",
        ovs_root: str | Path | None = None,
        controller_args: Sequence[str] = (),
        cni_args: Sequence[str] = (),
        controller: bool = True,
        cni: bool = True,
        network: Network | None = None,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.options = LabOptions(
            name=name or f"t{uuid.uuid4().hex[:8]}",
            nodes=nodes,
            ovn=ovn,
            kubernetes=kubernetes,
            ovs_root=str(Path(ovs_root).absolute()) if ovs_root else "",
            controller_args=tuple(controller_args),
            cni_args=tuple(cni_args),
            controller=controller,
            cni=cni,
            network=network or Network(),
        )
        self._progress = progress
        self._launcher: Launcher | None = None
        self._attached: Remote | None = None
        self._client: Client | None = None

    @classmethod
    async def attach(cls, name: str) -> Lab:
        """A lab that is up already; it stays up."""
        remote = Remote(name)
        status = await remote.status()
        lab = cls(name)
        options = {**status["options"], "network": Network(**status["options"]["network"])}
        lab.options = LabOptions(**options)
        lab._attached = remote
        return lab

    async def start(self) -> None:
        launcher = Launcher(self.options)
        self._launcher = launcher
        await launcher.start(self._progress)
        self._attached = Remote(self.options.name)

    async def stop(self) -> None:
        """Ends it, and returns when nothing is left. A lab that was only attached stays up."""
        await self.close()
        if self._launcher is not None:
            await self._launcher.stop()

    async def close(self) -> None:
        """Lets go of it."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        if self._attached is not None:
            await self._attached.close()
            self._attached = None

    def detach(self) -> None:
        """From now on it outlives this process."""
        if self._launcher is None:
            raise LabError("this process did not start the lab")
        self._launcher.detach()
        self._launcher = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def remote(self) -> Remote:
        if self._attached is None:
            raise LabError("the lab is not up")
        return self._attached

    @property
    def name(self) -> str:
        return self.options.name

    @property
    def directory(self) -> Path:
        return self.remote.paths.directory

    @property
    def kubeconfig(self) -> Path:
        return self.remote.paths.kubeconfig

    @property
    def node_names(self) -> tuple[str, ...]:
        return self.options.node_names

    def cni_directories(self, node: str) -> tuple[Path, Path]:
        """A node's network configuration and plug-in directories."""
        return self.remote.paths.cni_configuration(node), self.remote.paths.cni_binaries(node)

    def component(self, name: str) -> ComponentHandle:
        return ComponentHandle(self.remote, name)

    async def status(self) -> dict[str, Any]:
        return await self.remote.status()

    async def words(self) -> dict[str, list[str]]:
        """What was stood in for, by pod."""
        found: dict[str, list[str]] = await self.remote.ask("/words")
        return found

    # Kubernetes

    async def kubectl(self, *arguments: str, input: str | None = None, timeout: float = _KUBECTL_TIMEOUT) -> str:
        """Runs kubectl against the lab; returns what it printed, raises LabError with what it complained about."""
        done = await complete(
            (kubectl_binary(), *arguments),
            stdin=input,
            timeout=timeout,
            environment={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)},
        )
        if done.returncode:
            raise LabError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    async def apply(self, source: str | Path) -> str:
        """Applies manifests: a path, or their text."""
        if isinstance(source, Path) or (source[:1] not in "{[" and "\n" not in source and Path(source).exists()):
            return await self.kubectl("apply", "-f", str(source))
        return await self.kubectl("apply", "-f", "-", input=source)

    async def client(self) -> Client:
        """The lab's own small client, on dicts; closed with the lab."""
        if self._client is None:
            self._client = await Client(self.kubeconfig, "ovnbridge-lab-user").__aenter__()
        return self._client

    async def items(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, in one namespace or everywhere."""
        answer = await (await self.client()).list(resource, namespace or "")
        found: list[Object] = answer.get("items") or []
        return found

    async def wait_pods(self, namespace: str | None = None, timeout: float = 60) -> list[Object]:
        """Waits until every pod that is not going away is Ready or done; there must be one."""
        deadline = time.monotonic() + timeout
        while True:
            asked = time.monotonic()
            pods = [pod for pod in await self.items(POD, namespace) if not pod["metadata"].get("deletionTimestamp")]
            waiting = [pod for pod in pods if not _settled(pod)]
            if pods and not waiting:
                return pods
            if time.monotonic() > deadline:
                raise LabError(await self.why(waiting, timeout) if pods else f"there are no pods after {timeout:g} s")
            await asyncio.sleep(max(_POLL, 5 * (time.monotonic() - asked)))

    async def why(self, waiting: Iterable[Object], timeout: float) -> str:
        """What is known about pods that are not ready, in words."""
        lines = [f"pods not ready after {timeout:g} s:"]
        events = await self.items(EVENT)
        for pod in waiting:
            told = [
                f"{event['reason']}: {event['message']}"
                for event in events
                if event["involvedObject"].get("uid") == pod["metadata"]["uid"]
            ]
            phase = (pod.get("status") or {}).get("phase")
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            lines.append(f"  {name} ({phase}): {'; '.join(told) or 'no events'}")
        return "\n".join(lines)

    async def connection(self) -> Connection:
        """The product's own connection to the lab's API; the caller closes it."""
        from ovnbridge.kube.connection import Connection  # half a second that most commands need not pay

        return await Connection.open(kubeconfig=str(self.kubeconfig))

    # Faults

    async def faults(self, action: str, **arguments: Any) -> Any:
        """Calls a method of the embedded API server's `faults`, such as `drop_watches`, or `compact`."""
        return await self.remote.ask(f"/api/{action}", arguments)

    async def requests(self, reset: bool = False) -> Counter[tuple[str, str]]:
        """How many requests the embedded API server got, by (method, resource)."""
        counts = await self.remote.ask("/api/requests", {"reset": reset})
        return Counter({(method, label): count for method, label, count in counts})

    # Commands inside

    async def exec(
        self,
        pod: str,
        *command: str,
        namespace: str = "default",
        check: bool = True,
        timeout: float = 10,
        input: str | None = None,
    ) -> Completed:
        """Runs a command of this machine in a pod's network namespace."""
        prefix = await self.pod_prefix(pod, namespace)
        return await self._run((*prefix, *command), check, timeout, input)

    async def pod_prefix(self, pod: str, namespace: str = "default") -> tuple[str, ...]:
        sandbox = (await self.remote.sandboxes()).get(f"{namespace}/{pod}")
        if sandbox is None:
            raise LabError(f"pod {namespace}/{pod} has no sandbox (see `kubectl describe pod`)")
        return await self.remote.in_pod(sandbox["netns"])

    async def node_exec(self, node: str, *command: str, check: bool = True, timeout: float = 10) -> Completed:
        """Runs a command on a node's machine."""
        return await self._run((*await self.remote.in_machine(node), *command), check, timeout, None)

    async def central_exec(self, *command: str, check: bool = True, timeout: float = 10) -> Completed:
        """Runs a command on the central machine."""
        return await self.node_exec("central", *command, check=check, timeout=timeout)

    async def nbctl(self, *arguments: str) -> str:
        return await self._database("nb", "ovn-nbctl", arguments)

    async def sbctl(self, *arguments: str) -> str:
        return await self._database("sb", "ovn-sbctl", arguments)

    async def vsctl(self, node: str, *arguments: str) -> str:
        database = f"unix:{self.remote.paths.node(node)}/run/db.sock"
        return await self._tool(node, "ovs-vsctl", f"--db={database}", f"--timeout={_CLIENT_TIMEOUT}", *arguments)

    async def appctl(self, node: str, target: str, *arguments: str) -> str:
        """ovs-appctl to `ovs-vswitchd` or `ovn-controller` of a node."""
        return await self._tool(node, "ovs-appctl", "-t", target, *arguments)

    async def _database(self, kind: str, program: str, arguments: Sequence[str]) -> str:
        if self.options.ovn == "raft3":
            remote = self.options.remotes(6641 if kind == "nb" else 6642)
        else:
            remote = f"unix:{self.remote.paths.central}/run/{file_stem(kind)}.sock"
        return await self._tool("central", program, f"--db={remote}", f"--timeout={_CLIENT_TIMEOUT}", *arguments)

    async def _tool(self, machine: str, *command: str) -> str:
        """A command of the lab's OVN installation."""
        directory = self.remote.paths.node(machine) / "run"
        chroot = ("chroot", self.options.ovs_root) if self.options.ovs_root else ()
        prefix = await self.remote.in_machine(machine)
        environment = {f"{package}_RUNDIR": str(directory) for package in ("OVS", "OVN")}
        done = await complete((*prefix, *chroot, *command), timeout=30, environment=environment)
        if done.returncode:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    async def _run(self, command: Sequence[str], check: bool, timeout: float, text: str | None) -> Completed:
        done = await complete(command, stdin=text, timeout=timeout)
        if check and done.returncode:
            raise LabError(f"{' '.join(command)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done

    async def ping_matrix(
        self,
        pods: Iterable[str] | None = None,
        nodes: bool = True,
        tcp_port: int | None = None,
        targets: Iterable[str] | None = None,
    ) -> Matrix:
        """Every pod (as `namespace/name`; by default all) to every pod or `targets`, and every node to those."""
        sandboxes = await self.remote.sandboxes()
        wanted = sorted(sandboxes) if pods is None else [pod if "/" in pod else f"default/{pod}" for pod in pods]
        aims = wanted if targets is None else list(targets)
        missing = [pod for pod in (*wanted, *aims) if pod not in sandboxes]
        if missing:
            raise LabError(f"no sandbox of {', '.join(missing)}")
        sources = {pod: sandboxes[pod]["netns"] for pod in wanted}
        if nodes:
            sources |= {node: node for node in self.node_names}
        groups = {pod: sandboxes[pod]["addresses"] for pod in aims}
        addresses = list(dict.fromkeys(address for group in groups.values() for address in group))
        question = {"sources": list(dict.fromkeys(sources.values())), "targets": addresses, "port": tcp_port}
        answers = {source: set(found) for source, found in (await self.remote.ask("/reach", question)).items()}
        return Matrix(
            {
                (source, target): answers[netns].issuperset(group)
                for source, netns in sources.items()
                for target, group in groups.items()
            }
        )


def kubectl_binary() -> str:
    """`$OVNBRIDGE_KUBECTL`, the cache that `kubernetes/build.sh` fills (newest first), or the search path."""
    chosen = os.environ.get("OVNBRIDGE_KUBECTL")
    if chosen:
        return chosen
    cache = Path(os.environ.get("OVNBRIDGE_CACHE") or Path.home() / ".cache" / "ovnbridge") / "kubernetes"
    versions = sorted(
        cache.glob("*/kubectl"), key=lambda path: [int(part) for part in path.parent.name.lstrip("v").split(".")]
    )
    for path in reversed(versions):
        if os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("kubectl")
    if found is None:
        raise LabError("kubectl is not installed: set OVNBRIDGE_KUBECTL, or put it on the PATH")
    return found


def _settled(pod: Object) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or ()
    )
