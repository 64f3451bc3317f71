"""The one executable: `ovnbridge --role=…` runs roles, `ovnbridge COMMAND` everything else.

Roles are found through the entry-point group `ovnbridge.roles`; several, comma separated, share one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from ovnbridge import __version__
from ovnbridge.observe.log import configure
from ovnbridge.roles import Role, Shared
from ovnbridge.settings import KLOG_FLAGS, Flag, comma_list, parse

log = logging.getLogger(__name__)

_END_SECONDS = 4.0
"""Time that roles are given to end; with what the elector needs to let go of its lease it is less than a lease's life
after its last renewal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    names, rest = _role_names(arguments)
    if names:
        return _run_roles(names, rest)
    # Not above: a role needs none of what the commands need, and would load it at each start.
    from ovnbridge.lab.command import add_commands as add_lab_commands
    from ovnbridge.operations.command import add_commands as add_operation_commands

    parser = argparse.ArgumentParser(
        prog="ovnbridge",
        description="Joins Kubernetes to OVN. Run roles with --role=controller,cni,…; or one of the commands.",
    )
    parser.add_argument("--version", action="version", version=f"ovnbridge {__version__}")
    parser.add_argument("--role", metavar="NAME[,NAME…]", help=f"roles to run: {', '.join(sorted(_roles()))}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_lab_commands(commands)
    add_operation_commands(commands)
    values, rest = parser.parse_known_args(arguments)
    if rest and values.command not in {"plan", "explain", "doctor"}:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    values.rest = rest
    if not hasattr(values, "run"):
        parser.print_help()
        return 2
    return int(values.run(values))


def _role_names(arguments: list[str]) -> tuple[tuple[str, ...], list[str]]:
    for at, argument in enumerate(arguments):
        if argument.startswith("--role="):
            return comma_list(argument.removeprefix("--role=")), arguments[:at] + arguments[at + 1 :]
        if argument == "--role" and at + 1 < len(arguments):
            return comma_list(arguments[at + 1]), arguments[:at] + arguments[at + 2 :]
        if not argument.startswith("-"):
            break
    return (), arguments


def _roles() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="ovnbridge.roles")}


_COMMON = (Flag("kubeconfig", "", "path of a kubeconfig file; in-cluster configuration when empty"), *KLOG_FLAGS)


def _run_roles(names: tuple[str, ...], arguments: list[str]) -> int:
    known = _roles()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"ovnbridge: unknown role {', '.join(unknown)}; known: {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    roles: list[Role] = [known[name].load() for name in names]
    settings: dict[str, argparse.Namespace] = {}
    unread: set[str] | None = None
    for role in roles:
        flags = {flag.name: flag for flag in (*_COMMON, *role.flags)}
        settings[role.name], rest = parse(flags.values(), arguments, prog=f"ovnbridge --role={role.name}")
        unread = set(rest) if unread is None else unread & set(rest)
    if unread:
        print(f"ovnbridge: unknown arguments: {' '.join(sorted(unread))}", file=sys.stderr)
        return 2
    problems = dict.fromkeys(problem for role in roles for problem in role.problems(settings[role.name]))
    for problem in problems:
        print(f"ovnbridge: {problem}", file=sys.stderr)
    if problems:
        return 2
    first = settings[roles[0].name]
    configure(verbosity=first.v, json=first.log_format == "json")
    return asyncio.run(_serve(roles, settings, first.kubeconfig))


async def _serve(roles: Sequence[Role], settings: dict[str, argparse.Namespace], kubeconfig: str) -> int:
    """Run all roles until a signal ends the process or one of them fails."""
    shared = Shared(kubeconfig=kubeconfig)
    tasks = [asyncio.create_task(role.run(settings[role.name], shared), name=role.name) for role in roles]
    stop = asyncio.get_running_loop().create_future()

    def asked(signum: int) -> None:
        if not stop.done():
            stop.set_result(signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, asked, signum)
    await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
    status = 0
    for task in tasks:
        if task.done() and not task.cancelled():
            error = task.exception()
            if error is not None:
                told = _expected(error)
                log.error(
                    "role ended role=%s error=%r", task.get_name(), told or error, exc_info=None if told else error
                )
                status = max(status, getattr(told, "exit_status", 1))
    for task in tasks:
        task.cancel()
    _, hanging = await asyncio.wait(tasks, timeout=_END_SECONDS)
    if hanging:
        log.error("roles that do not end are abandoned roles=%s", ",".join(sorted(t.get_name() for t in hanging)))
        logging.shutdown()
        os._exit(status or 1)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await shared.close()
    log.info("ended status=%d", status)
    return status


def _expected(error: BaseException) -> BaseException | None:
    """The one exception in (groups of) an error that says with which status the process ends; None if there is none."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_expected, error.exceptions)), None)
    return error if hasattr(error, "exit_status") else None
