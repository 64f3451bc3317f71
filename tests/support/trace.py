"""What OVN does with a packet: a real NB and SB database, northd, and `ovn-trace` as the judge.

    with northd() as ovn:
        cluster = Cluster(database=ovn.database)
        cluster.apply(…).run()
        assert ovn.trace("a.app", "10.16.0.9").reaches("b.app")

`Mirror` is the in-memory NB of `memory.py` that sends every transaction to the real server as well, so what is traced
was written by the real differ and the real transactions, and accepted by the real schema.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ovnbridge.ovsdb.schema import DatabaseSchema
from tests.support.memory import _SCHEMA, MemoryDatabase
from tests.support.ovsdb import NB_SCHEMA, SB_SCHEMA, spawn, wait_until

_TOOLS = ("ovsdb-server", "ovsdb-tool", "ovn-northd", "ovn-nbctl", "ovn-trace")
needs_ovn = pytest.mark.skipif(
    not all(map(shutil.which, _TOOLS)) or not NB_SCHEMA.exists(), reason="OVN is not installed"
)

_QUESTIONS = re.compile(r"^( *)(?:arp|nd_ns)[^\n]*\{\n.*?^\1\};\n", re.MULTILINE | re.DOTALL)
"""Blocks in which the router asks who has an address, instead of sending the packet."""


class Verdict(msgspec.Struct, frozen=True):
    """Where a packet came out; `text` is what ovn-trace printed."""

    ports: tuple[str, ...]
    text: str

    def reaches(self, port: str) -> bool:
        """Whether it came out of this switch port, and of no other."""
        return self.ports == (port,)

    @property
    def dropped(self) -> bool:
        return not self.ports


class Mirror(MemoryDatabase):
    """An NB database in memory, and the same in a server."""

    def __init__(self, path: Path) -> None:
        real = json.loads(NB_SCHEMA.read_text())
        tables = {
            table: {**real["tables"][table], "columns": {c: s for c, s in known["columns"].items() if c in columns}}
            for table, (columns, _) in _SCHEMA.items()
            if (known := real["tables"].get(table)) is not None
        }
        super().__init__(DatabaseSchema.from_json({**real, "tables": tables}))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.settimeout(20)
        self._decoder = json.JSONDecoder()

    def transact(self, operations: Iterable[dict[str, Any]]) -> list[dict[str, int]]:
        sent = list(operations)
        results = super().transact(sent)
        request = {"method": "transact", "params": ["OVN_Northbound", *sent], "id": 1}
        self._socket.sendall(json.dumps(request).encode())
        answer = self._answer()
        errors = [r for r in answer["result"] or () if r and "error" in r]
        assert not answer["error"], (answer["error"], sent)
        assert not errors, (errors, sent)
        return results

    def _answer(self) -> dict[str, Any]:
        text = ""
        while True:
            text += self._socket.recv(1 << 20).decode()
            with contextlib.suppress(json.JSONDecodeError):
                message: dict[str, Any] = self._decoder.raw_decode(text)[0]
                return message

    def close(self) -> None:
        self._socket.close()


class Ovn:
    """The databases and northd."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        for name, schema in (("nb", NB_SCHEMA), ("sb", SB_SCHEMA)):
            subprocess.run(["ovsdb-tool", "create", str(directory / f"{name}.db"), str(schema)], check=True)
            self._start("ovsdb-server", name, f"--remote=punix:{self._path(name)}", str(directory / f"{name}.db"))
            wait_until(lambda name=name: self._answers(self._path(name)), f"{name} answering")
        remotes = [f"--ovn{name}-db=unix:{self._path(name)}" for name in ("nb", "sb")]
        self._start("ovn-northd", "northd", *remotes)
        self._nbctl("init")
        self.database = Mirror(self._path("nb"))

    def _start(self, program: str, name: str, *arguments: str) -> None:
        control = self._directory / f"{name}.ctl"
        quiet = ("-vconsole:off", f"--log-file={self._directory / f'{name}.log'}")
        self._processes.append(spawn(program, "--no-chdir", *quiet, f"--unixctl={control}", *arguments))

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.sock"

    @staticmethod
    def _answers(path: Path) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return True
        return False

    def _nbctl(self, *command: str) -> None:
        subprocess.run(
            ["ovn-nbctl", f"--db=unix:{self._path('nb')}", "--no-leader-only", "--timeout=20", *command], check=True
        )

    def stop(self) -> None:
        self.database.close()
        for process in self._processes:
            process.kill()
            process.wait()

    # -- asking

    def trace(self, port: str, to: str, *, match: str = "", source: str = "") -> Verdict:
        """What becomes of a ping from a switch port (its first address, or `source`) to an address.

        `match` adds to or replaces the default ICMP echo request (an OVN microflow, without addresses).
        """
        self._nbctl("--wait=sb", "sync")
        mac, address = self._addresses(port)
        address = source or address
        version = ipaddress.ip_address(to).version
        flow = match or f"icmp{version}.type == {8 if version == 4 else 128} && icmp{version}.code == 0"
        switch = self._row("Logical_Switch_Port", port)["external_ids"]["ls"]
        packet = (
            f'inport == "{port}" && eth.src == {mac} && eth.dst == {self._next_mac(switch, to)} && '
            f"ip{version}.src == {address} && ip{version}.dst == {to} && ip.ttl == 64 && {flow}"
        )
        command = ["ovn-trace", f"--db=unix:{self._path('sb')}", "--no-leader-only", "--minimal", switch, packet]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        own = _QUESTIONS.sub("", done.stdout)
        return Verdict(tuple(re.findall(r'^\s*output\("([^"]+)"\)', own, re.MULTILINE)), done.stdout)

    def _row(self, table: str, name: str) -> dict[str, Any]:
        return next(row for row in self.database.content[table].values() if row["name"] == name)

    def _addresses(self, port: str) -> tuple[str, str]:
        mac, _, addresses = next(iter(self._row("Logical_Switch_Port", port)["addresses"])).partition(" ")
        return mac, addresses.split(" ")[0]

    def _next_mac(self, switch: str, to: str) -> str:
        """Of the port with this address in the switch, else of the router."""
        router = None
        for row in self.database.content["Logical_Switch_Port"].values():
            if row["external_ids"].get("ls") != switch:
                continue
            if row["type"] == "router":
                router = self._row("Logical_Router_Port", row["options"]["router-port"])["mac"]
            for entry in row["addresses"]:
                mac, _, addresses = entry.partition(" ")
                if to in addresses.split(" "):
                    return mac
        return router or "0a:00:00:00:00:01"


@contextlib.contextmanager
def northd() -> Iterator[Ovn]:
    """OVN's central part in a temporary directory."""
    directory = Path(tempfile.mkdtemp(prefix="ovn-", dir="/tmp"))
    ovn = Ovn(directory)
    try:
        yield ovn
    finally:
        ovn.stop()
        shutil.rmtree(directory, ignore_errors=True)
