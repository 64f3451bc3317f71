"""A cluster of ours, judged: what it drew must be allowed, and everything else must be what the oracle says."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from ovnbridge.compile.options import Options
from ovnbridge.roles.controller_flags import FLAGS, compile_options
from ovnbridge.settings import parse
from tests.oracle import addresses, database, ledger, left, pods, subnets, vpcs
from tests.oracle.northbound import rows
from tests.oracle.statement import statement
from tests.oracle.world import OVN, PLURALS, Drawn, Flags, Json, Lease, World, name, notes, spec, status
from tests.support.cluster import Cluster, key_of


def options(flags: Flags) -> Options:
    settings, rest = parse(FLAGS, flags.arguments(), prog="oracle")
    assert not rest
    return compile_options(settings)


def drawn(cluster: Cluster) -> Drawn:
    """What the cluster chose where the objects leave a choice."""
    found = Drawn()
    for (kind, key), obj in cluster.api.objects.items():
        told = status(obj)
        if kind == "IP":
            found.leases[key] = Lease(*(spec(obj).get(f, "") for f in ("v4IpAddress", "v6IpAddress", "macAddress")))
        elif kind == "Vip":
            found.leases[f"vip/{key}"] = Lease(*(told[f] for f in ("v4ip", "v6ip", "mac")))
        elif kind == "OvnEip":
            found.leases[f"eip/{key}"] = Lease(told.get("v4Ip", ""), told.get("v6Ip", ""), told.get("macAddress", ""))
        elif kind == "Vpc":
            found.bfd[key] = (told.get("bfdPort") or {}).get("nodes") or []
        elif kind == "Subnet" and told.get("activateGateway"):
            found.active[key] = told["activateGateway"]
    content = cluster.database.content
    found.router_macs = {row["name"]: row["mac"] for row in content["Logical_Router_Port"].values()}
    for row in content["DHCP_Options"].values():
        ids, own = row["external_ids"], row["options"]
        mac = own.get("server_mac") or own["server_id"]
        found.dhcp_macs[(ids["ls"], ids["protocol"], ids.get("port", ""))] = mac
    return found


def problems(cluster: Cluster, users: World, *, untouched: bool = False, before: Drawn | None = None) -> list[str]:
    """Everything in which a settled cluster differs from the oracle; `users` is what users wrote, completed.
    `untouched`: nothing was ever deleted, so that the draw of addresses can be told. `before`: what was drawn earlier
    and stands while anybody has it."""
    mine = drawn(cluster)
    spaces = {key: obj for (kind, key), obj in cluster.api.objects.items() if kind == "Namespace"}
    users = replace(users, orders={key: _switches(obj) for key, obj in spaces.items()})
    found = [*_leases(users, mine, before or Drawn()), *_actives(users, mine)]
    if found:
        return found
    expected = left.leave(users, mine)
    found += _objects(cluster, expected)
    want = database.texts(database.content(rows(expected, mine)))
    found += database.differences(database.texts(cluster.database.content).values(), want.values())
    return found + (list(_not_lowest(users, mine)) if untouched else [])


def _switches(namespace: Json) -> list[str]:
    return notes(namespace).get(f"{OVN}/logical_switch", "").split(",")


def _actives(users: World, mine: Drawn) -> Iterator[str]:
    """What is wrong with the choice of nodes (D.2.4, D.5)."""
    for subnet in users.of("subnets"):
        central = subnets.centralized(subnet, users.flags)
        able = subnets.gateway_nodes(subnet, users) if central else [""]
        chosen = mine.active.get(name(subnet), "")
        if chosen not in able and not spec(subnet).get("enableEcmp"):
            yield f"{name(subnet)} has the active gateway {chosen!r} of {able}"
    for vpc in users.of("vpcs"):
        (able, count), nodes = vpcs.bfd_nodes(vpc, users), mine.bfd.get(name(vpc), [])
        if len(set(nodes)) != count or len(nodes) != count or not set(nodes) <= set(able):
            yield f"{name(vpc)} has its BFD port on {nodes}, not on {count} of {able}"


def _leases(users: World, mine: Drawn, before: Drawn) -> Iterator[str]:
    """What is wrong with the addresses: of claims without, wrong, or twice."""
    claims = {claim.key: claim for claim in ledger.claims(users)}
    held = {key for key in mine.leases if not key.startswith("eip/")}
    yield from (f"{key} has no address" for key in sorted(claims.keys() - held))
    yield from (f"{key} has an address and should not" for key in sorted(held - claims.keys()))
    if claims.keys() != held:
        return
    taken: dict[tuple[str, str], str] = {}
    for key, claim in claims.items():
        lease = mine.leases[key]
        if key in before.leases:
            if lease != before.leases[key]:
                yield f"{key} has {lease}, and had {before.leases[key]}"
            continue
        if claim.same:
            if lease != mine.leases[claim.same]:
                yield f"{key} has {lease}, not that of {claim.same}"
            continue
        for version, address in ((4, lease.v4), (6, lease.v6)):
            wrong = _wrong(claim, version, address)
            if wrong:
                yield f"{key} has {address!r}: {wrong}"
            if address and (other := taken.setdefault((name(claim.subnet), address), key)) != key:
                yield f"{key} and {other} have {address}"
        if claim.mac is not None and lease.mac != claim.mac:
            yield f"{key} has {lease.mac!r}, not {claim.mac!r}"
        if claim.mac is None and not int(lease.mac[:2], 16) & 2:
            yield f"{key} has {lease.mac!r}"


def _wrong(claim: ledger.Claim, version: int, address: str) -> str:
    if fixed := claim.fixed.get(version):
        return "" if address == fixed else f"not {fixed}"
    if version not in claim.allowed:
        return "of that family it should have none" if address else ""
    if not address:
        return "none"
    return "" if addresses.holds(claim.allowed[version], addresses.number(address)) else "not allowed"


def _not_lowest(users: World, mine: Drawn) -> Iterator[str]:
    """What is wrong with the draw in a cluster in which nothing was ever released: addresses are given from the lowest
    one up (C.3), so those that were drawn of one range are its lowest."""
    drawn_of: dict[tuple[str, tuple[addresses.Range, ...]], list[int]] = {}
    fixed: dict[str, set[int]] = {}
    for claim in ledger.claims(users):
        lease = mine.leases[claim.key]
        for version, address in ((4, lease.v4), (6, lease.v6)):
            if not address or claim.same:
                continue
            if version in claim.fixed:
                fixed.setdefault(name(claim.subnet), set()).add(addresses.number(address))
            else:
                own = (name(claim.subnet), tuple(claim.allowed[version]))
                drawn_of.setdefault(own, []).append(addresses.number(address))
    for eip in users.of("ovn-eips"):
        for address in addresses.parts(",".join((status(eip).get("v4Ip", ""), status(eip).get("v6Ip", "")))):
            fixed.setdefault(spec(eip)["externalSubnet"], set()).add(addresses.number(address))
    for (subnet, allowed), numbers in drawn_of.items():
        others = [n for (s, a), more in drawn_of.items() if s == subnet and a != allowed for n in more]
        free = addresses.minus(allowed, [(n, n) for n in [*fixed.get(subnet, ()), *others]])
        best = _first(free, len(numbers))
        if sorted(numbers) != best:
            yield f"{subnet}: {sorted(numbers)} were drawn, not {best}"


def _first(ranges: list[addresses.Range], count: int) -> list[int]:
    found: list[int] = []
    for first, last in ranges:
        found += range(first, min(last + 1, first + count - len(found)))
    return found


def _objects(cluster: Cluster, expected: World) -> Iterator[str]:
    have = dict(cluster.api.objects)
    want = {key_of(obj): obj for obj in expected.all()}
    yield from (f"missing {kind} {key}" for kind, key in sorted(want.keys() - have.keys()))
    yield from (f"too much {kind} {key}" for kind, key in sorted(have.keys() - want.keys()))
    for kind, key in sorted(want.keys() & have.keys()):
        if kind == "Pod" and not pods.alive(want[(kind, key)]):
            continue
        ours, theirs = (_told(kind, objects[(kind, key)]) for objects in (have, want))
        for part in sorted(ours.keys() | theirs.keys()):
            yield from _different(f"{kind} {key} {part}", ours.get(part), theirs.get(part))


def _told(kind: str, obj: Json) -> Json:
    if kind == "Vpc":  # what stands for the default is as good as the default
        obj = copy.deepcopy(obj)
        vpcs.complete(obj)
    told = copy.deepcopy(statement(PLURALS[kind], obj))
    if kind == "IP":
        told.pop("finalizers")  # docs/differences.md
        # Its node as far as it is known when the address is given (C.10); of one made by hand nobody's business.
        told["labels"].pop(f"{OVN}/node-name", None)
        told["spec"].pop("nodeName", None)
    if kind == "Vip":  # the parity data has none, the specification has no rule
        told["status"].pop("selector", None)
    return told


def _different(where: str, ours: object, theirs: object) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from _different(f"{where}.{key}", ours.get(key), theirs.get(key))
    elif ours != theirs:
        yield f"{where}: {ours!r}, not {theirs!r}"
