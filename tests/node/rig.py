"""One node without a cluster: real ovsdb-server, ovs-vswitchd and kernel in a private namespace, the rest stood in for.

Kubernetes is a `ClusterView` that tests feed; ovn-controller is `Controller` below, which sets `ovn-installed` when an
interface has an ofport; the logical router is a namespace on the integration bridge that has the gateway addresses.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.kube import Node, NodeAddress, NodeStatus, Pod, PodSpec
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.model.resource import NODE, POD, SUBNET, Resource
from ovnbridge.node.agent import Agent, AgentOptions
from ovnbridge.node.cluster import ClusterView
from ovnbridge.node.cni.request import Request
from ovnbridge.node.cni.service import Limits
from ovnbridge.node.host import HostOptions
from ovnbridge.node.ovs import LocalSwitch
from ovnbridge.node.ovs_rows import COLUMNS, by_uuid
from ovnbridge.node.reporter import Reporter
from ovnbridge.observe.metrics import Metrics
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import OvsdbError

NODE_NAME = "n1"
NODE_IP = "192.0.2.1"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> str:
    """Run a command, return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread, and those it starts, are in a namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    target = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    assert _libc.setns(target, 0x40000000) == 0
    try:
        yield
    finally:
        assert _libc.setns(home, 0x40000000) == 0
        os.close(home)
        os.close(target)


class Switch:
    """ovsdb-server and ovs-vswitchd of one node."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.namespace = f"obn-{tag}"
        self.gateway = f"obn-{tag}-gw"
        self.directory = Path(f"/tmp/obn-{tag}")
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def remote(self) -> str:
        """Remote of the local database."""
        return f"unix:{self.directory}/db.sock"

    def start(self) -> None:
        """Start both daemons."""
        self.directory.mkdir()
        run("ip", "netns", "add", self.namespace)
        run("ip", "netns", "add", self.gateway)
        for name in (self.namespace, self.gateway):
            run("ip", "-n", name, "link", "set", "lo", "up")
        directory = self.directory
        run("ovsdb-tool", "create", f"{directory}/conf.db", SCHEMA)
        self._start(
            "ovsdb-server",
            f"{directory}/conf.db",
            f"--remote=punix:{directory}/db.sock",
            f"--unixctl={directory}/ovsdb.ctl",
        )
        until((directory / "db.sock").exists)
        ids = ["system-id=n1", "ovn-bridge-datapath-type=netdev", "ovn-remote=tcp:127.0.0.1:6642"]
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *(f"external_ids:{i}" for i in ids))
        self._start("ovs-vswitchd", self.remote, f"--unixctl={directory}/vswitchd.ctl", "--disable-system")
        self.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev")
        run("ip", "-n", self.namespace, "addr", "add", f"{NODE_IP}/24", "dev", "br-phy")
        run("ip", "-n", self.namespace, "link", "set", "br-phy", "up")

    def connect_gateway(self) -> None:
        """A namespace on br-int with the gateway addresses; br-int forwards like a switch."""
        run("ovs-ofctl", "add-flow", f"unix:{self.directory}/br-int.mgmt", "actions=NORMAL")
        self.vsctl("--may-exist", "add-port", "br-int", "gw0", "--", "set", "interface", "gw0", "type=internal")
        with suppress(AssertionError):
            run("ip", "-n", self.namespace, "link", "set", "gw0", "netns", self.gateway)
        for address in ("10.16.0.1/16", "fd00:10:16::1/64", "100.64.0.1/16", "fd00:100:64::1/112"):
            with suppress(AssertionError):
                run("ip", "-n", self.gateway, "addr", "add", address, "dev", "gw0", *(["nodad"] * (":" in address)))
        run("ip", "-n", self.gateway, "link", "set", "gw0", "up")

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl."""
        return run("ovs-vsctl", f"--db={self.remote}", "--timeout=10", *arguments)

    def _start(self, *command: str) -> None:
        environment = {**os.environ, "OVS_RUNDIR": str(self.directory)}
        log = f"--log-file={self.directory}/{command[0]}.log"
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command, log, "-vconsole:off"], env=environment
        )
        self._processes.append(process)

    def stop(self) -> None:
        """End everything."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(10)
        for name in (self.namespace, self.gateway):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def until(condition: Callable[[], Any], *, timeout: float = 10.0) -> None:
    """Wait, blocking, until a condition holds (set-up only)."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


