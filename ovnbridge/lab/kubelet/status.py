"""A pod's status as a pure function of what the kubelet stand-in knows; it is sent when it differs from the last."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovnbridge.lab.client import Object
from ovnbridge.lab.moments import now


@dataclass
class ContainerState:
    """One container of a pod over all its runs."""

    spec: Object
    init: bool = False
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    runs: int = 0

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def sidecar(self) -> bool:
        """An init container that keeps running."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def exit_code(self) -> int | None:
        terminated = self.state.get("terminated")
        return None if terminated is None else int(terminated["exitCode"])

    def run(self) -> None:
        self.runs += 1
        self.state = {"running": {"startedAt": now()}}

    def end(self, code: int, reason: str = "", message: str = "") -> None:
        started = (self.state.get("running") or {}).get("startedAt") or now()
        ended: Object = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": started,
            "finishedAt": now(),
        }
        if message:
            ended["message"] = message
        self.state = {"terminated": ended}
        self.ready = self.started = False

    def wait(self, reason: str, message: str = "") -> None:
        """Waiting for another run."""
        if "terminated" in self.state:
            self.last = self.state
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}

    def status(self, pod_uid: str) -> Object:
        return {
            "name": self.name,
            "image": self.spec.get("image", ""),
            "imageID": "",
            "containerID": f"lab://{pod_uid}/{self.name}/{self.runs}" if self.runs else "",
            "ready": self.exit_code == 0 if self.init and not self.sidecar else self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
        }


@dataclass
class PodState:
    """What decides a pod's status."""

    hosts: tuple[str, ...]
    started: str
    uid: str
    init: list[ContainerState]
    containers: list[ContainerState]
    addresses: tuple[str, ...] = ()
    initialized: bool = False
    sandbox: bool = False
    phase: str = "Pending"


def compose(state: PodState, before: Object, gates: list[str]) -> Object:
    """The whole status; transition times are kept from the status before where nothing changed."""
    ready = all(container.ready for container in state.containers) and state.phase == "Running"
    others = {condition["type"]: condition["status"] for condition in before.get("conditions") or ()}
    gates_open = all(others.get(gate) == "True" for gate in gates)
    done = state.phase in {"Succeeded", "Failed"}
    reason = "PodCompleted" if done else "ContainersNotReady"
    conditions = [
        _condition("PodReadyToStartContainers", state.sandbox),
        _condition("Initialized", state.initialized, "ContainersNotInitialized"),
        _condition("ContainersReady", ready, reason),
        _condition("Ready", ready and gates_open, reason if not ready else "ReadinessGatesNotReady"),
        _condition("PodScheduled", True),
    ]
    known = {condition["type"]: condition for condition in before.get("conditions") or ()}
    for condition in conditions:
        former = known.get(condition["type"])
        if former is not None and former.get("reason") and "reason" not in condition:
            condition["reason"] = None  # the patch merges conditions: what is not named stays
        same = former is not None and former.get("status") == condition["status"]
        condition["lastTransitionTime"] = former["lastTransitionTime"] if same and former is not None else now()
    status: Object = {
        "phase": state.phase,
        "conditions": conditions,
        "hostIP": state.hosts[0],
        "hostIPs": [{"ip": address} for address in state.hosts],
        "startTime": state.started,
        "containerStatuses": [container.status(state.uid) for container in state.containers],
    }
    if state.init:
        status["initContainerStatuses"] = [container.status(state.uid) for container in state.init]
    if state.addresses:
        status["podIP"] = state.addresses[0]
        status["podIPs"] = [{"ip": address} for address in state.addresses]
    return status


def _condition(kind: str, true: bool, reason: str = "") -> Object:
    condition: Object = {"type": kind, "status": "True" if true else "False"}
    if reason and not true:
        condition["reason"] = reason
    return condition


def as_stored(status: Object) -> Object:
    """A status as the server keeps it: what was removed by a null is not there."""
    conditions = [
        {key: value for key, value in condition.items() if value is not None} for condition in status["conditions"]
    ]
    return {**status, "conditions": conditions}
