"""What goes wrong around the controller: actions of `harness.py` that lose, delay, restart and replace its servers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from ovnbridge.lab.api import ApiServer
from tests.support.ovsdb import NB_SCHEMA, Cluster, Server, create
from tests.support.relay import Proxy


class Trouble:
    """A part of `Harness`. Whatever lasts ends with the next `settle`."""

    api: ApiServer
    api_proxy: Proxy
    cluster: Cluster
    directory: Path
    proxies: list[Proxy]
    servers: list[Server]

    def __init__(self) -> None:
        self._resumes: list[asyncio.TimerHandle] = []
        self._storming = False
        self._past_switches: set[str] = set()

    def _switches_on_disk(self) -> set[str]:
        raise NotImplementedError

    # -- actions: faults of the API --------------------------------------------------------------------------------

    def drop_watches(self) -> None:
        self.api.faults.drop_watches()

    def expire_watches(self) -> None:
        self.api.faults.expire_watches()

    def delay_api(self, seconds: float) -> None:
        self.api.faults.delay(seconds)

    def fail_api(self, status: int, count: int, match: str = "") -> None:
        self.api.faults.fail(status, count, match or None, retry_after=1 if status == 429 else None)

    def storm_api(self, status: int, share: float) -> None:
        """So many of all requests are answered with this status."""
        self._storming = True
        chance = random.Random(share)
        self.api.faults.fail(status, None, lambda _: chance.random() < share, retry_after=1 if status == 429 else None)

    def cut_api(self) -> None:
        """All connections to the API server end, whatever is under way on them."""
        self.api_proxy.cut()

    def lose_api(self, what: str, seconds: float) -> None:
        """Requests or replies get lost for a while, then the connections end: a write has landed and nobody knows."""
        self._lose([self.api_proxy], what, seconds)

    # -- actions: faults of NB -------------------------------------------------------------------------------------

    def cut_nb(self) -> None:
        """All database connections end."""
        for proxy in self.proxies:
            proxy.cut()

    def lose_nb(self, what: str, seconds: float) -> None:
        """Requests or replies get lost for a while, then the connection ends."""
        self._lose(self.proxies, what, seconds)

    def pause_nb(self, seconds: float) -> None:
        """The server stands still for a while."""
        for server in self.servers:
            server.pause()
        self._later(seconds, self._unpause)

    def restart_nb(self, number: int = signal.SIGKILL) -> None:
        """The same file, another process."""
        server = self.servers[0]
        server.stop(number)
        server.start()

    def backup_nb(self) -> None:
        """Keep a copy of the file for `restore_nb`."""
        server = self.servers[0]
        server.pause()
        shutil.copy(server.file, self.directory / "backup")
        server.resume()

    def restore_nb(self) -> None:
        """The server starts with the older copy."""
        if (self.directory / "backup").exists():
            self._replace_nb(lambda file: shutil.copy(self.directory / "backup", file))

    def empty_nb(self) -> None:
        """The server starts with nothing."""
        self._replace_nb(lambda file: create(file, NB_SCHEMA))

    def _replace_nb(self, fill: Callable[[Path], object]) -> None:
        server = self.servers[0]
        server.kill()
        self._past_switches |= self._switches_on_disk()
        server.file.unlink()
        fill(server.file)
        server.start()

    def kill_nb_leader(self) -> None:
        """kill -9 of the raft leader; it comes back when another one leads."""
        leader = self.cluster.leader()
        leader.kill()
        self.cluster.leader()
        leader.start()

    def move_nb_leader(self) -> None:
        """A leader that is asked to step down."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.cluster.leader().appctl("cluster/failure-test", "transfer-leadership")

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        self._resumes.append(asyncio.get_running_loop().call_later(seconds, step))

    def _unpause(self) -> None:
        for server in self.servers:
            if server.process is not None:
                server.resume()

    def _lose(self, proxies: list[Proxy], what: str, seconds: float) -> None:
        for proxy in proxies:
            setattr(proxy, f"deliver_{what}", False)
        self._later(seconds, self._deliver)

    def _deliver(self) -> None:
        for proxy in (self.api_proxy, *self.proxies):
            if not (proxy.deliver_requests and proxy.deliver_replies):
                proxy.deliver_requests = proxy.deliver_replies = True
                proxy.cut()

    def _resume(self) -> None:
        for timer in self._resumes:
            timer.cancel()
        self._resumes.clear()
        self._unpause()
        self._deliver()
        self._calm()

    def _calm(self) -> None:
        self.api.faults.clear()
        self._storming = False
