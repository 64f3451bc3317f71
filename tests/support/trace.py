"""What OVN does with a packet: a real NB and SB database, northd, and `ovn-trace` as the judge.

    with northd() as ovn:
        cluster = Cluster(database=ovn.database)
        cluster.apply(…).run()
        assert ovn.trace("a.app", "10.16.0.9").reaches("b.app")

Packets are the first of their connection, unless a test says otherwise. Whatever northd or ovn-trace
complains of fails the test.

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
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ovnbridge.compile.options import Options
from ovnbridge.ovsdb.schema import DatabaseSchema
from tests.support.cluster import Cluster, Json, ip, mac_of, namespace, node, pod
from tests.support.memory import _SCHEMA, MemoryDatabase
from tests.support.ovsdb import NB_SCHEMA, SB_SCHEMA, dump, spawn, wait_until

_TOOLS = ("ovsdb-server", "ovsdb-tool", "ovn-northd", "ovn-nbctl", "ovn-sbctl", "ovn-trace")
needs_ovn = pytest.mark.skipif(
    not all(map(shutil.which, _TOOLS)) or not NB_SCHEMA.exists(), reason="OVN is not installed"
)

NODES = (node("n-1", "192.168.0.11", "fd01::11"), node("n-2", "192.168.0.12", "fd01::12"))
JOINS = (ip("n-1", "join", "100.64.0.2"), ip("n-2", "join", "100.64.0.3"))
OUTSIDE = "198.51.100.1"

# The distribution's OVN has not Kube-OVN's patches: spec H.5.
UNPATCHED = Options(vpc_source_routes=False)

_QUESTIONS = re.compile(r"^( *)(?:arp|nd_ns)[^\n]*\{\n.*?^\1\};\n", re.MULTILINE | re.DOTALL)
"""Blocks in which the router asks who has an address, instead of sending the packet."""


class Verdict(msgspec.Struct, frozen=True):
    """Where a packet came out, how it was changed on the way, and what ovn-trace says of each flow that it met."""

    ports: tuple[str, ...]
    changes: str
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
        self._complaints: list[str] = []
        self._synced = -1
        self.known: list[str] = []
        """Parts of the complaints that are right: the test's objects are so."""
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

    def trace(self, port: str, to: str, *, by: str = "", match: str = "", reply: bool = False) -> Verdict:
        """What becomes of a ping from a switch port (its first address of the family) to an address.

        `by`: the MAC address that it is sent to, instead of that of the port or router that has the address. `match`
        replaces the ICMP echo request (an OVN microflow, without addresses). `reply`: of a connection that the other
        side began.
        """
        version = ipaddress.ip_address(to).version
        mac, addresses = self._addresses(port)
        address = next(a for a in addresses if ipaddress.ip_address(a).version == version)
        flow = match or f"icmp{version}.type == {8 if version == 4 else 128} && icmp{version}.code == 0"
        switch = self._row("Logical_Switch_Port", port)["external_ids"]["ls"]
        packet = (
            f"eth.src == {mac} && eth.dst == {by or self._next_mac(switch, to)} && "
            f"ip{version}.src == {address} && ip{version}.dst == {to} && ip.ttl == 64 && {flow}"
        )
        return self.inject(port, packet, reply=reply)

    def inject(self, port: str, packet: str, *, reply: bool = False) -> Verdict:
        """What becomes of a packet (an OVN microflow) from a switch port."""
        self.sync()
        switch = self._row("Logical_Switch_Port", port)["external_ids"]["ls"]
        tracking = ("--ct=est,rpl",) * 8 if reply else ("--ct=new",) * 8
        command = [
            "ovn-trace",
            f"--db=unix:{self._path('sb')}",
            "--no-leader-only",
            "--detailed",
            "--minimal",
            *tracking,
        ]
        microflow = f'inport == "{port}" && {packet}'
        done = subprocess.run([*command, switch, microflow], capture_output=True, text=True, check=True, timeout=30)
        self._complaints += re.findall(r"^.*\|(?:WARN|ERR|EMER)\|.*$", done.stderr, re.MULTILINE)
        text, _, minimal = done.stdout.partition("# Minimal trace.")
        own = _QUESTIONS.sub("", minimal)
        return Verdict(tuple(re.findall(r'^\s*output\("([^"]+)"\)', own, re.MULTILINE)), minimal, text)

    def asks(self, port: str, address: str) -> Verdict:
        """What becomes of an ARP request that a switch port sends for an IPv4 address.

        There is none for IPv6: ovn-trace 23.03 aborts when a router answers a neighbour solicitation.
        """
        mac, addresses = self._addresses(port)
        own = next(a for a in addresses if ":" not in a)
        asked = f"arp.op == 1 && arp.sha == {mac} && arp.spa == {own} && arp.tpa == {address}"
        return self.inject(port, f"eth.src == {mac} && eth.dst == ff:ff:ff:ff:ff:ff && {asked}")

    def learn(self, router: str, port: str, address: str, mac: str) -> None:
        """Let a router know a neighbour, as ovn-controller does when it has answered."""
        paths = self.southbound("Datapath_Binding")
        path = next(row["_uuid"][1] for row in paths if ["name", router] in row["external_ids"][1])
        columns = (f"logical_port={port}", f'ip="{address}"', f'mac="{mac}"', f"datapath={path}")
        fresh = f"timestamp={time.time_ns() // 1_000_000}"  # northd removes what is too old
        remote = f"--db=unix:{self._path('sb')}"
        subprocess.run(
            ["ovn-sbctl", remote, "--no-leader-only", "create", "MAC_Binding", *columns, fresh],
            check=True,
            capture_output=True,
        )

    def bfd(self, address: str, status: str) -> None:
        """Say what has become of the BFD sessions with an address, as ovn-controller does."""
        self.sync()
        remote = f"--db=unix:{self._path('sb')}"
        found = subprocess.run(
            ["ovn-sbctl", remote, "--no-leader-only", "--bare", "--columns=_uuid", "find", "BFD", f"dst_ip={address}"],
            check=True,
            capture_output=True,
            text=True,
        )
        for uuid in found.stdout.split():
            subprocess.run(
                ["ovn-sbctl", remote, "--no-leader-only", "set", "BFD", uuid, f"status={status}"], check=True
            )
        self._synced = -1

    def sync(self) -> None:
        """Wait until the SB database follows from the NB database."""
        if self._synced != self.database.operations:
            self._synced = self.database.operations
            self._nbctl("--wait=sb", "sync")

    def southbound(self, table: str) -> list[dict[str, Any]]:
        """All rows of an SB table, in OVSDB's notation."""
        self.sync()
        return dump(f"unix:{self._path('sb')}", "OVN_Southbound", table)

    def flows(self, switch_or_router: str) -> list[dict[str, Any]]:
        """Logical flows of a switch or router."""
        paths = self.southbound("Datapath_Binding")
        path = next(row["_uuid"] for row in paths if ["name", switch_or_router] in row["external_ids"][1])
        groups = [g["_uuid"] for g in self.southbound("Logical_DP_Group") if path in _elements(g["datapaths"])]
        wanted = [path, *groups]
        return [
            row
            for row in self.southbound("Logical_Flow")
            if row["logical_datapath"] in wanted or row["logical_dp_group"] in wanted
        ]

    def complaints(self) -> list[str]:
        """What northd has logged as a warning or an error, and ovn-trace, which parses every logical flow."""
        self.sync()
        return self._complaints + re.findall(
            r"^.*\|(?:WARN|ERR|EMER)\|.*$", (self._directory / "northd.log").read_text(), re.MULTILINE
        )

    def mac(self, port: str) -> str:
        """MAC address of a switch port."""
        return self._addresses(port)[0]

    def router_mac(self, port: str) -> str:
        """MAC address of a router port."""
        found: str = self._row("Logical_Router_Port", port)["mac"]
        return found

    def _row(self, table: str, name: str) -> dict[str, Any]:
        return next(row for row in self.database.content[table].values() if row["name"] == name)

    def _addresses(self, port: str) -> tuple[str, list[str]]:
        entries = self._row("Logical_Switch_Port", port)["addresses"] - {"unknown"}
        mac, _, addresses = next(iter(entries)).partition(" ")
        return mac, addresses.split(" ")

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


