"""The scheduler stand-in: filters by nodeName, selector, affinity, taints and ports; spreads what remains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ovnbridge.lab.client import Object
from ovnbridge.lab.informer import Informers, controller_of, key_of
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.lab.workloads.selectors import matches, node_matches
from ovnbridge.model.resource import NODE, POD

_HOSTNAME = "kubernetes.io/hostname"


class Scheduler(Reconciler):
    """Binds pods that have no node."""

    name = "default-scheduler"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._nodes = informers[NODE]
        self._pods = informers[POD]
        self._chosen: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(lambda _old, _new: self._retry())

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or new["spec"].get("nodeName"):
            value = new or old or {}
            self._chosen.pop(value["metadata"]["uid"], None)
            if new is None:
                self._told.pop(value["metadata"]["uid"], None)
                self._retry()  # it may have made room
        elif _wants(new):
            self.add(key_of(new))

    def _retry(self) -> None:
        for value in self._pods.objects.values():
            if value["metadata"]["uid"] in self._told and not value["spec"].get("nodeName"):
                self.add(key_of(value))

    async def reconcile(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod["spec"].get("nodeName") or not _wants(pod) or pod["metadata"]["uid"] in self._chosen:
            return
        nodes, why = self._feasible(pod)
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        if not nodes:
            message = f"0/{len(self._nodes.objects)} nodes are available: {why}"
            if self._told.get(uid) != message:
                self._told[uid] = message
                self.events.record(pod, "FailedScheduling", message, warning=True)
            return
        node = self._best(pod, nodes)
        self._chosen[uid] = node
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self.client.request("POST", POD.path(metadata["namespace"], metadata["name"], "binding"), binding)
        except BaseException:
            self._chosen.pop(uid, None)
            raise
        self._told.pop(uid, None)
        self.events.record(pod, "Scheduled", f"Successfully assigned {key} to {node}")

    def _feasible(self, pod: Object) -> tuple[list[str], str]:
        """Nodes that may run the pod, or what speaks against each."""
        against: Counter[str] = Counter()
        found = []
        for name, node in self._nodes.objects.items():
            reason = _refusal(pod, node) or self._pod_refusal(pod, name)
            if reason:
                against[reason] += 1
            else:
                found.append(name)
        return found, ", ".join(f"{count} {reason}" for reason, count in against.items()) or "there are none"

    def _on(self, node: str) -> Iterable[Object]:
        for pod in self._pods.objects.values():
            where = pod["spec"].get("nodeName") or self._chosen.get(pod["metadata"]["uid"])
            if where == node and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                yield pod

    def _pod_refusal(self, pod: Object, node: str) -> str:
        """Host ports that are taken, and required anti-affinity by host name."""
        wanted = _host_ports(pod)
        terms = _anti_affinity(pod)
        namespace = pod["metadata"]["namespace"]
        if not wanted and not terms:
            return ""
        for other in self._on(node):
            if wanted & _host_ports(other):
                return "node(s) didn't have free ports for the requested pod ports"
            same = other["metadata"]["namespace"] == namespace
            if same and any(matches(term.get("labelSelector"), other["metadata"].get("labels")) for term in terms):
                return "node(s) didn't match pod anti-affinity rules"
        return ""

    def _best(self, pod: Object, nodes: list[str]) -> str:
        """The node with the fewest pods of the same owner, then the fewest pods."""
        owner = controller_of(pod)
        siblings: Counter[str] = Counter()
        everything: Counter[str] = Counter()
        for other in self._pods.objects.values():
            where = other["spec"].get("nodeName") or self._chosen.get(other["metadata"]["uid"])
            if not where or (other.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
                continue
            everything[where] += 1
            other_owner = controller_of(other)
            if owner is not None and other_owner is not None and other_owner["uid"] == owner["uid"]:
                siblings[where] += 1
        return min(nodes, key=lambda name: (siblings[name], everything[name], name))


def _wants(pod: Object) -> bool:
    return (
        (pod["spec"].get("schedulerName") or "default-scheduler") == "default-scheduler"
        and not pod["metadata"].get("deletionTimestamp")
        and not pod["spec"].get("schedulingGates")
    )


def _refusal(pod: Object, node: Object) -> str:
    spec = pod["spec"]
    labels = node["metadata"].get("labels") or {}
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity and not node_matches(affinity, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if not tolerated(spec, node):
        return "node(s) had untolerated taint(s)"
    return ""


def tolerated(spec: Object, node: Object) -> bool:
    """Whether every taint that keeps pods away has a toleration."""
    return all(
        any(_tolerates(toleration, taint) for toleration in spec.get("tolerations") or ())
        for taint in node["spec"].get("taints") or ()
        if taint["effect"] in {"NoSchedule", "NoExecute"}
    )


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _host_ports(pod: Object) -> set[tuple[str, int]]:
    host = bool(pod["spec"].get("hostNetwork"))
    return {
        (port.get("protocol") or "TCP", port["containerPort"] if host else port["hostPort"])
        for container in pod["spec"].get("containers") or ()
        for port in container.get("ports") or ()
        if host or port.get("hostPort")
    }


def _anti_affinity(pod: Object) -> list[Object]:
    rules = (pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
    required = rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return [term for term in required if term.get("topologyKey") == _HOSTNAME]
