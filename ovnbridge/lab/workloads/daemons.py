"""The DaemonSet stand-in: a pod on every node that takes it."""

from __future__ import annotations

import asyncio

from ovnbridge.lab.client import Object
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.workloads.common import (
    active,
    create_pods,
    delete_pod,
    hash_of,
    phase,
    pod_of,
    ready,
    share,
    write_status,
)
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.lab.workloads.scheduler import tolerated
from ovnbridge.lab.workloads.selectors import node_matches
from ovnbridge.model.resource import DAEMON_SET, NODE, POD

_REVISION = "controller-revision-hash"
_TOLERATED = ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")


class DaemonSets(Reconciler):
    """Binds its pods itself: each names its node."""

    name = "daemonset-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._sets = self.follow(DAEMON_SET)
        self._pods = self.follow_owned(POD, DAEMON_SET.kind)
        self._nodes = informers[NODE]
        self._nodes.subscribe(self._node_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        for key in self._sets.objects:
            self.add(key)

    async def reconcile(self, key: str) -> None:
        value = self._sets.get(key)
        if value is None or value["metadata"].get("deletionTimestamp"):
            return
        spec = value["spec"]
        revision = hash_of(spec["template"])
        nodes = [name for name, node in self._nodes.objects.items() if _takes(spec["template"]["spec"], node)]
        pods = self._pods.owned(value["metadata"]["uid"])
        there = {pod["spec"].get("nodeName") for pod in pods}
        missing = [self._pod(value, revision, node) for node in nodes if node not in there]
        await create_pods(self.client, self._pods, missing)
        surplus = [
            pod for pod in pods if pod["spec"].get("nodeName") not in nodes or phase(pod) in {"Failed", "Succeeded"}
        ]
        surplus += self._outdated(spec, revision, [pod for pod in pods if pod not in surplus], len(nodes))
        await asyncio.gather(
            *(
                delete_pod(self.client, self._pods, pod)
                for pod in surplus
                if not pod["metadata"].get("deletionTimestamp")
            )
        )
        await self._count(value, revision, len(nodes))

    def _pod(self, value: Object, revision: str, node: str) -> Object:
        pod = pod_of(
            value, DAEMON_SET, value["spec"]["template"], {_REVISION: revision, "pod-template-generation": "1"}
        )
        pod["spec"]["nodeName"] = node
        tolerations = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists"} for key in _TOLERATED]
        pod["spec"]["tolerations"] = [*(pod["spec"].get("tolerations") or ()), *tolerations]
        return pod

    def _outdated(self, spec: Object, revision: str, pods: list[Object], total: int) -> list[Object]:
        strategy = spec.get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return []
        limit = max(1, share((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), total, up=True))
        old = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(_REVISION) != revision]
        down = sum(not ready(pod) or not active(pod) for pod in pods) + total - len(pods)
        broken = [pod for pod in old if not ready(pod)]
        return broken + [pod for pod in old if ready(pod)][: max(0, limit - down)]

    async def _count(self, value: Object, revision: str, total: int) -> None:
        living = [pod for pod in self._pods.owned(value["metadata"]["uid"]) if active(pod)]
        readies = sum(ready(pod) for pod in living)
        status = {
            "desiredNumberScheduled": total,
            "currentNumberScheduled": len(living),
            "numberReady": readies,
            "numberAvailable": readies,
            "numberUnavailable": max(0, total - readies),
            "numberMisscheduled": 0,
            "updatedNumberScheduled": sum(
                (pod["metadata"].get("labels") or {}).get(_REVISION) == revision for pod in living
            ),
            "observedGeneration": value["metadata"].get("generation", 1),
        }
        await write_status(self.client, self._sets, value, status)


def _takes(pod_spec: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != text for key, text in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required and not node_matches(required, node):
        return False
    always = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists"} for key in _TOLERATED]
    return tolerated({"tolerations": [*(pod_spec.get("tolerations") or ()), *always]}, node)
