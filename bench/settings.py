"""What a run of the bench was asked for."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

from bench.stack import DEFAULT_COMMAND, real_available


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Passed to every scenario."""

    small: bool = True
    seed: int = 1
    command: str = DEFAULT_COMMAND
    marker: str = "leading"
    api: str = "auto"
    sizes_wanted: tuple[int, ...] = ()
    counts_wanted: tuple[int, ...] = ()
    output: Path = Path("build/bench.json")

    @property
    def apis(self) -> tuple[str, ...]:
        """Kinds of API server on which bursts are measured."""
        if self.api != "auto":
            return (self.api,)
        return ("embedded", "real") if not self.small and real_available() else ("embedded",)

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of pods in a burst."""
        return self.counts_wanted or ((1000,) if self.small else (1000, 5000))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of pods at a restart."""
        if self.sizes_wanted:
            return self.sizes_wanted
        if self.small:
            return (1000,)
        return (1000, 5000) if self.api == "real" else (1000, 10_000, 50_000)

    @property
    def command_line(self) -> str:
        """The command that measures a scenario again, with a place for the scenario's name."""
        parts = ["python -m bench {scenario}", f"--scale {'small' if self.small else 'full'}", f"--seed {self.seed}"]
        if self.api != "auto":
            parts.append(f"--api {self.api}")
        if self.counts_wanted:
            parts.append("--counts " + ",".join(map(str, self.counts_wanted)))
        if self.sizes_wanted:
            parts.append("--sizes " + ",".join(map(str, self.sizes_wanted)))
        if self.command != DEFAULT_COMMAND:
            parts.append("--controller-command " + shlex.quote(self.command).replace("{", "{{").replace("}", "}}"))
        return " ".join(parts)


def profiled(file: Path) -> str:
    """Our controller under the sampling profiler of `hook`."""
    return DEFAULT_COMMAND.replace(
        f"{sys.executable} -m ovnbridge", f"env BENCH_PROFILE={shlex.quote(str(file))} {sys.executable} -m bench.hook"
    )
