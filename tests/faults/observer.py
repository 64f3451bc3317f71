"""Looks at every write to the API as it happens: what must hold at every moment and not only when all is quiet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ovnbridge.lab.api.store import Change

NOTE = "ovn.kubernetes.io/"
Holder = tuple[str, str]
Address = tuple[str, str]


class Observer:
    """Collects violations; `check` raises them."""

    def __init__(self, subnet_of: Callable[[str], str], switches: Callable[[bool], set[str]]) -> None:
        self.seen = 0
        self._subnet_of = subnet_of
        self._switches = switches
        self._problems: list[str] = []
        self._leases: dict[str, Address] = {}
        self._pods: dict[str, tuple[str, Address]] = {}

    def check(self) -> None:
        """Raise what has been seen."""
        if self._problems:
            raise RuntimeError("; ".join(self._problems[:5]))

    def see(self, plural: str, change: Change) -> None:
        """One write."""
        look = {"ips": self._ip, "pods": self._pod, "subnets": self._subnet}.get(plural)
        if look is not None:
            self.seen += 1
            look(change, change.new.decode() if change.new is not None else None)

    def _ip(self, change: Change, ip: dict[str, Any] | None) -> None:
        owner = change.key[1]
        if ip is None:
            self._leases.pop(owner, None)
            return
        lease = (ip["spec"]["subnet"], ip["spec"]["v4IpAddress"])
        for other, held in self._leases.items():
            if held == lease and other != owner:
                self._problems.append(f"leases {owner} and {other} both hold {lease}")
        if self._leases.setdefault(owner, lease) != lease:
            self._problems.append(f"lease {owner} changed from {self._leases[owner]} to {lease}")

    def _pod(self, change: Change, pod: dict[str, Any] | None) -> None:
        owner = f"{change.key[1]}.{change.key[0]}"
        notes = pod["metadata"].get("annotations", {}) if pod is not None else {}
        given = notes.get(f"{NOTE}allocated") == "true"  # otherwise it may be a user's wish
        text = notes.get(f"{NOTE}ip_address") if given else None
        if pod is None or text is None or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            self._pods.pop(owner, None)
            return
        uid, address = pod["metadata"]["uid"], (notes[f"{NOTE}logical_switch"], text)
        before = self._pods.get(owner)
        if before == (uid, address):
            return
        if before is not None and before[0] == uid:
            self._problems.append(f"pod {owner} moved from {before[1]} to {address}")
        if address[0] != self._subnet_of(change.key[0]):
            self._problems.append(f"pod {owner} is in {address[0]}")
        for other, (_, held) in self._pods.items():
            if held == address and other != owner:
                self._problems.append(f"pods {owner} and {other} both have {address}")
        if self._leases.get(owner) != address:
            self._problems.append(f"pod {owner} was given {address}, its lease says {self._leases.get(owner)}")
        self._pods[owner] = (uid, address)

    def _subnet(self, change: Change, subnet: dict[str, Any] | None) -> None:
        if subnet is None or not _ready(subnet) or (change.old is not None and _ready(change.old.decode())):
            return
        leaving = "deletionTimestamp" in subnet["metadata"]  # the write may have been under way when deletion was asked
        if change.key[1] not in self._switches(leaving):
            self._problems.append(f"subnet {change.key[1]} is Ready, its switch is not committed")


def _ready(subnet: dict[str, Any]) -> bool:
    conditions = subnet.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
