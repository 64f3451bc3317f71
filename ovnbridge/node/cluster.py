"""The Kubernetes objects that this node needs: its pods, its Node, the subnets.

Fed by reflectors of `kube/` (this is their sink) with objects of this node only where a selector allows it. Waiting
requests and the host's reconciler subscribe here; nobody polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.resource import Resource

Listener = Callable[[str, str], None]
"""Called with the plural of the kind and the key of a changed object; the key is empty when all may have changed."""

PODS: Final = "pods"
NODES: Final = "nodes"
SUBNETS: Final = "subnets"
_VM_LABELS: Final = ("vmi.kubevirt.io/id", "vm.kubevirt.io/name")
_VM_ANNOTATION: Final = "kubevirt.io/domain"
_VIRTUAL_MACHINE_SUFFIX: Final = ".kubernetes.io/virtualmachine"


class ClusterView:
    """Tables by kind, with change notification."""

    def __init__(self, node_name: str) -> None:
        self.node_name = node_name
        self.pods: Mapping[str, Pod] = {}
        self.subnets: Mapping[str, Subnet] = {}
        self._nodes: Mapping[str, Node] = {}
        self.pods_synced = asyncio.Event()
        self.node_synced = asyncio.Event()
        self.subnets_synced = asyncio.Event()
        self._listeners: list[Listener] = []

    @property
    def node(self) -> Node | None:
        """This node's object."""
        return self._nodes.get(self.node_name)

    def replace(self, resource: Resource, objects: dict[str, Any] | None) -> None:
        """All objects of a kind (reflector sink)."""
        objects = objects or {}
        copy = dict(objects)
        if resource.plural == PODS:
            self.pods = {key: pod for key, pod in objects.items() if self._mine(pod)}
            self.pods_synced.set()
        elif resource.plural == NODES:
            self._nodes = copy
            self.node_synced.set()
        elif resource.plural == SUBNETS:
            self.subnets = copy
            self.subnets_synced.set()
        self._tell(resource.plural, "")

    def apply(self, resource: Resource, key: str, obj: Any) -> None:
        """One object changed or is gone (reflector sink)."""
        tables: dict[str, Any] = {PODS: self.pods, NODES: self._nodes, SUBNETS: self.subnets}
        table = tables.get(resource.plural)
        if table is None:
            return
        if obj is None or (resource.plural == PODS and not self._mine(obj)):
            if table.pop(key, None) is None:
                return
        else:
            table[key] = obj
        self._tell(resource.plural, key)

    def node_changed(self) -> None:
        """Something else about this node is known now that decisions depend on."""
        self._tell(NODES, self.node_name)

    def _mine(self, pod: Pod) -> bool:
        """A process with more roles may watch the pods of all nodes."""
        return pod.spec.node_name == self.node_name and not pod.spec.host_network

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of changes; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def owners(self) -> set[tuple[str, str]]:
        """(namespace, name) of every pod and virtual machine that has something to run on this node."""
        return owners(self.pods.values())

    def _tell(self, plural: str, key: str) -> None:
        for listener in tuple(self._listeners):
            listener(plural, key)


def owners(pods: Iterable[Pod]) -> set[tuple[str, str]]:
    """(namespace, name) of pods, and of the virtual machines that they run."""
    found: set[tuple[str, str]] = set()
    for pod in pods:
        meta = pod.metadata
        names = {meta.name, meta.annotation(_VM_ANNOTATION)}
        names.update(meta.label(label) for label in _VM_LABELS)
        names.update(v for k, v in meta.all_annotations().items() if k.endswith(_VIRTUAL_MACHINE_SUFFIX))
        found.update((meta.namespace, name) for name in names if name)
    return found