def _elements(value: list[Any]) -> list[Any]:
    return list(value[1]) if value[0] == "set" else [value]


@contextlib.contextmanager
def northd() -> Iterator[Ovn]:
    """OVN's central part in a temporary directory."""
    directory = Path(tempfile.mkdtemp(prefix="ovn-", dir="/tmp"))
    ovn = Ovn(directory)
    try:
        yield ovn
        if found := [line for line in ovn.complaints() if not any(text in line for text in ovn.known)]:
            raise AssertionError("OVN complains:\n" + "\n".join(found))
    finally:
        ovn.stop()
        shutil.rmtree(directory, ignore_errors=True)


def cluster_of(ovn: Ovn, *objects: Json, options: Options = UNPATCHED, joins: tuple[Json, ...] = JOINS) -> Cluster:
    """A settled cluster whose rows OVN has, with two nodes; `joins` are their addresses in the join subnet."""
    cluster = Cluster(database=ovn.database, options=options)
    cluster.apply(namespace("app"), *NODES, *joins, *objects).run()
    return cluster


def at(name: str, place: str, address: str, on: str = "n-1", **notes: str) -> Json:
    """A pod `app/<name>` with this address (`v4`, `v6` or both) in a subnet."""
    mac = mac_of(f"{place}/{name}")
    return pod(f"app/{name}", on, logical_switch=place, ip_address=address, mac_address=mac, **notes)
