"""The commands `plan`, `explain` and `doctor`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson

from ovnbridge.controller import ControllerState
from ovnbridge.observe.log import configure
from ovnbridge.operations import doctor
from ovnbridge.operations.dry_run import dry_run
from ovnbridge.operations.explain import explain_object, explain_row, rows_named, tables
from ovnbridge.operations.inputs import InputError, from_cluster, from_files, kind_of
from ovnbridge.operations.report import PlanReport
from ovnbridge.roles.controller_flags import FLAGS, compile_options
from ovnbridge.settings import comma_list, parse

_DIFFERENT = 2


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `plan`, `explain` and `doctor`."""
    plan = subparsers.add_parser(
        "plan",
        help="what the controller would write; exit status 2 when that is not nothing",
        description="Controller flags (--default-cidr=…, --enable-lb=false, …) may be given as well.",
    )
    _add_inputs(plan)
    plan.set_defaults(run=_runner(_plan))
    explain = subparsers.add_parser(
        "explain", help="why a row is there (TABLE NAME), or what comes of an object (KIND [NAMESPACE/]NAME)"
    )
    explain.add_argument("what", metavar="TABLE|KIND")
    explain.add_argument("name", metavar="NAME")
    _add_inputs(explain)
    explain.set_defaults(run=_runner(_explain))
    doctor.add_command(subparsers, _add_inputs, _runner, _state)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from-dir", type=Path, help="read objects from the YAML and JSON files of this directory")
    parser.add_argument("--nb", help="NB database: with --from-dir a file (or its JSON dump), else remotes")
    parser.add_argument("--kubeconfig", default="", help="cluster to read when there is no --from-dir")
    parser.add_argument("--output", choices=("text", "json"), default="text")


def _runner(command: Callable[[argparse.Namespace], Coroutine[Any, Any, int]]) -> Callable[[argparse.Namespace], int]:
    def run(values: argparse.Namespace) -> int:
        configure(verbosity=-1)
        try:
            return asyncio.run(command(values))
        except InputError as error:
            print(f"ovnbridge: {error}", file=sys.stderr)
            return 1

    return run


async def _state(values: argparse.Namespace) -> tuple[ControllerState, list[str], argparse.Namespace]:
    settings, rest = parse(FLAGS, values.rest, prog="ovnbridge plan")
    if rest:
        raise InputError(f"unknown arguments: {' '.join(rest)}")
    if values.from_dir is not None:
        if not values.nb:
            raise InputError("--from-dir needs --nb FILE")
        state, problems = await from_files(values.from_dir, Path(values.nb))
    else:
        state, problems = await from_cluster(values.kubeconfig, comma_list(values.nb or settings.ovn_nb_addr))
    return state, problems, settings


async def _plan(values: argparse.Namespace) -> int:
    state, problems, settings = await _state(values)
    report = PlanReport(state, await dry_run(state, compile_options(settings)), problems)
    if values.output == "json":
        sys.stdout.buffer.write(orjson.dumps(report.document(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print(report.text())
    return 0 if report.empty else _DIFFERENT


async def _explain(values: argparse.Namespace) -> int:
    state, _, settings = await _state(values)
    await dry_run(state, compile_options(settings))
    kind = kind_of(values.what)
    if kind is not None:
        found = [explain_object(state, kind, values.name)]
    elif values.what in tables():
        found = [explain_row(state, row) for row in rows_named(state, values.what, values.name)]
        if not found:
            raise InputError(f"no {values.what} {values.name!r} is there or wanted")
    else:
        raise InputError(f"{values.what} is neither a table ({', '.join(tables())}) nor a kind")
    if values.output == "json":
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        for entry in found:
            print("\n".join(_text(entry)))
    return 0


def _text(entry: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in entry.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_text(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}:")
            for part in value:
                lines += _text(part, indent + "  ") if isinstance(part, dict) else [f"{indent}  {part}"]
        else:
            lines.append(f"{indent}{name}: {value}")
    return lines
