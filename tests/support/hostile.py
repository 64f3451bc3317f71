"""Objects that nobody should write: every kind that the webhook judges, with fields replaced by junk."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from tests.support.cluster import Json, ip, pod, subnet, vpc


def pool(name: str, of: str, *ips: str) -> Json:
    return {"kind": "IPPool", "metadata": {"name": name}, "spec": {"subnet": of, "ips": list(ips)}}


def vip(name: str, of: str, **spec: Any) -> Json:
    return {"kind": "Vip", "metadata": {"name": name}, "spec": {"subnet": of, **spec}}


def workload(kind: str, **notes: str) -> Json:
    annotations = {f"ovn.kubernetes.io/{name}": value for name, value in notes.items()}
    template: Json = {"metadata": {"annotations": annotations}, "spec": {"containers": []}}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    return {"kind": kind, "metadata": {"name": "web", "namespace": "app"}, "spec": spec}


JUNK: list[Any] = [
    None, "", " ", "x", "10.0.0.1", "10.0.0.0/8", "::/0", "fe80::1%eth0", "10.0.0.1..10.0.0.0", "1" * 5000, "\x00", "é",
    "10.16.0.5,10.16.0.5", "a,b;c", -1, 0, 2**70, 1.5, True, [], ["x"], [None], {}, {"a": {"b": []}}, "0.0.0.0/0",
    "999.1.1.1/99", "::ffff:10.0.0.1", "10.0.0.1/", "/", ",", ";", "..", "ovn-default", "join", "255.255.255.255",
]  # fmt: skip


def hostile(seed: int) -> Iterable[Json]:
    """Objects of every kind with one to four fields replaced by junk."""
    pick = random.Random(seed)
    templates = [
        subnet("h", cidrBlock="10.50.0.0/24", gateway="10.50.0.1", excludeIps=["10.50.0.1"], vpc="ovn-cluster"),
        vpc("h", staticRoutes=[{"cidr": "10.0.0.0/8", "nextHopIP": "10.1.1.1"}], namespaces=["a"]),
        ip("app/h", "ovn-default", "10.16.0.9"),
        pool("h", "ovn-default", "10.16.0.20..10.16.0.30"),
        vip("h", "ovn-default", v4ip="10.16.0.9"),
        {"kind": "Vlan", "metadata": {"name": "h"}, "spec": {"id": 7, "provider": "pn"}},
        {"kind": "ProviderNetwork", "metadata": {"name": "h"}, "spec": {"defaultInterface": "eth0"}},
        pod("app/h", ip_address="10.16.0.9", ip_pool="10.16.0.9", mac_address="00:00:00:00:00:01", cidr="10.0.0.0/8"),
        *(workload(kind, ip_address="10.16.0.9", ip_pool="a;b") for kind in ("Deployment", "CronJob")),
    ]
    extra = [
        "vlan",
        "provider",
        "mtu",
        "gatewayType",
        "namespaceSelectors",
        "acls",
        "policyRoutes",
        "vpcPeerings",
        "ips",
    ]
    for template in templates:
        found = json.loads(json.dumps(template))
        for _ in range(pick.randint(1, 4)):
            target: Any = found["spec"]
            if found["kind"] == "Pod" or pick.random() < 0.1:
                target = found["metadata"].setdefault("annotations", {})
            elif found["kind"] in ("Deployment", "CronJob") and isinstance(found["spec"].get("template"), dict):
                target = found["spec"]["template"]["metadata"]["annotations"]
            if not isinstance(target, dict):
                continue
            target[pick.choice([*target, *extra])] = pick.choice(JUNK)
        if pick.random() < 0.1:
            found["spec"] = pick.choice(JUNK)
        yield found
