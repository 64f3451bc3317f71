"""What Kube-OVN says of an object, comparable: without identity, times, and what Go programs write for nothing."""

from __future__ import annotations

from typing import Any

from tests.oracle.world import Json, labels, notes, spec, status

OTHERS = ("nodes", "namespaces", "pods")
"""Kinds whose spec and status are not Kube-OVN's."""


def statement(plural: str, obj: Json) -> Json:
    """Annotations, labels, finalizers; of Kube-OVN's own kinds also spec and status."""
    found: Json = {"annotations": {k: v for k, v in notes(obj).items() if ".kubernetes.io/" in k}}
    found |= {"labels": labels(obj), "finalizers": obj["metadata"].get("finalizers") or []}
    if plural not in OTHERS:
        told = dict(status(obj))
        conditions = told.get("conditions") or ()
        fields = ("type", "status", "reason", "message")
        told["conditions"] = sorted([c.get(f, "") for f in fields] for c in conditions)
        for uuid in ("dhcpV4OptionsUUID", "dhcpV6OptionsUUID"):
            told[uuid] = bool(told.get(uuid))
        for appended in ("vlans", "subnets"):  # in the order of events
            if appended in told:
                told[appended] = sorted(told[appended] or ())
        found |= {"spec": without_zeros(spec(obj)), "status": without_zeros(told)}
    return found


def without_zeros(value: Any) -> Any:
    """Without what stands for nothing."""
    if isinstance(value, dict):
        kept = {k: without_zeros(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in (None, "", [], {}, 0, False)}
    return [without_zeros(v) for v in value] if isinstance(value, list) else value
