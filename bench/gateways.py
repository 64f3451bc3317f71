"""Distributed gateways of many subnets on many nodes, in Kube-OVN's form and with `--gateway-groups=node`.

Compiled in this process, without servers: how many rows each form wants, what it costs to compile them from nothing,
and what the next node and the next subnet cost. The floor of the node form is the same figure in Kube-OVN's form.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.report import Figure
from bench.settings import Settings
from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import PER_NODE, PER_SUBNET, Options
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import Node

TABLES = ("Port_Group", "Logical_Router_Policy")


async def run(settings: Settings, directory: Path) -> list[Figure]:
    """100 subnets on 500 nodes (small: 10 on 50)."""
    nodes, subnets = (50, 10) if settings.small else (500, 100)
    before, after = _measure(PER_SUBNET, nodes, subnets), _measure(PER_NODE, nodes, subnets)
    units = {"rows": "rows"}
    return [
        *(
            Figure(name=f"gateways_subnet_{name}", value=value, unit=units.get(name, "ms"))
            for name, value in before.items()
        ),
        *(
            Figure(name=f"gateways_node_{name}", value=value, unit=units.get(name, "ms"), floor=before[name])
            for name, value in after.items()
        ),
    ]


def _measure(form: str, nodes: int, subnets: int) -> dict[str, float]:
    engine = Engine(World(INDEXES), UNITS)
    _put(engine, "Vpc", "ovn-cluster", Vpc, {})
    _put(engine, "Subnet", "join", Subnet, {"cidrBlock": "100.64.0.0/16"})
    for number in range(nodes):
        _put_node(engine, number)
    for number in range(subnets):
        _put_subnet(engine, number)
    engine.world.put("Options", "", Options(gateway_groups=form))
    figures: dict[str, float] = {"compile_cpu": _settled(engine)}
    figures["rows"] = sum(table in TABLES for table, _ in engine.desired.row_keys())
    _put_node(engine, nodes)
    figures["next_node_cpu"] = _settled(engine)
    _put_subnet(engine, subnets)
    figures["next_subnet_cpu"] = _settled(engine)
    return figures


def _settled(engine: Engine) -> float:
    """CPU milliseconds until nothing is left to evaluate."""
    began = time.process_time()
    while engine.settle(1000):
        pass
    return round(1000 * (time.process_time() - began), 1)


def _put(engine: Engine, kind: str, name: str, of: type[Any], spec: dict[str, Any], **more: Any) -> None:
    engine.world.put(kind, name, convert({"metadata": {"name": name}, "spec": spec, **more}, of))


def _put_node(engine: Engine, number: int) -> None:
    name, high, low = f"node-{number}", *divmod(number + 2, 256)
    status = {"addresses": [{"type": "InternalIP", "address": f"192.168.{high}.{low}"}]}
    _put(engine, "Node", name, Node, {}, status=status)
    lease = {"subnet": "join", "podName": name, "nodeName": name, "v4IpAddress": f"100.64.{high}.{low}"}
    _put(engine, "IP", f"node-{name}", IP, {**lease, "macAddress": f"02:00:00:00:{high:02x}:{low:02x}"})


def _put_subnet(engine: Engine, number: int) -> None:
    _put(engine, "Subnet", f"subnet-{number}", Subnet, {"cidrBlock": f"10.{number}.0.0/24"})
