"""The Deployment stand-in: a ReplicaSet for each template, from the old to the new within surge and unavailability."""

from __future__ import annotations

import asyncio

from ovnbridge.lab.client import MERGE, Object
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.workloads.common import condition, hash_of, owner_reference, share, write_status
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import DEPLOYMENT, POD, REPLICA_SET

_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"


class Deployments(Reconciler):
    """Creates and scales ReplicaSets, tells how far the rollout is."""

    name = "deployment-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._deployments = self.follow(DEPLOYMENT)
        self._sets = self.follow_owned(REPLICA_SET, DEPLOYMENT.kind)
        self._pods = informers[POD]
        self._pods.subscribe(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """`Recreate` waits for the end of the old pods, which no ReplicaSet counts while they terminate."""
        if new is None and old is not None:
            for reference in old["metadata"].get("ownerReferences") or ():
                owner = self._sets.get(f"{old['metadata']['namespace']}/{reference['name']}")
                for above in owner["metadata"].get("ownerReferences") or () if owner else ():
                    self.add(f"{old['metadata']['namespace']}/{above['name']}")

    async def reconcile(self, key: str) -> None:
        value = self._deployments.get(key)
        if value is None or value["metadata"].get("deletionTimestamp"):
            return
        digest = hash_of(value["spec"]["template"])
        name = f"{value['metadata']['name']}-{digest}"
        owned = self._sets.owned(value["metadata"]["uid"])
        new = next((one for one in owned if one["metadata"]["name"] == name), None)
        old = [one for one in owned if one is not new]
        if not value["spec"].get("paused"):
            new = await self._roll(value, name, digest, new, old)
        await self._report(value, new)

    async def _roll(self, value: Object, name: str, digest: str, new: Object | None, old: list[Object]) -> Object:
        spec = value["spec"]
        wanted = spec.get("replicas", 1)
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            await asyncio.gather(*(self._scale(one, 0) for one in old))
            gone = not any(self._pods.owned(one["metadata"]["uid"]) for one in old)
            waiting = _replicas(new) if new is not None else 0
            return await self._ensure(value, name, digest, new, old, wanted if gone else waiting)
        rolling = strategy.get("rollingUpdate") or {}
        surge = share(rolling.get("maxSurge", "25%"), wanted, up=True)
        unavailable = share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        if not surge and not unavailable:
            unavailable = 1
        others = sum(_replicas(one) for one in old)
        current = _replicas(new) if new is not None else 0
        size = wanted if current >= wanted else min(wanted, max(current, wanted + surge - others))
        new = await self._ensure(value, name, digest, new, old, size)
        await self._shrink(new, [one for one in old if _replicas(one)], wanted - unavailable)
        return new

    async def _shrink(self, new: Object, old: list[Object], minimum: int) -> None:
        """Takes replicas from the old sets as far as enough pods stay available."""
        every = [*old, new]
        missing_new = _replicas(new) - _available(new)
        room = sum(_replicas(one) for one in every) - minimum - missing_new
        for one in sorted(old, key=lambda one: one["metadata"]["creationTimestamp"]):
            # Those that are not available cost nothing.
            spare = max(0, min(room, _replicas(one) - _available(one)))
            room -= spare
            if spare:
                await self._scale(one, _replicas(one) - spare)
        room = min(room, sum(_available(one) for one in every) - minimum)
        for one in sorted(old, key=lambda one: one["metadata"]["creationTimestamp"]):
            live = self._sets.get(f"{one['metadata']['namespace']}/{one['metadata']['name']}") or one
            spare = max(0, min(room, _replicas(live)))
            room -= spare
            if spare:
                await self._scale(live, _replicas(live) - spare)

    async def _ensure(
        self, value: Object, name: str, digest: str, new: Object | None, old: list[Object], replicas: int
    ) -> Object:
        """The ReplicaSet of the present template, at a size, with the highest revision."""
        highest = max((_revision(one) for one in old), default=0)
        if new is None:
            new = await self.client.create(REPLICA_SET, self._replica_set(value, name, digest, replicas, highest + 1))
            self._sets.observe(new)
        else:
            if _revision(new) <= highest:
                body = {"metadata": {"annotations": {_REVISION: str(highest + 1)}}}
                new = await self.client.patch(REPLICA_SET, value["metadata"]["namespace"], name, body, kind=MERGE)
                self._sets.observe(new)
            new = await self._scale(new, replicas)
        revision = str(_revision(new))
        if (value["metadata"].get("annotations") or {}).get(_REVISION) != revision:
            body = {"metadata": {"annotations": {_REVISION: revision}}}
            namespace, deployment = value["metadata"]["namespace"], value["metadata"]["name"]
            self._deployments.observe(await self.client.patch(DEPLOYMENT, namespace, deployment, body))
        return new

    def _replica_set(self, value: Object, name: str, digest: str, replicas: int, revision: int) -> Object:
        spec = value["spec"]
        template = dict(spec["template"])
        metadata = dict(template.get("metadata") or {})
        labels = {**(metadata.get("labels") or {}), _HASH: digest}
        template["metadata"] = {**metadata, "labels": labels}
        selector = dict(spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _HASH: digest}
        made: Object = {
            "metadata": {
                "name": name,
                "namespace": value["metadata"]["namespace"],
                "labels": labels,
                "annotations": {_REVISION: str(revision)},
                "ownerReferences": [owner_reference(value, DEPLOYMENT)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }
        if spec.get("minReadySeconds"):
            made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        return made

    async def _scale(self, one: Object, replicas: int) -> Object:
        if _replicas(one) == replicas:
            return one
        metadata = one["metadata"]
        body = {"spec": {"replicas": replicas}}
        answer = await self.client.patch(REPLICA_SET, metadata["namespace"], metadata["name"], body)
        self._sets.observe(answer)
        return answer

    async def _report(self, value: Object, new: Object | None) -> None:
        value = self._deployments.get(f"{value['metadata']['namespace']}/{value['metadata']['name']}") or value
        every = self._sets.owned(value["metadata"]["uid"])
        wanted = value["spec"].get("replicas", 1)
        total = sum((one.get("status") or {}).get("replicas", 0) for one in every)
        updated = (new.get("status") or {}).get("replicas", 0) if new is not None else 0
        available = sum(_available(one) for one in every)
        rolling = (value["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        enough = available >= wanted - share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        done = updated == wanted and total == wanted and available >= wanted
        reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
        name = new["metadata"]["name"] if new is not None else ""
        text = f'ReplicaSet "{name}" {"has successfully progressed" if done else "is progressing"}.'
        minimum = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
        words = f"Deployment {'has' if enough else 'does not have'} minimum availability."
        status = {
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": sum((one.get("status") or {}).get("readyReplicas", 0) for one in every),
            "availableReplicas": available,
            "unavailableReplicas": max(0, max(wanted, total) - available),
            "observedGeneration": value["metadata"].get("generation", 1),
            "conditions": [
                condition(value, "Available", enough, minimum, words),
                condition(value, "Progressing", True, reason, text),
            ],
        }
        await write_status(self.client, self._deployments, value, status)


def _replicas(one: Object) -> int:
    return int(one["spec"].get("replicas", 1))


def _available(one: Object) -> int:
    return int((one.get("status") or {}).get("availableReplicas", 0))


def _revision(one: Object) -> int:
    return int((one["metadata"].get("annotations") or {}).get(_REVISION, 0))
