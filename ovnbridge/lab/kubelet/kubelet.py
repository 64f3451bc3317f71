"""The kubelet stand-in of one node: hands each pod that is bound to the node to a worker of its own."""

from __future__ import annotations

from ovnbridge.lab.client import Object
from ovnbridge.lab.events import Events
from ovnbridge.lab.informer import Informers, key_of
from ovnbridge.lab.kubelet.cni import Network
from ovnbridge.lab.kubelet.environment import NodeEnvironment
from ovnbridge.lab.kubelet.pod import PodWorker
from ovnbridge.lab.tasks import Tasks
from ovnbridge.model.resource import POD


class Kubelet:
    """One node."""

    def __init__(self, environment: NodeEnvironment, informers: Informers, tasks: Tasks) -> None:
        self._environment = environment
        self._network = Network(environment)
        self._client = informers.client
        self._events = Events(informers.client, "kubelet", environment.name)
        self._tasks = tasks
        self._workers: dict[str, PodWorker] = {}
        self._keys: dict[str, str] = {}
        self._finished: set[str] = set()
        self._pods = informers[POD]
        self._pods.subscribe(self._changed)

    def sandboxes(self) -> dict[str, dict[str, object]]:
        """Where `lab exec` finds each pod."""
        return {
            self._keys[uid]: {"node": self._environment.name, "netns": worker.netns, "addresses": worker.addresses}
            for uid, worker in self._workers.items()
            if worker.netns
        }

    def words(self) -> dict[str, list[str]]:
        return {self._keys[uid]: worker.words for uid, worker in self._workers.items() if worker.words}

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._finished.discard(old["metadata"]["uid"])
            worker = self._workers.get(old["metadata"]["uid"])
            if worker is not None:
                worker.gone()
        if new is None or new["spec"].get("nodeName") != self._environment.name:
            return
        uid = new["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(new)
            return
        if uid in self._finished:  # finalizers keep the object of a pod that is gone
            return
        finished = (new.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        if finished and not new["metadata"].get("deletionTimestamp"):
            return
        worker = PodWorker(self._environment, self._network, self._client, self._events, new)
        self._workers[uid] = worker
        self._keys[uid] = key_of(new)
        task = self._tasks.start(f"pod-{key_of(new)}", worker.run())
        task.add_done_callback(lambda _, uid=uid: self._forget(uid))  # type: ignore[misc]

    def _forget(self, uid: str) -> None:
        self._workers.pop(uid, None)
        known = self._pods.get(self._keys.pop(uid, ""))
        if known is not None and known["metadata"]["uid"] == uid:
            self._finished.add(uid)
