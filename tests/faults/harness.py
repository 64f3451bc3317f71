"""The real controller between a real ovsdb-server and the embedded API; what goes wrong around it is in `trouble.py`.

A script is a list of actions, each a tuple of a name and plain values (`Harness` has a method for each), so that any
line of a failure's log can be pasted into `test_replays.py`. `scripts.draw` draws endless ones from a seed.

Truth is what the API server holds. `settle` waits until the ledger, the pods' annotations and NB agree with it exactly;
`Observer` looks at every single write to the API while things go wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ovnbridge.lab.api import ApiServer
from ovnbridge.lab.api.errors import ApiError
from ovnbridge.lab.api.lifecycle import DeleteOptions
from ovnbridge.lab.api.objects import WriteOptions
from ovnbridge.lab.api.store import Change, Collection
from ovnbridge.model.names import node_group
from tests.faults.nursery import GUARD, ROOT, Born, Nursery
from tests.faults.observer import Observer
from tests.faults.trouble import Trouble
from tests.support.ovsdb import Cluster, Server, free_port
from tests.support.relay import Proxy

Action = tuple[Any, ...]
Object = dict[str, Any]
NODES = ("node-1", "node-2", "node-3")
LARGE, SMALL, JOIN = "ovn-default", "small", "join"
SUBNET_OF = {"a": LARGE, "b": SMALL}
SMALL_CIDR, SMALL_CAPACITY = "10.99.0.0/28", 13
NOTE = "ovn.kubernetes.io/"
DEADLINE = 40.0
TABLES = ("Logical_Switch", "Logical_Switch_Port", "Port_Group")
COMPARED = (*TABLES, "Logical_Router", "Logical_Router_Port", "Logical_Router_Policy", "Load_Balancer", "ACL")


class Violation(AssertionError):
    """An invariant does not hold."""


class Patience:
    """A deadline in time during which this process ran: a machine that stood still is not the controller's fault."""

    _STEP = 1.0

    def __init__(self, seconds: float = DEADLINE) -> None:
        self._left = seconds
        self._seen = time.monotonic()

    def over(self) -> bool:
        """Whether the time is up; to be asked now and then."""
        now = time.monotonic()
        self._left -= min(now - self._seen, self._STEP)
        self._seen = now
        return self._left < 0


