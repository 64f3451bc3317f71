"""The controller with a sampling profiler around it: `BENCH_PROFILE=FILE python -m bench.hook --role=controller …`.

Every 4 ms of CPU the kernel's profiling timer interrupts whatever Python code runs (SIGPROF; nothing is slowed down but
the samples themselves); at the end FILE gets one collapsed stack a line with its number of samples, as flame graph
tools read it. `python -m bench.hook FILE` prints the tables: by function alone, with callees, and the callers of both.
Not used by measurements: run the bench with `--profile` to get it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from bench import policies

INTERVAL = 0.004


class Sampler:
    """Stacks and how often they were seen."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._names: dict[Any, str] = {}
        self._began = 0.0

    def start(self) -> None:
        """Begin; main thread only."""
        self._began = time.process_time()
        wakeup = signal.set_wakeup_fd  # the loop's pipe is full while the loop is blocked: not worth a word
        signal.set_wakeup_fd = lambda fd: wakeup(fd, warn_on_full_buffer=False)  # type: ignore[assignment,misc]
        signal.signal(signal.SIGPROF, self._sample)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            code = frame.f_code
            name = self._names.get(code)
            if name is None:
                file = code.co_filename.rpartition("site-packages/")[2].rpartition("/main/")[2]
                name = self._names[code] = f"{'/'.join(file.split('/')[-2:])}:{code.co_qualname}"
            stack.append(name)
            frame = frame.f_back
        self.stacks[tuple(reversed(stack))] += 1

    def write(self, file: Path) -> None:
        """Stop and save."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - self._began
        file.write_text(
            f"cpu {seconds:.3f}\n" + "".join(f"{';'.join(stack)} {count}\n" for stack, count in self.stacks.items())
        )


def tables(file: Path, top: int = 45) -> str:
    """The profile as text."""
    alone: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    total = 0
    head, *stacks = file.read_text().splitlines()
    for line in stacks:
        stack, _, text = line.rpartition(" ")
        frames, count = stack.split(";"), int(text)
        total += count
        alone[frames[-1]] += count
        for name in set(frames):
            inside[name] += count
    seconds = float(head.split()[1])
    lines = [f"{total} samples, {seconds:.2f} s of CPU"]
    for title, counted in (("alone", alone), ("with callees", inside)):
        lines.append(f"-- {title}")
        for name, count in counted.most_common(top):
            lines.append(f"{100 * count / total:6.1f} %  {count * seconds / total:7.2f} s  {name}")
    return "\n".join(lines)


async def _lag(blocks: list[float]) -> None:
    """How much later than asked for the loop comes back, every 10 ms."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        blocks.append(loop.time() - due)


def main() -> int:
    """Run the controller under the profiler, or print a profile."""
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        print(tables(Path(sys.argv[1])))
        return 0
    if os.environ.get("BENCH_POLICIES"):
        policies.install()
    sampler = Sampler()
    sampler.start()
    from ovnbridge import cli

    serve, blocks = cli._serve, list[float]()

    async def watched(*arguments: Any) -> int:
        task = asyncio.create_task(_lag(blocks))
        try:
            return await serve(*arguments)
        finally:
            task.cancel()

    cli._serve = watched  # type: ignore[assignment]
    try:
        return cli.main(sys.argv[1:])
    finally:
        file = Path(os.environ["BENCH_PROFILE"])
        sampler.write(file)
        blocks.sort()
        shares = {share: blocks[int(share * (len(blocks) - 1))] for share in (0.5, 0.9, 0.99, 0.999, 1.0)}
        file.with_suffix(".lag").write_text(
            "".join(f"p{100 * share:g} {1000 * value:.1f} ms\n" for share, value in shares.items())
        )


if __name__ == "__main__":
    sys.exit(main())
