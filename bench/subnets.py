"""Compile cost of many subnets: everything from nothing, and one more (issue 5: under 5 s of CPU, constant)."""

from __future__ import annotations

import argparse
import resource
from typing import Any

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import Options
from ovnbridge.controller import KINDS
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.model.crd.codec import convert

_TYPES = {resource.kind: kind for resource, kind in KINDS}


def objects(subnets: int, vpcs: int, nodes: int) -> list[dict[str, Any]]:
    """A cluster of that size: one subnet in ten is in the default VPC, the rest spread over the others; nodes have
    their join addresses."""
    found: list[dict[str, Any]] = [{"kind": "Vpc", "metadata": {"name": f"vpc-{i}"}} for i in range(vpcs)]
    found.append({"kind": "Vpc", "metadata": {"name": "ovn-cluster"}})
    for i in range(nodes):
        status = {"addresses": [{"type": "InternalIP", "address": f"192.168.{i // 250}.{i % 250 + 1}"}]}
        found.append({"kind": "Node", "metadata": {"name": f"node-{i}"}, "status": status})
        spec = {"subnet": "join", "v4IpAddress": f"100.64.{i // 250}.{i % 250 + 2}", "macAddress": "02:00:00:00:00:01"}
        found.append({"kind": "IP", "metadata": {"name": f"node-node-{i}"}, "spec": spec})
    found.append(_subnet("join", "100.64.0.0/16", "ovn-cluster"))
    found.append(_subnet("ovn-default", "10.16.0.0/16", "ovn-cluster"))
    return found + [subnet(i, vpcs) for i in range(subnets)]


def subnet(number: int, vpcs: int) -> dict[str, Any]:
    """The subnet with that number."""
    vpc = "ovn-cluster" if number % 10 == 0 else f"vpc-{number % vpcs}"
    return _subnet(f"subnet-{number}", f"10.{64 + number // 256}.{number % 256}.0/24", vpc)


def _subnet(name: str, cidr: str, vpc: str) -> dict[str, Any]:
    return {"kind": "Subnet", "metadata": {"name": name}, "spec": {"cidrBlock": cidr, "vpc": vpc}}


def put(engine: Engine, obj: dict[str, Any]) -> None:
    """Let the engine hear of an object."""
    engine.world.put(obj["kind"], obj["metadata"]["name"], convert(obj, _TYPES[obj["kind"]]))


def cpu() -> float:
    """CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(subnets: int, vpcs: int, nodes: int) -> dict[str, float]:
    """Figures of one size."""
    given = objects(subnets, vpcs, nodes)
    engine = Engine(World(INDEXES), UNITS)
    start = cpu()
    engine.world.put("Options", "", Options())
    for obj in given:
        put(engine, obj)
    engine.settle()
    whole, evaluations = cpu() - start, engine.evaluations
    start = cpu()
    put(engine, subnet(subnets + 1, vpcs))
    engine.settle()
    return {
        "subnets": subnets,
        "rows": sum(1 for _ in engine.desired.row_keys()),
        "compile_cpu_s": round(whole, 2),
        "units": evaluations,
        "next_ms": round((cpu() - start) * 1000, 1),
        "next_units": engine.evaluations - evaluations,
    }


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subnets", default="20,200,2000")
    parser.add_argument("--vpcs", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=50)
    arguments = parser.parse_args()
    for size in map(int, arguments.subnets.split(",")):
        print(measure(size, arguments.vpcs, arguments.nodes))


if __name__ == "__main__":
    main()