class Harness(Trouble):
    """One cluster without kubelets: an API server in this process, NB and the controller as children."""

    def __init__(self, *, raft: bool = False, listens: bool = False, flags: tuple[str, ...] = ()) -> None:
        """`listens`: the controller serves HTTP at `health_port`. `flags` are further ones of it."""
        super().__init__()
        self.health_port = free_port() if listens else 0
        self._flags = flags
        self.api = ApiServer()
        self.observer = Observer(self._pods_subnet, self.switch_names)
        self.log: list[Action] = []
        self.kills = 0
        self.successions = 0
        self.directory = Path(tempfile.mkdtemp(prefix="fault-", dir="/tmp"))
        self._raft = raft
        self._stack = contextlib.AsyncExitStack()
        self._controller: Born | subprocess.Popen[bytes] | None = None
        self._stopping: Born | subprocess.Popen[bytes] | None = None
        self._controller_log = self.directory / "controller.log"
        self._log_from = 0

    # -- beginning and end -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Harness:
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        await self.api.start()
        self._stack.push_async_callback(self.api.stop)
        target = ("127.0.0.1", int(self.api.url.rpartition(":")[2]))
        self.api_proxy = await self._stack.enter_async_context(Proxy(None, target))
        self._kubeconfig = self.directory / "kubeconfig"
        self._kubeconfig.write_text(json.dumps(self.api.kubeconfig(f"http://127.0.0.1:{self.api_proxy.port}")))
        self._populate()
        self.api._store.listeners.append(self._observe)
        if self._raft:
            self.cluster = Cluster(self.directory)
            self._stack.callback(self.cluster.stop)
            self.servers = self.cluster.servers
        else:
            self.servers = [Server.standalone(self.directory)]
            self._stack.callback(self.servers[0].kill)
        self.proxies = []
        for number, server in enumerate(self.servers):
            proxy = Proxy(self.directory / f"p{number}.sock", server.socket)
            self.proxies.append(await self._stack.enter_async_context(proxy))
        self._nursery = Nursery(self.directory / "nursery.log")
        self._stack.callback(self._nursery.close)
        self._stack.callback(self._end_controller)
        self._stack.callback(self._resume)
        self.start(exactly=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _populate(self) -> None:
        for path in sorted((ROOT / "manifests/crds").glob("*.yaml")):
            self.create("apiextensions.k8s.io", "v1", "customresourcedefinitions", yaml.safe_load(path.read_text()))
        for name in NODES:
            self.node(name)
        for name in SUBNET_OF:
            self.create("", "v1", "namespaces", {"metadata": {"name": name}})
        self.subnet(SMALL, SMALL_CIDR, ["b"])

    @property
    def controller_pid(self) -> int:
        assert self._controller is not None
        return self._controller.pid

    # -- running scripts -------------------------------------------------------------------------------------------

    async def run(self, actions: Iterable[Action]) -> None:
        """Do a script; what goes wrong is told with everything needed to repeat it."""
        for action in actions:
            self.log.append(action)
            try:
                name, *arguments = action
                done = getattr(self, name)(*arguments)
                if done is not None:
                    await done
                self.observer.check()
                self._check_alive()
            except (Violation, TimeoutError, OSError, RuntimeError) as error:
                raise Violation(f"{type(error).__name__}: {error}\n{self._report()}") from error

    def _report(self) -> str:
        script = "".join(f"        {action!r},\n" for action in self.log)
        tail = self._controller_log.read_text(errors="replace")[-4000:]
        return f"after {self.kills} kills; the script was\n    [\n{script}    ]\n---- controller:\n{tail}"

    # -- actions: the controller -----------------------------------------------------------------------------------

    def start(self, *, exactly: bool = False) -> None:
        """Start the controller; `exactly` as a user would, otherwise by fork."""
        self._log_from = self._controller_log.stat().st_size if self._controller_log.exists() else 0
        arguments = [
            "--role=controller",
            f"--kubeconfig={self._kubeconfig}",
            f"--ovn-nb-addr={','.join(proxy.remote for proxy in self.proxies)}",
            f"--pprof-port={self.health_port}",
            "--leader-elect-lease-duration=15s",
            "--leader-elect-renew-deadline=10s",
            "--leader-elect-retry-period=2s",
            "--ovsdb-inactivity-timeout=2",
            "--ovsdb-con-timeout=1",
            *self._flags,
        ]
        environment = {"POD_NAME": f"controller-{self.successions}", "POD_NAMESPACE": "kube-system"}
        if not exactly:
            self._controller = self._nursery.fork(arguments, environment, self._controller_log)
            return
        with self._controller_log.open("ab") as output:
            self._controller = subprocess.Popen(
                (*GUARD, sys.executable, "-m", "ovnbridge", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            )

    async def leading(self) -> None:
        """Wait until the controller writes; a storm ends when that takes long.

        In a storm, and more so in two at once, one of thirty lists fails nine times in a row, and rests for 30 s then.
        """
        try:
            await self._until(self._not_leading)
        except Violation:
            if not self._storming:
                raise
            self._calm()
            await self._until(self._not_leading)

    def _not_leading(self) -> list[str]:
        return [] if " leading " in self._output() else ["the controller does not lead"]

    async def kill(self, delay: float) -> None:
        """kill -9 after so many seconds, and start it again."""
        await asyncio.sleep(delay)
        self._end_controller()
        self.kills += 1
        self.start()

    async def stop(self) -> None:
        """End it as a rolling update does, and start its successor, which has another name and so another epoch."""
        process, self._controller = self._controller, None
        assert process is not None
        process.send_signal(signal.SIGTERM)
        self._stopping = process
        await self._until(lambda: [] if process.poll() is not None else ["the controller does not end"])
        self.successions += 1
        self.start()

    async def wait(self, delay: float) -> None:
        await asyncio.sleep(delay)

    def _output(self) -> str:
        with self._controller_log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace")

    def _end_controller(self) -> None:
        for process in filter(None, (self._stopping, self._controller)):
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._controller = self._stopping = None

    def _check_alive(self) -> None:
        """A controller that has ended says that leadership is lost; like a kubelet, start it again then."""
        if self._controller is not None and self._controller.poll() is not None:
            output = self._output()
            if "LeadershipLost" not in output and "Deposed" not in output:
                raise Violation(f"the controller ended with {self._controller.poll()}")
            self.start()

    # -- actions: the cluster --------------------------------------------------------------------------------------

    def pod(self, namespace: str, name: str, node: str) -> None:
        """Create a pod that is scheduled already, unless there is one of this name."""
        containers = [{"name": "main", "image": "registry.example/app:1"}]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": containers}
        meta = {"name": name, "namespace": namespace}
        with contextlib.suppress(ApiError):
            self.create("", "v1", "pods", {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def node(self, name: str) -> None:
        """A node that is ready, unless there is one of this name; `node-N`."""
        with contextlib.suppress(ApiError):
            self.create("", "v1", "nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            nodes = self._collection("", "nodes")
            obj = nodes.objects["", name].decode()
            obj["status"] = {
                "addresses": [{"type": "InternalIP", "address": f"172.20.0.{int(name.partition('-')[2]) + 1}"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            }
            nodes.write(("", name), obj)

    def delete(self, namespace: str, name: str) -> None:
        """Its end, as the kubelet reports it."""
        self._delete("", "v1", "pods", namespace, name, 0)

    def recreate(self, namespace: str, name: str, node: str) -> None:
        self.delete(namespace, name)
        self.pod(namespace, name, node)

    async def namesake(self, namespace: str, name: str, node: str) -> None:
        """Delete a pod; at the moment its lease is deleted the next of that name comes, and the news is delayed."""
        lease = f"{name}.{namespace}"
        came = asyncio.Event()

        def look(collection: Collection, change: Change) -> None:
            if collection.plural == "ips" and change.key[1] == lease and change.new is None and not came.is_set():
                came.set()
                self.drop_watches()
                self.pod(namespace, name, node)

        self.api._store.listeners.append(look)
        try:
            self.delete(namespace, name)
            await self._until(lambda: [] if came.is_set() else [f"{lease} is not deleted"])
            await self._until(self._wrong_objects)
        finally:
            self.api._store.listeners.remove(look)

    def terminate(self, namespace: str, name: str, grace: int = 3600) -> None:
        """Deletion is asked for; the pod goes on until `delete`, or for twice as long as its grace."""
        self._delete("", "v1", "pods", namespace, name, grace)

    def complete(self, namespace: str, name: str) -> None:
        """The pod's containers have ended for good: its address is free."""
        collection = self._collection("", "pods")
        entry = collection.objects.get((namespace, name))
        if entry is not None:
            obj = entry.decode()
            obj.setdefault("status", {})["phase"] = "Succeeded"
            collection.write((namespace, name), obj)

    def subnet(self, name: str, cidr: str, namespaces: list[str] | None = None) -> None:
        spec: Object = {"cidrBlock": cidr, "protocol": "IPv4", "namespaces": namespaces or []}
        body = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}
        with contextlib.suppress(ApiError):
            self.create("kubeovn.io", "v1", "subnets", body)

    def delete_subnet(self, name: str) -> None:
        self._delete("kubeovn.io", "v1", "subnets", "", name, None)

    def create(self, group: str, version: str, plural: str, obj: Object) -> None:
        resource = self.api._registry.get(group, version, plural)
        self.api._objects.create(resource, obj["metadata"].get("namespace", ""), obj, WriteOptions())

    def _delete(self, group: str, version: str, plural: str, namespace: str, name: str, grace: int | None) -> None:
        resource = self.api._registry.get(group, version, plural)
        with contextlib.suppress(ApiError):
            self.api._lifecycle.delete(resource, (namespace, name), DeleteOptions(grace=grace))

    def _collection(self, group: str, plural: str) -> Collection:
        return self.api._store.collection(group, plural)

    def objects(self, group: str, plural: str) -> Iterator[Object]:
        return (entry.decode() for entry in list(self._collection(group, plural).objects.values()))

    def _observe(self, collection: Collection, change: Change) -> None:
        self.observer.see(collection.plural, change)

    @staticmethod
    def _pods_subnet(namespace: str) -> str:
        return SUBNET_OF.get(namespace, LARGE)

    # -- what NB holds ---------------------------------------------------------------------------------------------

    async def rows(self, *tables: str) -> dict[str, list[Object]]:
        """All rows of tables in one transaction, on the wire's notation; asked of the server, not of the proxy."""
        server = self.cluster.leader() if self._raft else self.servers[0]
        selects = [{"op": "select", "table": table, "where": []} for table in tables]
        request = {"id": 1, "method": "transact", "params": ["OVN_Northbound", *selects]}
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_unix_connection(str(server.socket))
            try:
                writer.write(json.dumps(request).encode())
                text = b""
                while True:
                    text += await reader.read(1 << 20)
                    with contextlib.suppress(json.JSONDecodeError):
                        reply = json.loads(text)
                        break
            finally:
                writer.transport.abort()
        if reply["error"] is not None:
            raise Violation(f"NB refuses to be read: {reply['error']}")
        return {table: result["rows"] for table, result in zip(tables, reply["result"])}

    def switch_names(self, ever: bool = False) -> set[str]:
        """Logical switches that are, or were before the server lost them, on disk; needs no server. `ever`: also those
        that have been removed."""
        return self._past_switches | self._switches_on_disk(ever)

    def _switches_on_disk(self, ever: bool = False) -> set[str]:
        names: set[str] = set()
        for server in self.servers:
            switches: dict[str, str] = {}
            for line in server.file.read_bytes().splitlines():
                if not line.startswith(b"{") or b'"Logical_Switch"' not in line:
                    continue
                with contextlib.suppress(json.JSONDecodeError):
                    record = json.loads(line)
                    record = record.get("data", [None, record])[-1] if "data" in record else record
                    for uuid, row in (record or {}).get("Logical_Switch", {}).items():
                        if row is None and not ever:
                            switches.pop(uuid, None)
                        elif row is None:
                            continue
                        elif "name" in row:
                            switches[uuid] = row["name"]
            names |= set(switches.values())
        return names

    async def snapshot(self) -> dict[str, list[str]]:
        """Everything of ours in NB, comparable."""
        found = await self.rows(*COMPARED)
        return {
            table: sorted(
                json.dumps({k: _plain(v) for k, v in row.items() if k != "_version"}, sort_keys=True) for row in rows
            )
            for table, rows in found.items()
        }

    # -- settling --------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """End all faults; then everything must become as it should be within the deadline."""
        self._resume()
        await self._until(self._wrong_objects)
        patience = Patience()
        while wrong := self._wrong_objects() or await self._wrong_rows():
            self._check_alive()
            self.observer.check()
            if patience.over():
                raise Violation(f"not settled within {DEADLINE:g} s: {'; '.join(wrong[:10])}")
            await asyncio.sleep(0.02)
        await self.verify(patience)
        for proxy in (self.api_proxy, *self.proxies):
            proxy.requests = b""

    async def verify(self, patience: Patience) -> None:
        """What else must hold when all is quiet, before the patience is over."""

    def foreign(self, name: str) -> bool:
        """Whether a lease, port or subnet is none of those whose state is known exactly here."""
        return False

    async def _until(self, wrong: Callable[[], list[str]]) -> None:
        patience = Patience()
        while found := wrong():
            self._check_alive()
            self.observer.check()
            if patience.over():
                raise Violation(f"not within {DEADLINE:g} s: {'; '.join(found[:10])}")
            await asyncio.sleep(0.01)

    def live_pods(self) -> dict[str, Object]:
        """Pods that must have a network, by the name of their port."""
        found = {}
        for pod in self.objects("", "pods"):
            known = pod["metadata"]["namespace"] in SUBNET_OF
            if known and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                found[f"{pod['metadata']['name']}.{pod['metadata']['namespace']}"] = pod
        return found

    def leases(self) -> dict[str, Object]:
        return {ip["metadata"]["name"]: ip["spec"] for ip in self.objects("kubeovn.io", "ips")}

    def _refused(self, owner: str, pod: Object, leases: dict[str, Object]) -> bool:
        """Whether a pod rightly has no address: its subnet is used up."""
        subnet = SUBNET_OF[pod["metadata"]["namespace"]]
        used = sum(spec["subnet"] == subnet for spec in leases.values())
        notes = pod["metadata"].get("annotations", {})
        return subnet == SMALL and used == SMALL_CAPACITY and owner not in leases and f"{NOTE}allocated" not in notes

    def _wrong_objects(self) -> list[str]:
        """What the API holds and should not, or the other way round."""
        pods, leases = self.live_pods(), self.leases()
        entitled = {owner: pod for owner, pod in pods.items() if not self._refused(owner, pod, leases)}
        nodes = {f"node-{node['metadata']['name']}" for node in self.objects("", "nodes")}
        unknown = leases.keys() - pods.keys() - nodes
        wrong = [f"lease {owner} without owner" for owner in unknown if not self.foreign(owner)]
        held: dict[tuple[str, str], str] = {}
        for owner, spec in leases.items():
            other = held.setdefault((spec["subnet"], spec["v4IpAddress"]), owner)
            if other != owner:
                wrong.append(f"{owner} and {other} both hold {spec['v4IpAddress']}")
        for owner, pod in entitled.items():
            wrong += self._wrong_notes(owner, pod, leases, SUBNET_OF[pod["metadata"]["namespace"]], "routed")
        for node in self.objects("", "nodes"):
            wrong += self._wrong_notes(f"node-{node['metadata']['name']}", node, leases, JOIN, "allocated")
        for subnet in self.objects("kubeovn.io", "subnets"):
            if self.foreign(subnet["metadata"]["name"]):
                continue
            if "deletionTimestamp" in subnet["metadata"]:
                wrong.append(f"subnet {subnet['metadata']['name']} is still being deleted")
            elif not _ready(subnet):
                wrong.append(f"subnet {subnet['metadata']['name']} is not Ready")
        return wrong

    @staticmethod
    def _wrong_notes(owner: str, obj: Object, leases: dict[str, Object], subnet: str, mark: str) -> list[str]:
        spec, notes = leases.get(owner), obj["metadata"].get("annotations", {})
        if spec is None:
            return [f"{owner} has no lease"]
        expected = {
            "allocated": "true",
            mark: "true",
            "ip_address": spec["v4IpAddress"],
            "mac_address": spec["macAddress"],
            "logical_switch": subnet,
        }
        if spec["subnet"] != subnet:
            return [f"{owner} is in {spec['subnet']} instead of {subnet}"]
        return [
            f"{owner}: {name} is {notes.get(NOTE + name)!r} instead of {value!r}"
            for name, value in expected.items()
            if notes.get(NOTE + name) != value
        ]

    async def _wrong_rows(self) -> list[str]:
        """What NB holds and should not, or the other way round."""
        found = await self.rows(*TABLES)
        pods, leases = self.live_pods(), self.leases()
        subnets = {subnet["metadata"]["name"] for subnet in self.objects("kubeovn.io", "subnets")}
        subnets = {name for name in subnets if not self.foreign(name)}
        switches = {row["name"] for row in found["Logical_Switch"] if not self.foreign(row["name"])}
        ports = {row["_uuid"][1]: row for row in found["Logical_Switch_Port"]}
        names = {uuid: row["name"] for uuid, row in ports.items()}
        switch_of = {uuid: row["name"] for row in found["Logical_Switch"] for uuid in _uuids(row["ports"])}
        wrong = _differ("switches", switches, subnets)
        expected = {*filter(lambda name: not self.foreign(name), leases), *(f"{s}-ovn-cluster" for s in subnets)}
        wrong += _differ("ports", {name for name in names.values() if not self.foreign(name)}, expected)
        held: dict[tuple[str, str], str] = {}
        for uuid, row in ports.items():
            spec = leases.get(row["name"])
            if spec is None:
                continue
            if switch_of.get(uuid) != spec["subnet"]:
                wrong.append(f"port {row['name']} is in switch {switch_of.get(uuid)} instead of {spec['subnet']}")
            if _plain(row["addresses"]) != [f"{spec['macAddress']} {spec['v4IpAddress']}"]:
                wrong.append(f"port {row['name']} has {row['addresses']}, its lease {spec['v4IpAddress']}")
            other = held.setdefault((spec["subnet"], spec["v4IpAddress"]), row["name"])
            if other != row["name"]:
                wrong.append(f"ports {row['name']} and {other} both have {spec['v4IpAddress']}")
        groups = {row["name"]: {names.get(uuid, uuid) for uuid in _uuids(row["ports"])} for row in found["Port_Group"]}
        for node in NODES:
            expected = {owner for owner, pod in pods.items() if pod["spec"]["nodeName"] == node and owner in leases}
            actual = {name for name in groups.get(node_group(node), set()) if not self.foreign(name)}
            wrong += _differ(f"members of {node_group(node)}", actual, expected)
        return wrong


def _ready(subnet: Object) -> bool:
    conditions = subnet.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _differ(what: str, actual: set[str], expected: set[str]) -> list[str]:
    if actual == expected:
        return []
    return [f"{what}: missing {sorted(expected - actual)}, too many {sorted(actual - expected)}"]


def _uuids(value: Any) -> list[str]:
    return [part[1] for part in value[1]] if value[0] == "set" else [value[1]]


def _plain(value: Any) -> Any:
    """A set as a sorted list, whatever its size."""
    if isinstance(value, list) and value[0] in ("set", "map"):
        return sorted(value[1], key=json.dumps)
    return [value]
