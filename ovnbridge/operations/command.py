"""The commands `plan`, `explain` and `doctor`."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ovnbridge.controller import SB_COLUMNS, ControllerState
from ovnbridge.observe.log import configure
from ovnbridge.operations import doctor
from ovnbridge.operations.dry_run import dry_run
from ovnbridge.operations.explain import (
    explain_object,
    explain_row,
    find_kind,
    find_table,
    object_key,
    of_southbound,
    rows_named,
    unknown,
)
from ovnbridge.operations.inputs import FLAGS_TOO, InputError, Notes, from_files
from ovnbridge.operations.live import from_cluster
from ovnbridge.operations.report import PlanReport
from ovnbridge.operations.words import as_json, key_text, not_examined
from ovnbridge.roles.controller_flags import FLAGS, compile_options, flag_problems
from ovnbridge.roles.ovn import northbound_remotes, southbound_remotes, tls_files
from ovnbridge.settings import FLAGS_VARIABLE, KLOG_FLAGS, parse

_FAILED = 1
_DIFFERENT = 2


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `plan`, `explain` and `doctor`."""
    plan = subparsers.add_parser(
        "plan",
        help="what the controller would write; exit status 2 when that is not nothing",
        description=FLAGS_TOO,
    )
    _add_inputs(plan)
    plan.set_defaults(run=_runner(_plan))
    explain = subparsers.add_parser(
        "explain",
        help="why a row is there (TABLE NAME), or what comes of an object (KIND [NAMESPACE/]NAME)",
        description=FLAGS_TOO,
    )
    explain.add_argument("what", metavar="TABLE|KIND")
    explain.add_argument(
        "name", metavar="NAME", help="a row's natural key or parts of it, with | between; an object's name"
    )
    _add_inputs(explain)
    explain.set_defaults(run=_runner(_explain))
    doctor.add_command(subparsers, _add_inputs, _runner, _state)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from-dir", type=Path, help="read objects from the YAML and JSON files of this directory")
    parser.add_argument("--nb", help="NB database: with --from-dir a file (or its JSON dump), else remotes")
    parser.add_argument("--sb", default="", help="SB database: with --from-dir a file (or its JSON dump), else remotes")
    parser.add_argument("--kubeconfig", default="", help="cluster to read when there is no --from-dir")
    parser.add_argument("--output", choices=("text", "json"), default="text")

    def error(message: str) -> NoReturn:
        parser.print_usage(sys.stderr)
        parser.exit(_FAILED, f"{parser.prog}: error: {message}\n")  # argparse's status 2 would say "not empty"

    parser.error = error  # type: ignore[method-assign]


def _runner(command: Callable[[argparse.Namespace], Coroutine[Any, Any, int]]) -> Callable[[argparse.Namespace], int]:
    def run(values: argparse.Namespace) -> int:
        configure(verbosity=-2)  # what cannot be read is told by the command itself
        try:
            return asyncio.run(command(values))
        except InputError as error:
            print(f"ovnbridge: {error}", file=sys.stderr)
            return _FAILED
        except SystemExit as error:  # a flag's bad value: status 2 would say "not empty"
            return _FAILED if error.code else 0

    return run


def _settings(values: argparse.Namespace) -> argparse.Namespace:
    """The controller's flags, as given, else as the environment says. Raises InputError."""
    try:
        given = [*shlex.split(os.environ.get(FLAGS_VARIABLE, "")), *values.rest]
    except ValueError as error:
        raise InputError(f"{FLAGS_VARIABLE}: {error}") from error
    settings, rest = parse((*FLAGS, *KLOG_FLAGS), given, prog=f"ovnbridge {values.command}")
    if rest:
        raise InputError(f"unknown arguments: {' '.join(rest)}")
    if problems := "; ".join(flag_problems(settings)):
        raise InputError(problems)
    return settings


async def _state(
    values: argparse.Namespace, sb_columns: Mapping[str, Sequence[str]] = SB_COLUMNS
) -> tuple[ControllerState, Notes, argparse.Namespace]:
    settings = _settings(values)
    if values.from_dir is not None:
        if not values.nb:
            raise InputError("--from-dir needs --nb FILE")
        sb = Path(values.sb) if values.sb else None
        state, notes = await from_files(values.from_dir, Path(values.nb), sb, sb_columns)
    else:
        state, notes = await from_cluster(
            values.kubeconfig,
            northbound_remotes(values.nb or settings.ovn_nb_addr),
            southbound_remotes(values.sb or settings.ovn_sb_addr),
            sb_columns,
            tls_files(settings),
        )
    for warning in notes.warnings:
        print(f"ovnbridge: ignored: {warning}", file=sys.stderr)
    for problem in notes.problems:
        print(f"ovnbridge: cannot be read: {problem}", file=sys.stderr)
    return state, notes, settings


async def _plan(values: argparse.Namespace) -> int:
    state, notes, settings = await _state(values)
    report = PlanReport(state, await dry_run(state, compile_options(settings)), notes)
    if values.output == "json":
        sys.stdout.buffer.write(as_json(report.document()))
    else:
        print(report.text())
    if notes.problems:
        return _FAILED  # without these objects the plan cannot be trusted
    return 0 if report.empty else _DIFFERENT


async def _explain(values: argparse.Namespace) -> int:
    state, notes, settings = await _state(values)
    await dry_run(state, compile_options(settings))
    kind, table = find_kind(values.what), find_table(values.what)
    if notes.unseen and of_southbound(table, kind):
        said = not_examined(notes.unseen)
        if table is not None:
            raise InputError(said)
        print(f"ovnbridge: {said}", file=sys.stderr)
    if table is not None:
        found = [explain_row(state, row) for row in rows_named(state, table, values.name)]
    elif kind is not None:
        found = [explain_object(state, kind, object_key(state, kind, values.name))]
    else:
        raise unknown(state, values.what)
    if values.output == "json":
        sys.stdout.buffer.write(as_json(found))
    else:
        print("\n\n".join("\n".join(_text(entry)) for entry in found))
    return 0


def _text(entry: Mapping[str, Any], indent: str = "") -> list[str]:
    """An explanation for people; entries of a list begin with a dash."""
    lines = []
    for name, value in entry.items():
        if name == "key" and isinstance(value, list):
            value = key_text(value)
        if not value and value is not False and value != 0:
            lines.append(f"{indent}{name}: none")
        elif isinstance(value, dict):
            lines += [f"{indent}{name}:", *_text(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}:")
            for part in value:
                first, *more = _text(part) if isinstance(part, dict) else [str(part)]
                lines += [f"{indent}  - {first}", *(f"{indent}    {line}" for line in more)]
        else:
            lines.append(f"{indent}{name}: {value}")
    return lines
