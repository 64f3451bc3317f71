"""`python -m bench [burst|restart|change|committer …]`: measure, print, save."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import burst, change, committer, gateways, restart
from bench.processes import BenchError, calibrate
from bench.report import Figure, Report
from bench.rest import Refused
from bench.settings import Settings, profiled
from bench.stack import DEFAULT_COMMAND

LONGEST = 1200.0
"""Seconds after which a scenario is given up."""
HEADLINES = ("ratio", "cpu_ms_per_pod", "p50_share", "loop_lag_p99_ms")


async def _burst(settings: Settings, directory: Path) -> list[Figure]:
    figures: list[Figure] = []
    for kind in settings.apis:
        place = directory / kind
        place.mkdir()
        figures += await burst.run(settings, place, kind)
    # The names without the kind are those of the real API server where there is one.
    prefixes = {figure.name.partition(f"_{settings.apis[-1]}_")[0] for figure in figures}
    headlines = [
        _renamed(figure, f"{prefix}_{what}")
        for figure in figures
        for prefix in sorted(prefixes)
        for what in HEADLINES
        if figure.name == f"{prefix}_{settings.apis[-1]}_{what}"
    ]
    lags = [figure for figure in headlines if figure.name.endswith("_loop_lag_p99_ms")]
    return figures + headlines + [_renamed(lag, "loop_lag_p99_ms") for lag in lags[-1:]]


def _renamed(figure: Figure, name: str) -> Figure:
    return Figure(
        name=name, value=figure.value, unit=figure.unit, floor=figure.floor, most=figure.most, least=figure.least
    )


SCENARIOS: dict[str, Callable[[Settings, Path], Awaitable[list[Figure]]]] = {
    "committer": committer.run,
    "burst": _burst,
    "restart": restart.run,
    "change": change.run,
    "gateways": gateways.run,
}


def main() -> int:
    """Entry point. Status 1 when a scenario failed; missed targets are reported and are no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=f"some of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--scale", choices=("small", "full"), default="full", help="small: within a minute")
    parser.add_argument("--api", choices=("auto", "embedded", "real"), default="auto", help="API server to measure on")
    parser.add_argument("--seed", type=int, default=1, help="seed of the synthetic clusters")
    parser.add_argument("--counts", default="", help="sizes of bursts, comma separated")
    parser.add_argument("--sizes", default="", help="numbers of pods for restart and change, comma separated")
    parser.add_argument(
        "--controller-command",
        default=DEFAULT_COMMAND,
        help="another controller; {kubeconfig}, {nb}, {sb} and {port} (of /metrics) are filled in",
    )
    parser.add_argument("--ready-marker", default=None, help="text in its log once it writes; default for others: none")
    parser.add_argument("--profile", type=Path, help="sample our controller's stacks into this file (see bench.hook)")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in SCENARIOS]:
        parser.error(f"unknown scenario {', '.join(unknown)}")
    command = arguments.controller_command
    marker = arguments.ready_marker
    if marker is None:
        marker = "leading" if command == DEFAULT_COMMAND else ""
    if arguments.profile:
        command, marker = profiled(arguments.profile.absolute()), "leading"
    settings = Settings(
        small=arguments.scale == "small",
        seed=arguments.seed,
        command=command,
        marker=marker,
        api=arguments.api,
        sizes_wanted=tuple(int(size) for size in arguments.sizes.split(",") if size),
        counts_wanted=tuple(int(count) for count in arguments.counts.split(",") if count),
        output=arguments.output,
    )
    return asyncio.run(_run(settings, arguments.names or list(SCENARIOS), keep=arguments.keep))


async def _run(settings: Settings, names: list[str], *, keep: bool) -> int:
    report, failed = Report(settings.command_line), False
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    speed = [calibrate()]
    print(f"bench: {', '.join(names)}; files in {directory}; load {os.getloadavg()[0]:.1f}", flush=True)
    try:
        for name in names:
            place = directory / name
            place.mkdir()
            began = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST):
                    report.add(name, await SCENARIOS[name](settings, place))
            except* (BenchError, Refused, OSError) as errors:  # a time-out is an OSError
                failed = True
                print(f"\n== {name} FAILED after {time.monotonic() - began:.0f} s", *errors.exceptions, sep="\n   ")
            speed.append(calibrate())
        report.add("machine", [Figure(name="calibration_ms", value=max(speed), unit="ms", floor=min(speed))])
        report.write(settings.output)
        print(f"\nfigures in {settings.output}; missed: {', '.join(f.name for f in report.missed()) or 'none'}")
    finally:
        if not (keep or failed):
            shutil.rmtree(directory, ignore_errors=True)
    return int(failed or any(name.endswith("_failed") for name in report.figures))


if __name__ == "__main__":
    sys.exit(main())
