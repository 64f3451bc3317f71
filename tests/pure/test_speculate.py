"""A speculation says what a World with the change in it says; the World itself does not notice."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import Options
from ovnbridge.engine.engine import Engine, Reader
from ovnbridge.engine.world import World
from ovnbridge.model.crd.codec import convert
from ovnbridge.validation.speculate import Speculation
from tests.support.admission import TYPES
from tests.support.cluster import Json, ip, key_of, namespace, node, pod, subnet, vpc

CIDRS = ["10.1.0.0/24", "10.1.0.0/16", "10.2.0.0/24", "nonsense", "fd00::/112", "10.3.0.0/24,fd01::/112", ""]


def something(pick: random.Random) -> Json:
    """One object out of a small space, so that changes collide."""
    n = pick.randrange(4)
    return pick.choice(
        [
            subnet(
                f"s{n}",
                cidrBlock=pick.choice(CIDRS),
                vpc=pick.choice(["", "ovn-cluster", "v0", "v1"]),
                namespaces=pick.sample(["a", "b", "c"], pick.randrange(3)),
                default=pick.random() < 0.3,
                gatewayType=pick.choice(["", "distributed", "centralized", "wrong"]),
                gatewayNode=pick.choice(["", "n0", "n1,n2"]),
            ),
            vpc(f"v{n % 2}", namespaces=pick.sample(["a", "b", "c"], pick.randrange(3)), defaultSubnet=f"s{n}"),
            namespace(pick.choice("abc"), team=pick.choice("xy")),
            node(f"n{n}", f"192.168.0.{n}", ready=pick.random() < 0.7),
            ip(f"a/p{n}", f"s{pick.randrange(4)}", f"10.1.0.{n + 5}"),
            pod(f"{pick.choice('abc')}/p{n}", on=f"n{n}", ip_address=pick.choice(["", "10.1.0.7", "bad"])),
        ]
    )


def put(world: World, obj: Json) -> tuple[str, str, Any]:
    kind, key = key_of(obj)
    value = convert(obj, TYPES[kind])
    world.put(kind, key, value)
    return kind, key, value


def everything(reader: Reader, world: World) -> dict[tuple[str, str], list[str]]:
    """What every unit yields for every object."""
    return {
        (unit.name, key): [repr(item) for item in unit.run(reader, key)]
        for unit in UNITS
        for key in sorted(world.keys(unit.table))
    }


@pytest.mark.parametrize("seed", range(60))
def test_a_speculation_is_the_world_with_the_change(seed: int) -> None:
    pick = random.Random(seed)
    world = World(INDEXES)
    world.put("Options", "", Options())
    put(world, vpc("ovn-cluster"))
    known = [put(world, something(pick)) for _ in range(25)]
    engine = Engine(world, UNITS)
    engine.settle()
    before = everything(Reader(engine), world)
    for _ in range(5):
        if pick.random() < 0.3:
            kind, key, value = *pick.choice(known)[:2], None
        else:
            kind, key = key_of(candidate := something(pick))
            value = convert(candidate, TYPES[kind])
        changed = world.fork()
        changed.put(kind, key, value)
        fresh = Engine(changed, ())
        assert everything(Speculation(engine, INDEXES, kind, key, value), changed) == everything(Reader(fresh), changed)
        assert not world.has_changes()
        assert everything(Reader(engine), world) == before
