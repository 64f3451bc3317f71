"""The Job stand-in: pods until enough have succeeded or too many have failed."""

from __future__ import annotations

import asyncio

from ovnbridge.lab.client import Object
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.moments import now
from ovnbridge.lab.workloads.common import active, condition_of, create_pods, delete_pod, phase, pod_of, write_status
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import JOB, POD


class Jobs(Reconciler):
    """Counts the pods that exist: a Job's pods are kept until the Job goes."""

    name = "job-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._jobs = self.follow(JOB)
        self._pods = self.follow_owned(POD, JOB.kind)

    async def reconcile(self, key: str) -> None:
        value = self._jobs.get(key)
        if value is None or value["metadata"].get("deletionTimestamp"):
            return
        spec = value["spec"]
        pods = self._pods.owned(value["metadata"]["uid"])
        living = [pod for pod in pods if active(pod)]
        succeeded = sum(phase(pod) == "Succeeded" for pod in pods)
        failed = sum(phase(pod) == "Failed" for pod in pods)
        parallelism = spec.get("parallelism", 1)
        completions = spec.get("completions")
        done = succeeded >= completions if completions is not None else succeeded > 0 and not living
        over = failed > spec.get("backoffLimit", 6)
        ended = any(condition_of(value, kind) for kind in ("Complete", "Failed"))
        if done or over or ended or spec.get("suspend"):
            await asyncio.gather(*(delete_pod(self.client, self._pods, pod) for pod in living))
        else:
            if completions is None:
                missing = 0 if succeeded else parallelism - len(living)
            else:
                missing = min(parallelism, completions - succeeded) - len(living)
            await create_pods(self.client, self._pods, [self._pod(value)] * max(0, missing))
        await self._report(value, succeeded, failed, done, over)

    def _pod(self, value: Object) -> Object:
        # The API server put the Job's labels into the template.
        return pod_of(value, JOB, value["spec"]["template"], self._labels(value))

    def _labels(self, value: Object) -> Object:
        name, uid = value["metadata"]["name"], value["metadata"]["uid"]
        return {
            "job-name": name,
            "controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "batch.kubernetes.io/controller-uid": uid,
        }

    async def _report(self, value: Object, succeeded: int, failed: int, done: bool, over: bool) -> None:
        before = value.get("status") or {}
        living = [pod for pod in self._pods.owned(value["metadata"]["uid"]) if active(pod)]
        status: Object = {
            "active": len(living),
            "succeeded": succeeded,
            "failed": failed,
            "ready": sum(phase(pod) == "Running" for pod in living),
            "startTime": before.get("startTime") or now(),
        }
        if (done or over) and not before.get("conditions"):
            kinds = ("SuccessCriteriaMet", "Complete") if done else ("FailureTarget", "Failed")
            reason = "CompletionsReached" if done else "BackoffLimitExceeded"
            moment = now()
            status["conditions"] = [
                {
                    "type": kind,
                    "status": "True",
                    "reason": reason,
                    "lastProbeTime": moment,
                    "lastTransitionTime": moment,
                }
                for kind in kinds
            ]
            if done:
                status["completionTime"] = moment
        await write_status(self.client, self._jobs, value, status)
