"""The status that an object of each builtin kind is created with, whatever the client sent."""

from __future__ import annotations

from collections.abc import Callable

from .defaults import default_names
from .errors import Object
from .timestamps import now


def _established(crd: Object) -> Object:
    """The embedded server accepts the names and serves the resource at once."""
    default_names(crd)
    moment = now()
    conditions = [
        {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
    ]
    spec = crd["spec"]
    return {
        "conditions": [{**condition, "status": "True", "lastTransitionTime": moment} for condition in conditions],
        "acceptedNames": spec["names"],
        "storedVersions": [version["name"] for version in spec.get("versions") or () if version.get("storage")],
    }


def _empty(obj: Object) -> Object:
    return {}


def _balancer(obj: Object) -> Object:
    return {"loadBalancer": {}}


def _zeros(*names: str) -> Callable[[Object], Object]:
    return lambda obj: dict.fromkeys(names, 0)


# Kinds that are not here have no status until somebody writes one.
INITIAL_STATUS: dict[tuple[str, str], Callable[[Object], Object]] = {
    ("", "pods"): _empty,
    ("", "namespaces"): _empty,
    ("", "services"): _balancer,
    ("", "persistentvolumeclaims"): _empty,
    ("", "persistentvolumes"): _empty,
    ("networking.k8s.io", "ingresses"): _balancer,
    ("networking.k8s.io", "servicecidrs"): _empty,
    ("apps", "deployments"): _empty,
    ("apps", "replicasets"): _zeros("replicas"),
    ("apps", "statefulsets"): _zeros("replicas", "availableReplicas"),
    ("apps", "daemonsets"): _zeros(
        "currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"
    ),
    ("batch", "jobs"): _empty,
    ("batch", "cronjobs"): _empty,
    ("policy", "poddisruptionbudgets"): _zeros(
        "currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _established,
}