async def eventually(condition: Callable[[], Any], *, timeout: float = 10.0, what: str = "") -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


class FakeApi:
    """The Kubernetes API as far as the node writes to it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.patches: list[tuple[str, str, Any, str]] = []
        self.known_events: list[dict[str, Any]] = []

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """An IP object of another node."""
        return {"metadata": {"name": name}, "spec": {"nodeName": "elsewhere"}}

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Events."""
        self.events.append(dict(body))
        return dict(body)

    async def list(
        self, resource: Resource, namespace: str = "", *, params: Mapping[str, str | int] | None = None
    ) -> dict[str, Any]:
        """Events that somebody else posted."""
        return {"items": self.known_events}

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Any, *, kind: Any = "merge", subresource: str = ""
    ) -> dict[str, Any]:
        """Node and IP patches."""
        self.patches.append((resource.kind, name, patch, subresource))
        return {}

    def reasons(self) -> list[str]:
        """Reasons of posted events."""
        return [event["reason"] for event in self.events]


class Controller:
    """Sets `ovn-installed` as ovn-controller does; can be told not to."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.silent = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.installed_at: dict[str, float] = {}
        database.subscribe(lambda _: self.look())

    def look(self) -> None:
        """Look at all interfaces."""
        if self.silent or not self.database.synced.is_set():
            return
        for uuid, row in self.database.rows["Interface"].items():
            ids = row["external_ids"]
            if ids.get("iface-id") and "ovn-installed" not in ids and (row["ofport"] or -1) > 0:
                self.installed_at.setdefault(row["name"], time.monotonic())
                mutation = ["external_ids", "insert", ["map", [["ovn-installed", "true"]]]]
                operation = {"op": "mutate", "table": "Interface", "where": by_uuid(uuid), "mutations": [mutation]}
                task = asyncio.create_task(self._set(operation))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _set(self, operation: dict[str, Any]) -> None:
        with suppress(OvsdbError):
            await self.database.transact([operation], timeout=10)


def node_object(**annotations: str) -> Node:
    """This node, with a join address."""
    values = {
        "ip_address": "100.64.0.2",
        "mac_address": "0a:00:00:00:00:02",
        "cidr": "100.64.0.0/16",
        "gateway": "100.64.0.1",
        "port_name": "node-n1",
    } | annotations
    return Node(
        metadata=ObjectMeta(
            name=NODE_NAME,
            uid="node-uid",
            annotations={f"ovn.kubernetes.io/{k}": v for k, v in values.items()} | {"ovn.kubernetes.io/chassis": "n1"},
        ),
        status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address=NODE_IP),)),
    )


def subnet_object(name: str = "ovn-default", cidr: str = "10.16.0.0/16", **spec: Any) -> Subnet:
    """A validated subnet of the default VPC."""
    return Subnet(
        metadata=ObjectMeta(name=name),
        spec=SubnetSpec(vpc="ovn-cluster", provider="ovn", cidr_block=cidr, **spec),
        status=SubnetStatus(conditions=(Condition(type="Validated", status="True"),)),
    )


def pod_object(name: str, *, uid: str = "", annotations: Mapping[str, str] | None = None, **meta: Any) -> Pod:
    """A pod of this node; annotations without domain are of provider ovn."""
    notes = {k if "/" in k else f"ovn.kubernetes.io/{k}": v for k, v in (annotations or {}).items()}
    return Pod(
        metadata=ObjectMeta(name=name, namespace="ns", uid=uid or f"uid-{name}", annotations=notes or None, **meta),
        spec=PodSpec(node_name=NODE_NAME),
    )


def address_annotations(number: int, *, families: str = "4") -> dict[str, str]:
    """What the controller writes on a pod."""
    v4, v6 = "4" in families, "6" in families
    join = ",".join

    def both(four: str, six: str) -> str:
        return join([text for wanted, text in ((v4, four), (v6, six)) if wanted])

    return {
        "allocated": "true",
        "routed": "true",
        "ip_address": both(f"10.16.{number >> 8}.{number & 255}", f"fd00:10:16::{number:x}"),
        "mac_address": f"0a:00:00:01:{number >> 8:02x}:{number & 255:02x}",
        "cidr": both("10.16.0.0/16", "fd00:10:16::/64"),
        "gateway": both("10.16.0.1", "fd00:10:16::1"),
        "logical_switch": "ovn-default",
    }


class Rig:
    """A node agent on a switch."""

    def __init__(
        self, switch: Switch, *, limits: Limits | None = None, socket: str = "", keep: bool = False, **options: Any
    ) -> None:
        self._keep = keep
        self.switch = switch
        self.api = FakeApi()
        self.cluster = ClusterView(NODE_NAME)
        self.database = Database(name="Open_vSwitch", remotes=[switch.remote], columns=COLUMNS, leader_only=False)
        self.controller = Controller(self.database)
        self.local = LocalSwitch(self.database, failures=(OvsdbError,))
        self.agent = Agent(
            cluster=self.cluster,
            switch=self.local,
            reporter=Reporter(self.api, node_name=NODE_NAME, failures=(OSError,)),
            metrics=Metrics(),
            options=AgentOptions(
                socket=socket or f"{switch.directory}/cni.sock",
                host=HostOptions(pod_ip=NODE_IP),
                limits=limits or Limits(pod=0.5, address=3.0, port=10.0, gateway_tries=20, add=30.0),
                **options,
            ),
        )
        self.service = self.agent.service
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Rig:
        ports = self.switch.vsctl("--bare", "--columns=name", "find", "Interface").split()
        for port in () if self._keep else ports:
            if port.endswith("_h"):  # of a test that failed
                self.switch.vsctl("del-port", port)
        self.cluster.replace(POD, {})
        self.cluster.replace(NODE, {NODE_NAME: node_object()})
        self.cluster.replace(SUBNET, {"ovn-default": subnet_object()})
        self._tasks = [asyncio.create_task(work) for work in (self.database.run(), self.agent.run())]
        await eventually(lambda: self.local.bridge("br-int") is not None, what="br-int")
        self.switch.connect_gateway()
        await self.reached(self.agent.ready.wait())
        return self

    async def reached(self, work: Awaitable[Any], timeout: float = 15.0) -> Any:
        """The result of `work`; fails early when the agent ended."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, *self._tasks), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for own in self._tasks:
            if own.done():
                own.result()
        assert task.done(), f"not in time; {self.agent.host.problems}"
        return task.result()

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- pods

    def set_pod(self, pod: Pod) -> None:
        """The watch brings a pod."""
        self.cluster.apply(POD, pod.metadata.key, pod)

    def drop_pod(self, name: str) -> None:
        """The watch says that a pod is gone."""
        self.cluster.apply(POD, f"ns/{name}", None)

    def request(self, sandbox: Sandbox, name: str, command: str = "ADD", **fields: Any) -> Request:
        """A request of the runtime."""
        return Request(
            **{
                "command": command,
                "container_id": sandbox.container_id,
                "netns": sandbox.path,
                "pod": name,
                "namespace": "ns",
            }
            | fields
        )

    def leftovers(self) -> tuple[list[str], list[str]]:
        """Host links and OVS ports of pods."""
        links = [line.split(":")[1].split("@")[0].strip() for line in run("ip", "-o", "link").splitlines()]
        ports = self.switch.vsctl("list-ports", "br-int").split()
        return [n for n in links if n.endswith("_h")], [n for n in ports if n.endswith("_h")]


class Sandbox:
    """A pod's namespace."""

    def __init__(self) -> None:
        self.container_id = secrets.token_hex(32)
        self.name = f"obn-p{self.container_id[:8]}"
        self.path = f"/var/run/netns/{self.name}"

    def __enter__(self) -> Sandbox:
        run("ip", "netns", "add", self.name)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def ip(self, *arguments: str) -> str:
        """`ip` inside."""
        return run("ip", "-n", self.name, *arguments)
