"""The fault harness with everything else that users of a cluster make: VPCs, underlay, pools, Vips, sets, attachments.

What must become of the namespaces `a` and `b` is known exactly and checked by `Harness`. Of the rest this is checked
when all is quiet: each lease has an owner and each owner what it needs; sticky addresses are kept; `POST /self-check`
finds nothing; and a controller that starts now, from the same objects and the same database file, would write nothing,
neither to OVN nor to Kubernetes (`operations.dry_run`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re

import aiohttp

from ovnbridge.controller import NB_COLUMNS, ControllerState
from ovnbridge.lab.api.errors import ApiError
from ovnbridge.lab.api.store import Change, Collection
from ovnbridge.operations.dry_run import dry_run
from ovnbridge.operations.inputs import feed_objects
from ovnbridge.ovsdb.file import FileDatabase
from ovnbridge.roles.controller_flags import FLAGS, compile_options
from ovnbridge.settings import parse
from tests.faults.harness import NODES, NOTE, Harness, Object, Patience, Violation

KINDS = {
    "vpcs": "Vpc",
    "subnets": "Subnet",
    "ippools": "IPPool",
    "vips": "Vip",
    "vlans": "Vlan",
    "provider-networks": "ProviderNetwork",
}
FIXED, SETS, ATTACHED, UNDERLAY = "fixed", "sets", "attached", "under"
PROVIDER = "net.c.ovn"
EXTRA_NODES = ("node-4", "node-5")
ALL_NODES = (*NODES, *EXTRA_NODES)
_CHOSEN = (f"{NOTE}vip", f"{NOTE}ip_pool", f"{NOTE}ip_address")
"""What asks for a certain address, which another may have."""
_FOREIGN = re.compile(
    r".+\.[cd](\.net\.c\.ovn)?|u2o-.+|mcast-.+|vip\d.*|localnet\..+|(fixed|sets|attached|under|x\d)(-.+)?|v\d-.+"
)
_SET_LEASE = re.compile(r"(.+)-(\d+)\.d")
ATTACHMENTS: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
    "spec": {
        "group": "k8s.cni.cncf.io",
        "scope": "Namespaced",
        "names": {
            "plural": "network-attachment-definitions",
            "singular": "network-attachment-definition",
            "kind": "NetworkAttachmentDefinition",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


class Estate(Harness):
    """A cluster in which all kinds of objects come, change and go."""

    def __init__(self, *, raft: bool = False) -> None:
        super().__init__(raft=raft, listens=True)
        self.checks = 0
        self._kept: dict[str, Object] = {}
        """Leases of sets at the last settling; what a set's change has released is not in it."""

    def _populate(self) -> None:
        super()._populate()
        self.create("apiextensions.k8s.io", "v1", "customresourcedefinitions", copy.deepcopy(ATTACHMENTS))
        for name in "cd":
            self.create("", "v1", "namespaces", {"metadata": {"name": name}})
        self.put("vpcs", "v1", {})
        self.put("subnets", FIXED, {"cidrBlock": "10.198.0.0/24", "protocol": "IPv4", "namespaces": ["c"]})
        self.put("subnets", SETS, {"cidrBlock": "10.197.0.0/28", "protocol": "IPv4", "namespaces": ["d"]})
        self.put("subnets", ATTACHED, {"cidrBlock": "10.196.0.0/24", "protocol": "IPv4", "provider": PROVIDER})
        self.put("provider-networks", "pn", {"defaultInterface": "eth1"})
        self.put("vlans", "vlan1", {"id": 10, "provider": "pn"})
        config = '{"cniVersion": "0.3.1", "type": "kube-ovn", "server_socket": "/run/x", "provider": "net.c.ovn"}'
        body: Object = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
        body |= {"metadata": {"name": "net", "namespace": "c"}, "spec": {"config": config}}
        self.create("k8s.cni.cncf.io", "v1", "network-attachment-definitions", body)

    # -- actions ---------------------------------------------------------------------------------------------------

    def put(self, plural: str, name: str, spec: Object) -> None:
        """Create a cluster-wide object, or change these fields of its spec; None removes one."""
        collection, spec = self._collection("kubeovn.io", plural), copy.deepcopy(spec)
        entry = collection.objects.get(("", name))
        if entry is None:
            body = {"apiVersion": "kubeovn.io/v1", "kind": KINDS[plural], "metadata": {"name": name}}
            fields = {key: value for key, value in spec.items() if value is not None}
            self.create("kubeovn.io", "v1", plural, {**body, "spec": fields})
            return
        obj = entry.decode()
        if "deletionTimestamp" not in obj["metadata"]:
            merged = {**obj.get("spec", {}), **spec}
            obj["spec"] = {key: value for key, value in merged.items() if value is not None}
            collection.write(("", name), obj)

    def remove(self, plural: str, name: str) -> None:
        self._delete("kubeovn.io", "v1", plural, "", name, None)

    def remove_node(self, name: str) -> None:
        self._delete("", "v1", "nodes", "", name, None)

    def noted(self, namespace: str, name: str, node: str, notes: dict[str, str]) -> None:
        """A pod with annotations by their full names, unless there is one of this name."""
        self._any_pod(namespace, name, node, {"annotations": notes})

    def member(self, name: str, number: int, node: str) -> None:
        """A set's pod, as its controller makes it: none while there is no set, or one that is smaller."""
        found = self._set(name)
        if found is not None and number < found["spec"]["replicas"]:
            reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "controller": True}
            reference["uid"] = found["metadata"]["uid"]
            self._any_pod("d", f"{name}-{number}", node, {"ownerReferences": [reference]})

    def scale(self, name: str, replicas: int) -> None:
        """Make a set, or change its size; pods above it end, and their addresses may go."""
        collection, found = self._collection("apps", "statefulsets"), self._set(name)
        if found is None:
            template: Object = {"metadata": {"labels": {"app": name}}}
            template["spec"] = {"containers": [{"name": "main", "image": "registry.example/app:1"}]}
            spec = {"serviceName": name, "replicas": replicas, "template": template}
            body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": "d"}}
            self.create(
                "apps", "v1", "statefulsets", {**body, "spec": {**spec, "selector": {"matchLabels": {"app": name}}}}
            )
        else:
            found["spec"]["replicas"] = replicas
            collection.write(("d", name), found)
        self._release(name, replicas)

    def remove_set(self, name: str) -> None:
        self._delete("apps", "v1", "statefulsets", "d", name, 0)
        self._release(name, 0)

    def _release(self, name: str, replicas: int) -> None:
        for owner in list(self._kept):
            found = _SET_LEASE.fullmatch(owner)
            if found and found[1] == name and int(found[2]) >= replicas:
                del self._kept[owner]
        for namespace, pod in list(self._collection("", "pods").objects):
            number = pod.removeprefix(f"{name}-")
            if namespace == "d" and number.isdigit() and int(number) >= replicas:
                self.delete(namespace, pod)

    def _set(self, name: str) -> Object | None:
        entry = self._collection("apps", "statefulsets").objects.get(("d", name))
        return entry.decode() if entry is not None else None

    def _any_pod(self, namespace: str, name: str, node: str, meta: Object) -> None:
        containers = [{"name": "main", "image": "registry.example/app:1"}]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": containers}
        meta = {"name": name, "namespace": namespace, **meta}
        with contextlib.suppress(ApiError):
            self.create("", "v1", "pods", {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    # -- what must hold --------------------------------------------------------------------------------------------

    @staticmethod
    def _pods_subnet(namespace: str) -> str:
        return {"c": FIXED, "d": SETS}.get(namespace) or Harness._pods_subnet(namespace)

    def foreign(self, name: str) -> bool:
        return _FOREIGN.fullmatch(name) is not None

    def _observe(self, collection: Collection, change: Change) -> None:
        super()._observe(collection, change)
        if collection.plural == "ips" and change.key[1] in self._kept:
            lease = change.new.decode()["spec"] if change.new is not None else None
            if lease is None or lease["v4IpAddress"] != self._kept[change.key[1]]["v4IpAddress"]:
                self.observer._problems.append(f"sticky lease {change.key[1]} is lost")

    def _wrong_objects(self) -> list[str]:
        leases = self.leases()
        wrong = super()._wrong_objects() + [f"{owner} is not kept" for owner in self._kept if owner not in leases]
        pods = {
            f"{pod['metadata']['name']}.{pod['metadata']['namespace']}": pod
            for pod in self.objects("", "pods")
            if pod["metadata"]["namespace"] in "cd"
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        }
        for owner, spec in leases.items():
            if not self.foreign(owner) or spec["podName"].startswith(("u2o-", "mcast-")):
                continue
            if owner.removesuffix(f".{PROVIDER}") not in pods and not self._sticky(owner):
                wrong.append(f"lease {owner} without owner")
        for owner, pod in pods.items():
            asked = [k for k in pod["metadata"].get("annotations", {}) if k in _CHOSEN]
            if not asked or owner in leases:
                wrong += self._wrong_notes(
                    owner, pod, leases, self._pods_subnet(pod["metadata"]["namespace"]), "routed"
                )
        return wrong

    def _sticky(self, owner: str) -> bool:
        found = _SET_LEASE.fullmatch(owner)
        of = self._set(found[1]) if found else None
        return found is not None and of is not None and int(found[2]) < of["spec"]["replicas"]

    async def verify(self, patience: Patience) -> None:
        await self._until_quiet(patience)
        await self.leading()
        found = await self.self_check()
        if found["differences"] or found["drift"]:
            raise Violation(f"self-check: {found}")
        self.checks += 1
        self._kept = {owner: spec for owner, spec in self.leases().items() if self._sticky(owner)}

    async def _until_quiet(self, patience: Patience) -> None:
        while wrong := await self.planned():
            self._check_alive()
            self.observer.check()
            if patience.over():
                raise Violation(f"not settled: a fresh controller would write {'; '.join(wrong[:6])}")
            await asyncio.sleep(0.1)

    async def self_check(self) -> Object:
        patience = Patience(20)
        while True:
            try:
                address = f"http://127.0.0.1:{self.health_port}/self-check"
                async with aiohttp.ClientSession() as session, session.post(address) as reply:
                    found: Object = await reply.json()
                    return found
            except aiohttp.ClientError:  # it has just been started
                if patience.over():
                    raise
                self._check_alive()
                await asyncio.sleep(0.05)

    async def planned(self) -> list[str]:
        """What a controller that starts now would write."""
        file = self.cluster.leader().file if self._raft else self.servers[0].file
        state = ControllerState(database := await FileDatabase.read(file, NB_COLUMNS))
        database.publish()
        objects = [
            o for c in self.api._store.collections.values() for e in c.objects.values() if "kind" in (o := e.decode())
        ]
        problems = feed_objects(state, objects)
        settings, _ = parse(FLAGS, [], prog="planned")
        run = await dry_run(state, compile_options(settings))
        writes = [f"{key} {write.verb} {write.body}" for key, write in run.writes]
        return problems + [f"{row} {change}" for row, change in run.changes] + writes
