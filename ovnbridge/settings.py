"""Flags in the style of Kube-OVN's Go programs, so that its manifests' arguments carry over unchanged.

A role declares its flags as data (`Flag`), `parse` reads them: `--name=value`, `--name value`, booleans as
`--name`/`--name=false`, durations as `30s`/`1h2m`. klog's flags are accepted; those that mean nothing here are ignored.
Environment variables that replace a flag's default are declared on the flag. Spec: control-plane E.7, node B1.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Unusable(Exception):
    """What a process was told cannot be used; the text says what to change. Ends it with one line, and no traceback."""

    exit_status = 1


def boolean(text: str) -> bool:
    """Go's strconv.ParseBool. Raises ValueError for anything else."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"invalid boolean {text!r}")


def duration(text: str) -> float:
    """A Go duration (`1m30s`) or plain seconds, in seconds. Raises ValueError."""
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNIT[unit] for number, unit in parts)
    return float(text)


def comma_list(text: str) -> tuple[str, ...]:
    """A comma separated list without empty entries."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


FLAGS_VARIABLE: Final = "OVNBRIDGE_FLAGS"
"""Environment variable with the flags of the controller that runs here, for `plan`, `explain` and `doctor`."""


class Flag(msgspec.Struct, frozen=True):
    """One command-line flag; `env` names the variable whose value replaces the default."""

    name: str
    default: Any
    help: str
    parse: Callable[[str], Any] = str
    env: str = ""
    choices: tuple[str, ...] = ()


KLOG_FLAGS: Final = (
    Flag("v", 0, "log verbosity: 0 info, 3 and more debug", int),
    Flag("logtostderr", True, "accepted for compatibility", boolean),
    Flag("alsologtostderr", False, "accepted for compatibility", boolean),
    Flag("log_file", "", "accepted for compatibility; logs go to standard error"),
    Flag("log_file_max_size", 0, "accepted for compatibility", int),
    Flag("stderrthreshold", "", "accepted for compatibility"),
    Flag("log-perm", "640", "accepted for compatibility"),
    Flag("log-format", "text", "text or json", choices=("text", "json")),
)


def parse(flags: Iterable[Flag], argv: Sequence[str], *, prog: str) -> tuple[argparse.Namespace, list[str]]:
    """Read `argv`; returns the values (dashes become underscores) and the arguments that no flag took.

    Ends the process with a usage message on a bad value, as argparse does.
    """
    parser = argparse.ArgumentParser(prog=prog, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    defaults: dict[str, Any] = {}
    for flag in flags:
        value: Any = os.environ.get(flag.env) if flag.env else None
        if value is not None and value != "":
            try:
                value = flag.parse(value)
            except ValueError as error:
                parser.error(f"environment variable {flag.env}: {error}")
        else:
            value = flag.default
        defaults[flag.name.replace("-", "_")] = value
        extra: dict[str, Any] = {"choices": flag.choices} if flag.choices else {}
        if flag.parse is boolean:
            extra |= {"nargs": "?", "const": True}
        names = [f"--{flag.name}"] + ([f"-{flag.name}"] if len(flag.name) == 1 else [])
        parser.add_argument(*names, type=flag.parse, help=f"{flag.help} (default {flag.default!r})", **extra)
    values, rest = parser.parse_known_args(list(argv))
    return argparse.Namespace(**{**defaults, **vars(values)}), rest


def environment(names: Mapping[str, str]) -> dict[str, str]:
    """Environment variables by our attribute name, empty when unset."""
    return {attribute: os.environ.get(variable, "") for attribute, variable in names.items()}
