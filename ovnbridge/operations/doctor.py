"""The command `doctor`: what is inconsistent, between what, and what the engine will do about it.

It reads the same inputs as `plan`, and OVN SB, the databases' raft state and the local node when it may. It never
writes: `--fix` asks the controller that leads to compare everything once more (`POST /self-check`), because there must
be one writer only, and what the doctor would write the controller writes anyway.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import msgspec
import orjson

from ovnbridge.controller import KINDS, ControllerState
from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.model.ovn import NORTHBOUND
from ovnbridge.model.resource import LEASE, POD
from ovnbridge.operations import doctor_node
from ovnbridge.operations.doctor_checks import examine
from ovnbridge.operations.dry_run import DryRun, dry_run
from ovnbridge.operations.findings import Binding, DatabaseState, Facts, Finding, Planned, Southbound
from ovnbridge.operations.inputs import InputError, Notes
from ovnbridge.operations.report import as_json, key_text
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.file import FileDatabase
from ovnbridge.roles.controller_flags import compile_options
from ovnbridge.settings import comma_list

_FINDINGS: Final = 2
_SECONDS: Final = 10.0
_CONTROLLER_PORT: Final = 10660
_SB_COLUMNS: Final = {"Chassis": ("name", "hostname"), "Port_Binding": ("logical_port", "chassis", "up", "type")}

Read: TypeAlias = Callable[[argparse.Namespace], Awaitable[tuple[ControllerState, Notes, argparse.Namespace]]]
Runner: TypeAlias = Callable[
    [Callable[[argparse.Namespace], Coroutine[Any, Any, int]]], Callable[[argparse.Namespace], int]
]


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    add_inputs: Callable[[argparse.ArgumentParser], None],
    runner: Runner,
    read: Read,
) -> None:
    """Add `doctor`; `read` gives the controller's state for the inputs that `add_inputs` declares."""
    parser = subparsers.add_parser(
        "doctor",
        help="what is inconsistent, and what the engine will do about it; exit status 2 when there is anything",
        description="Controller flags (--default-cidr=…, --enable-lb=false, …) may be given as well.",
    )
    add_inputs(parser)
    parser.add_argument("--sb", default="", help="SB database: with --from-dir a file, else remotes")
    parser.add_argument("--node", nargs="?", const=socket.gethostname().lower(), default="", metavar="NAME",
                        help="look at this machine too, which is the node NAME (its host name by default)")  # fmt: skip
    parser.add_argument("--ovs", default="unix:/run/openvswitch/db.sock", help="database of the local Open vSwitch")
    parser.add_argument("--fix", action="store_true", help="ask the controller that leads to compare everything")
    parser.add_argument("--controller", default="", metavar="URL", help="where that is; found by its lease when absent")

    async def run(values: argparse.Namespace) -> int:
        return await _doctor(values, read)

    parser.set_defaults(run=runner(run))


async def _doctor(values: argparse.Namespace, read: Read) -> int:
    if values.fix and values.from_dir is not None:
        raise InputError("--fix needs a running cluster")
    asked = await fix(values) if values.fix else {}
    state, notes, settings = await read(values)
    southbound, servers = await _databases(values, settings)
    facts = await gather(state, settings, southbound, servers)
    findings = [_unreadable(text) for text in notes.problems] + examine(facts)
    if values.node:
        if values.node not in facts.all("Node"):
            known = ", ".join(sorted(facts.all("Node"))) or "none"
            raise InputError(f"this machine is no node called {values.node!r}: give --node NAME (nodes: {known})")
        findings += doctor_node.examine(facts, await doctor_node.collect(values.node, values.ovs))
    if values.output == "json":
        document = report(findings, southbound=southbound is not None, node=values.node, fix=asked)
        sys.stdout.buffer.write(as_json(document))
    else:
        print(text(findings, southbound=southbound is not None, fix=asked))
    return _FINDINGS if any(finding.severity != "note" for finding in findings) else 0


def _unreadable(problem: str) -> Finding:
    name, _, message = problem.partition(": ")
    return Finding("unreadable-object", "error", (name,), message, "the engine keeps what the object had")


async def gather(
    state: ControllerState,
    settings: argparse.Namespace,
    southbound: Southbound | None = None,
    servers: Sequence[DatabaseState] = (),
) -> Facts:
    """The facts about a state that has been read; runs it dry."""
    options = compile_options(settings)
    # The dry run adds what would be created: look first.
    objects = {resource.kind: {key: state.world.get(resource.kind, key) for key in state.world.keys(resource.kind)}
               for resource, _ in KINDS}  # fmt: skip
    run = await dry_run(state, options)
    rows = {
        table: {key: row.columns for key in state.replica.keys(table) if (row := state.replica.find(table, key))}
        for table in NORTHBOUND
    }
    wanted = frozenset(row for row in state.engine.desired.row_keys())
    usage = {name: state.world.get("Usage", name) for name in state.world.keys("Usage")}
    return Facts(
        options=options,
        objects=objects,
        rows=rows,
        wanted=wanted,
        planned=planned(run),
        usage={name: value for name, value in usage.items() if value is not None},
        southbound=southbound,
        databases=tuple(servers),
    )


def planned(run: DryRun) -> tuple[Planned, ...]:
    """What a dry run would write, each row and object once with each verb."""
    found = [Planned(type(change).__name__.lower(), table, key_text(key)) for (table, key), change in run.changes]
    found += [Planned(write.verb, kind, key) for (kind, key), write in run.writes]
    return tuple(dict.fromkeys(found))


