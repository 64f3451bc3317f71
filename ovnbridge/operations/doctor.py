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
from typing import Any, Final, TypeAlias

import aiohttp
import msgspec
import orjson

from ovnbridge.controller import KINDS, SB_COLUMNS, ControllerState
from ovnbridge.engine.items import Event
from ovnbridge.kube.connection import ApiError
from ovnbridge.model.ovn import NORTHBOUND
from ovnbridge.model.resource import LEASE, POD
from ovnbridge.operations import doctor_node
from ovnbridge.operations.doctor_checks import examine
from ovnbridge.operations.dry_run import DryRun, dry_run
from ovnbridge.operations.findings import Binding, DatabaseState, Facts, Finding, Planned, Southbound
from ovnbridge.operations.foreign import foreign_entries
from ovnbridge.operations.inputs import FLAGS_TOO, InputError, Notes
from ovnbridge.operations.live import SECONDS, Unreadable, loaded, open_connection
from ovnbridge.operations.words import as_json, change_text, key_text, not_examined, write_text
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.transport import TlsFiles
from ovnbridge.roles.controller_flags import compile_options
from ovnbridge.roles.ovn import northbound_remotes, southbound_remotes, tls_files
from ovnbridge.validation.changes import several

_FINDINGS: Final = 2
_SEVERITIES: Final = ("error", "warning", "note")
_CONTROLLER_PORT: Final = 10660
_AGENT_PORT: Final = 10665
_SB_COLUMNS: Final = {**SB_COLUMNS, "Port_Binding": ("logical_port", "chassis", "up", "type")}

Read: TypeAlias = Callable[
    [argparse.Namespace, Mapping[str, Sequence[str]]],
    Awaitable[tuple[ControllerState, Notes, argparse.Namespace]],
]
Runner: TypeAlias = Callable[
    [Callable[[argparse.Namespace], Coroutine[Any, Any, int]]], Callable[[argparse.Namespace], int]
]


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    add_inputs: Callable[[argparse.ArgumentParser], None],
    runner: Runner,
    read: Read,
) -> None:
    """Add `doctor`; `read` gives the controller's state for the inputs that `add_inputs` declares, with the
    columns of SB that it is asked for."""
    parser = subparsers.add_parser(
        "doctor",
        help="what is inconsistent, and what the engine will do about it; exit status 2 when there is anything",
        description=FLAGS_TOO,
    )
    add_inputs(parser)
    parser.add_argument("--node", nargs="?", const=socket.gethostname().lower(), default="", metavar="NAME",
                        help="look at this machine too, which is the node NAME (its host name by default)")  # fmt: skip
    parser.add_argument("--ovs", default="unix:/run/openvswitch/db.sock", help="database of the local Open vSwitch")
    parser.add_argument("--agent-port", type=int, default=_AGENT_PORT, help="port of the node's agent; 0: not asked")
    parser.add_argument("--fix", action="store_true", help="ask the controller that leads to compare everything")
    parser.add_argument("--controller", default="", metavar="URL", help="where that is; found by its lease when absent")

    async def run(values: argparse.Namespace) -> int:
        return await _doctor(values, read)

    parser.set_defaults(run=runner(run))


async def _doctor(values: argparse.Namespace, read: Read) -> int:
    if values.fix and values.from_dir is not None:
        raise InputError("--fix needs a running cluster")
    asked = await fix(values) if values.fix else {}
    state, notes, settings = await read(values, _SB_COLUMNS)
    southbound = southbound_of(state.southbound.database.rows) if state.southbound is not None else None
    servers = [] if values.from_dir is not None else await _servers(values, settings)
    facts = await gather(state, notes, settings, southbound, servers)
    findings = [_unreadable(text) for text in notes.problems] + examine(facts)
    if values.node:
        node = facts.all("Node").get(values.node)
        if node is None:
            known = ", ".join(sorted(facts.all("Node"))) or "none"
            raise InputError(f"this machine is no node called {values.node!r}: give --node NAME (nodes: {known})")
        from ovnbridge.operations.node_facts import collect  # pyroute2 takes a third of a second to import

        findings += doctor_node.examine(facts, await collect(node, values.ovs, values.agent_port))
    findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    if values.output == "json":
        document = report(findings, southbound=southbound is not None, node=values.node, fix=asked)
        sys.stdout.buffer.write(as_json(document))
    else:
        print(text(findings, unseen=notes.unseen, fix=asked))
    return _FINDINGS if any(finding.severity != "note" for finding in findings) else 0


def _unreadable(problem: str) -> Finding:
    name, _, message = problem.partition(": ")
    return Finding("unreadable-object", "error", (name,), message, "the engine keeps what the object had")


