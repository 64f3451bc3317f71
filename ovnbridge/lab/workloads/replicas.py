"""The ReplicaSet stand-in: as many pods as wanted."""

from __future__ import annotations

import asyncio

from ovnbridge.lab.client import Object
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.workloads.common import active, available_in, create_pods, delete_pod, pod_of, ready, write_status
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import POD, REPLICA_SET


class ReplicaSets(Reconciler):
    """Creates and deletes pods, counts them."""

    name = "replicaset-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._sets = self.follow(REPLICA_SET)
        self._pods = self.follow_owned(POD, REPLICA_SET.kind)

    async def reconcile(self, key: str) -> None:
        value = self._sets.get(key)
        if value is None:
            return
        owned = self._pods.owned(value["metadata"]["uid"])
        living = [pod for pod in owned if active(pod)]
        if not value["metadata"].get("deletionTimestamp"):
            await self._scale(value, living)
        await self._count(value)

    async def _scale(self, value: Object, living: list[Object]) -> None:
        wanted = value["spec"].get("replicas", 1)
        missing = wanted - len(living)
        if missing > 0:
            pod = pod_of(value, REPLICA_SET, value["spec"]["template"], {})
            await create_pods(self.client, self._pods, [pod] * missing)
        elif missing < 0:
            # First what is not ready, then the youngest.
            order = sorted(living, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
            order.sort(key=ready)
            await asyncio.gather(*(delete_pod(self.client, self._pods, pod) for pod in order[:-missing]))

    async def _count(self, value: Object) -> None:
        living = [pod for pod in self._pods.owned(value["metadata"]["uid"]) if active(pod)]
        waits = [available_in(pod, value["spec"].get("minReadySeconds", 0)) for pod in living]
        later = [wait for wait in waits if wait]
        if later:
            self.add_later(f"{value['metadata']['namespace']}/{value['metadata']['name']}", min(later) + 0.05)
        labels = (value["spec"]["template"].get("metadata") or {}).get("labels") or {}
        status = {
            "replicas": len(living),
            "fullyLabeledReplicas": sum(
                labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in living
            ),
            "readyReplicas": sum(wait is not None for wait in waits),
            "availableReplicas": sum(wait == 0 for wait in waits),
            "observedGeneration": value["metadata"].get("generation", 1),
        }
        await write_status(self.client, self._sets, value, status)
