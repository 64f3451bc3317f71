"""The StatefulSet stand-in: numbered pods, in order; updates from the highest number down."""

from __future__ import annotations

from ovnbridge.lab.client import Object
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.workloads.common import active, create_pods, delete_pod, hash_of, phase, pod_of, ready, write_status
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import POD, STATEFUL_SET

_REVISION = "controller-revision-hash"


class StatefulSets(Reconciler):
    """One pod for each ordinal. Volume claims are not provisioned."""

    name = "statefulset-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._sets = self.follow(STATEFUL_SET)
        self._pods = self.follow_owned(POD, STATEFUL_SET.kind)
        self._told: set[str] = set()

    async def reconcile(self, key: str) -> None:
        value = self._sets.get(key)
        if value is None or value["metadata"].get("deletionTimestamp"):
            return
        uid = value["metadata"]["uid"]
        if value["spec"].get("volumeClaimTemplates") and uid not in self._told:
            self._told.add(uid)
            self.events.record(value, "StoodIn", "volumeClaimTemplates are not provisioned")
        revision = f"{value['metadata']['name']}-{hash_of(value['spec']['template'])}"
        await self._order(value, revision)
        await self._count(value, revision)

    async def _order(self, value: Object, revision: str) -> None:
        """One step; the change that it makes leads to the next."""
        spec, name = value["spec"], value["metadata"]["name"]
        parallel = spec.get("podManagementPolicy") == "Parallel"
        first = (spec.get("ordinals") or {}).get("start", 0)
        wanted = [f"{name}-{number}" for number in range(first, first + spec.get("replicas", 1))]
        pods = {pod["metadata"]["name"]: pod for pod in self._pods.owned(value["metadata"]["uid"])}
        for pod_name in wanted:
            pod = pods.get(pod_name)
            if pod is None:
                labels = {
                    _REVISION: revision,
                    "statefulset.kubernetes.io/pod-name": pod_name,
                    "apps.kubernetes.io/pod-index": pod_name.rpartition("-")[2],
                }
                made = pod_of(value, STATEFUL_SET, spec["template"], labels, pod_name)
                made["spec"].setdefault("hostname", pod_name)
                if spec.get("serviceName"):
                    made["spec"].setdefault("subdomain", spec["serviceName"])
                await create_pods(self.client, self._pods, [made])
            elif phase(pod) in {"Failed", "Succeeded"} and not pod["metadata"].get("deletionTimestamp"):
                await delete_pod(self.client, self._pods, pod)
            if not parallel and (pod is None or not ready(pod) or pod["metadata"].get("deletionTimestamp")):
                return
        surplus = sorted((pod for pod in pods if pod not in wanted), key=_ordinal, reverse=True)
        for pod_name in surplus:
            if not pods[pod_name]["metadata"].get("deletionTimestamp"):
                await delete_pod(self.client, self._pods, pods[pod_name])
            if not parallel:
                return
        await self._update(value, revision, [pods[pod_name] for pod_name in wanted if pod_name in pods])

    async def _update(self, value: Object, revision: str, pods: list[Object]) -> None:
        strategy = value["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete" or not all(ready(pod) and active(pod) for pod in pods):
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        for pod in reversed(pods):
            outdated = (pod["metadata"].get("labels") or {}).get(_REVISION) != revision
            if outdated and _ordinal(pod["metadata"]["name"]) >= partition:
                await delete_pod(self.client, self._pods, pod)
                return

    async def _count(self, value: Object, revision: str) -> None:
        living = [pod for pod in self._pods.owned(value["metadata"]["uid"]) if active(pod)]
        before = value.get("status") or {}
        updated = sum((pod["metadata"].get("labels") or {}).get(_REVISION) == revision for pod in living)
        complete = updated == len(living) == value["spec"].get("replicas", 1)
        current = revision if complete else before.get("currentRevision") or revision
        readies = sum(ready(pod) for pod in living)
        status = {
            "replicas": len(living),
            "readyReplicas": readies,
            "availableReplicas": readies,
            "currentReplicas": sum((pod["metadata"].get("labels") or {}).get(_REVISION) == current for pod in living),
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": revision,
            "observedGeneration": value["metadata"].get("generation", 1),
        }
        await write_status(self.client, self._sets, value, status)


def _ordinal(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1