async def gather(
    state: ControllerState,
    notes: Notes,
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
    desired = state.engine.desired
    usage = {name: state.world.get("Usage", name) for name in state.world.keys("Usage")}
    return Facts(
        options=options,
        objects=objects,
        rows=rows,
        wanted=frozenset(desired.row_keys()),
        planned=planned(state, run),
        usage={name: value for name, value in usage.items() if value is not None},
        southbound=southbound,
        databases=tuple(servers),
        warnings={named: told for named in desired.object_keys() if (told := _warnings(state, *named))},
        unread=notes.unread,
        entries=tuple(foreign_entries(state)),
    )


def planned(state: ControllerState, run: DryRun) -> tuple[Planned, ...]:
    """What a dry run would write, each row and object once with each verb."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for (table, key), change in run.changes:
        verb = type(change).__name__.lower()
        found.setdefault((verb, table, key_text(key)), []).append(change_text(state, change))
    for (kind, key), write in run.writes:
        found.setdefault((write.verb, kind, key), []).append(write_text(state, kind, key, write))
    return tuple(Planned(*named, detail="; ".join(filter(None, texts))) for named, texts in found.items())


def _warnings(state: ControllerState, kind: str, key: str) -> tuple[str, ...]:
    items = state.engine.desired.items(kind, key)
    return tuple(f"{i.reason}: {i.message}" for i in items if isinstance(i, Event) and i.type == "Warning")


def report(findings: Sequence[Finding], *, southbound: bool, node: str, fix: Mapping[str, Any]) -> dict[str, Any]:
    """The findings for machines."""
    counts = Counter(finding.severity for finding in findings)
    return {
        "findings": [msgspec.to_builtins(finding) for finding in findings],
        "summary": {severity: counts[severity] for severity in _SEVERITIES},
        "examined": {"southbound": southbound, "node": node or None},
        "fix": dict(fix) or None,
    }


def text(findings: Sequence[Finding], *, unseen: str, fix: Mapping[str, Any]) -> str:
    """The findings for people. `unseen`: why OVN SB was not examined."""
    lines = [_fixed(fix)] if fix else []
    lines += [finding.text() for finding in findings if finding.severity != "note"]
    for finding in findings:
        if finding.severity == "note":
            lines.append(f"note: {finding.check}: {several(finding.objects)}: {finding.message} ({finding.action})")
    if unseen:
        lines.append(not_examined(unseen))
    counts = Counter(finding.severity for finding in findings)
    lines.append(", ".join(_counted(counts[severity], severity) for severity in _SEVERITIES))
    return "\n".join(lines)


def _fixed(fix: Mapping[str, Any]) -> str:
    """What a self-check has put right."""
    repaired = sum(fix["drift"].values()) + sum(fix["differences"].values())
    done = f"{repaired} put right" if repaired else "nothing to put right"
    return f"{fix['controller']} compared {_counted(fix['rows'], 'row')}: {done}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


# -- OVN SB and the servers


async def _servers(values: argparse.Namespace, settings: argparse.Namespace) -> list[DatabaseState]:
    """The servers of both databases."""
    tls = tls_files(settings)
    return await asyncio.gather(
        *(_server("OVN_Northbound", remote, tls) for remote in northbound_remotes(values.nb or settings.ovn_nb_addr)),
        *(_server("OVN_Southbound", remote, tls) for remote in southbound_remotes(values.sb or settings.ovn_sb_addr)),
    )


def southbound_of(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Southbound:
    """Chassis and bindings of replicated SB rows."""
    names = {uuid: row["name"] for uuid, row in rows["Chassis"].items()}
    bindings = {
        row["logical_port"]: Binding(names.get(row["chassis"] or "", ""), bool(row.get("up")))
        for row in rows["Port_Binding"].values()
        if not row["type"]
    }
    return Southbound({row["name"]: row["hostname"] for row in rows["Chassis"].values()}, bindings)


async def _server(name: str, remote: str, tls: TlsFiles | None = None) -> DatabaseState:
    """How one server sees itself: the `_Server` database, which also a server without a leader serves."""
    columns = {"Database": ("name", "model", "connected", "leader")}
    database = Database(name="_Server", remotes=[remote], columns=columns, leader_only=False, tls=tls)
    try:
        async with loaded(database, [remote]):
            row = next((row for row in database.rows["Database"].values() if row["name"] == name), None)
    except Unreadable as error:
        return DatabaseState(name, remote, reached=False, reason=str(error).removeprefix(f"{remote}: "))
    if row is None:
        return DatabaseState(name, remote, reached=False, reason=f"the server has no database {name}")
    clustered = row["model"] == "clustered"
    return DatabaseState(name, remote, True, clustered, bool(row["connected"]), bool(row["leader"]))


# -- --fix


async def fix(values: argparse.Namespace) -> dict[str, Any]:
    """Ask the controller that leads to compare everything, and give it time. Raises InputError."""
    url = values.controller or await _leader(values.kubeconfig)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--controller {url}: give http://HOST:PORT")
    timeout = aiohttp.ClientTimeout(total=SECONDS)
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
    connection = await open_connection(kubeconfig)
    holder = ""
    try:
        lease = await connection.get(LEASE, "kube-system", "kube-ovn-controller")
        holder = (lease.get("spec") or {}).get("holderIdentity") or ""
        pod = await connection.get(POD, "kube-system", holder) if holder else {}
    except ApiError as error:
        if holder and error.status == 404:
            raise InputError(f"{holder} leads and is no pod in kube-system; give --controller URL") from error
        said = error.message if error.unreachable else error
        raise InputError(f"the controller that leads cannot be found ({said}); give --controller URL") from error
    finally:
        await connection.close()
    host = (pod.get("status") or {}).get("podIP", "")
    if not host:
        raise InputError("no controller leads; start one, or give --controller URL")
    return f"http://[{host}]:{_CONTROLLER_PORT}" if ":" in host else f"http://{host}:{_CONTROLLER_PORT}"