def report(findings: Sequence[Finding], *, southbound: bool, node: str, fix: Mapping[str, Any]) -> dict[str, Any]:
    """The findings for machines."""
    counts = Counter(finding.severity for finding in findings)
    return {
        "findings": [msgspec.to_builtins(finding) for finding in findings],
        "summary": {severity: counts[severity] for severity in ("error", "warning", "note")},
        "examined": {"southbound": southbound, "node": node or None},
        "fix": dict(fix) or None,
    }


def text(findings: Sequence[Finding], *, southbound: bool, fix: Mapping[str, Any]) -> str:
    """The findings for people."""
    lines = [_fixed(fix)] if fix else []
    lines += [finding.text() for finding in findings if finding.severity != "note"]
    for finding in findings:
        if finding.severity == "note":
            shown = ", ".join(finding.objects[:3]) + (", …" if len(finding.objects) > 3 else "")
            lines.append(f"note: {finding.check}: {finding.message}: {shown} ({finding.action})")
    if not southbound:
        lines.append("not examined: OVN SB (give --sb)")
    counts = Counter(finding.severity for finding in findings)
    lines.append(", ".join(_counted(counts[severity], severity) for severity in ("error", "warning", "note")))
    return "\n".join(lines)


def _fixed(fix: Mapping[str, Any]) -> str:
    """What a self-check has put right."""
    repaired = sum(fix["drift"].values()) + sum(fix["differences"].values())
    done = f"{repaired} put right" if repaired else "nothing to put right"
    return f"{fix['controller']} compared {_counted(fix['rows'], 'row')}: {done}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


# -- OVN SB and the servers


async def _databases(
    values: argparse.Namespace, settings: argparse.Namespace
) -> tuple[Southbound | None, list[DatabaseState]]:
    if values.from_dir is not None:
        if not values.sb:
            return None, []
        try:
            database = await FileDatabase.read(Path(values.sb), _SB_COLUMNS)
        except (OSError, ValueError) as error:
            raise InputError(f"{values.sb}: {error}") from error
        return southbound_of(database.rows), []
    nb = comma_list(values.nb or settings.ovn_nb_addr)
    sb = comma_list(values.sb or settings.ovn_sb_addr)
    servers = await asyncio.gather(
        *(_server("OVN_Northbound", remote) for remote in nb), *(_server("OVN_Southbound", remote) for remote in sb)
    )
    if not sb:
        return None, list(servers)
    database_ = Database(name="OVN_Southbound", remotes=sb, columns=_SB_COLUMNS, leader_only=False)
    task = asyncio.create_task(database_.run())
    try:
        async with asyncio.timeout(_SECONDS):
            await database_.synced.wait()
        return southbound_of(database_.rows), list(servers)
    except TimeoutError:
        return None, list(servers)  # each of its servers has a finding of its own
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def southbound_of(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Southbound:
    """Chassis and bindings of replicated SB rows."""
    names = {uuid: row["name"] for uuid, row in rows["Chassis"].items()}
    bindings = {
        row["logical_port"]: Binding(names.get(row["chassis"] or "", ""), bool(row.get("up")))
        for row in rows["Port_Binding"].values()
        if not row["type"]
    }
    return Southbound({row["name"]: row["hostname"] for row in rows["Chassis"].values()}, bindings)


async def _server(name: str, remote: str) -> DatabaseState:
    """How one server sees itself: the `_Server` database, which also a server without a leader serves."""
    columns = {"Database": ("name", "model", "connected", "leader")}
    database = Database(name="_Server", remotes=[remote], columns=columns, leader_only=False)
    task = asyncio.create_task(database.run())
    try:
        async with asyncio.timeout(_SECONDS):
            await database.synced.wait()
        row = next((row for row in database.rows["Database"].values() if row["name"] == name), None)
        if row is None:
            return DatabaseState(name, remote, reached=False)
        clustered = row["model"] == "clustered"
        return DatabaseState(name, remote, True, clustered, bool(row["connected"]), bool(row["leader"]))
    except TimeoutError:
        return DatabaseState(name, remote, reached=False)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- --fix


async def fix(values: argparse.Namespace) -> dict[str, Any]:
    """Ask the controller that leads to compare everything, and give it time. Raises InputError."""
    url = values.controller or await _leader(values.kubeconfig)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(f"{url}/self-check") as reply:
            said = await reply.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise InputError(f"{url}: {error or 'no answer'}") from error
    if reply.status != 200:
        raise InputError(f"{url}/self-check: {reply.status} {said.strip()}")
    await asyncio.sleep(1.0)  # what it found is written meanwhile; what is left is reported
    return {"controller": url, **orjson.loads(said)}


async def _leader(kubeconfig: str) -> str:
    """Where the controller that leads serves: the pod that the lease `kube-ovn-controller` names."""
    connection = await Connection.open(kubeconfig=kubeconfig or None)
    holder = ""
    try:
        lease = await connection.get(LEASE, "kube-system", "kube-ovn-controller")
        holder = (lease.get("spec") or {}).get("holderIdentity") or ""
        pod = await connection.get(POD, "kube-system", holder) if holder else {}
    except ApiError as error:
        if holder and error.status == 404:
            raise InputError(f"{holder} leads and is no pod in kube-system; give --controller URL") from error
        raise InputError(f"the controller that leads cannot be found ({error}); give --controller URL") from error
    finally:
        await connection.close()
    host = (pod.get("status") or {}).get("podIP", "")
    if not host:
        raise InputError("no controller leads; start one, or give --controller URL")
    return f"http://[{host}]:{_CONTROLLER_PORT}" if ":" in host else f"http://{host}:{_CONTROLLER_PORT}"
