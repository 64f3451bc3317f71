"""A process that has imported the controller and forks one whenever it is asked: starting takes milliseconds.

What runs is the controller's own entry point in a process of its own, which is killed like any other. The parent of
all of them does nothing between requests: it has no threads, no event loop and no connections to inherit.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GUARD = ("setpriv", "--pdeathsig", "KILL")
_DEATH_SIGNAL = 1


class Nursery:
    """The harness's end."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                (*GUARD, sys.executable, "-u", __file__),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def fork(self, argv: list[str], environment: dict[str, str], log: Path) -> Born:
        pid = self.ask({"argv": argv, "environment": environment, "log": str(log)})
        return Born(self, pid)

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """All controllers that it has forked end with it."""
        self._process.kill()
        self._process.communicate()


class Born:
    """A forked controller, with what the harness uses of Popen."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"wait": self.pid, "block": False})
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:  # not waited for: the pid is still its own
            os.kill(self.pid, number)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"wait": self.pid, "block": True})
        assert self.returncode is not None
        return self.returncode


def _serve() -> None:
    from ovnbridge import cli
    from ovnbridge.roles import controller

    assert controller.role.name == "controller"
    gc.freeze()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer: int | None
        if "argv" in request:
            answer = os.fork()
            if answer == 0:
                _live(cli.main, request)
        else:
            pid, status = os.waitpid(request["wait"], 0 if request["block"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        os.write(1, json.dumps(answer).encode() + b"\n")


def _live(main: Any, request: dict[str, Any]) -> None:
    status = 70
    try:
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(status)
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, end in ((0, nothing), (1, log), (2, log)):
            os.dup2(end, number)
        os.environ.update(request["environment"])
        status = main(request["argv"])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve()
