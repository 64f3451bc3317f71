"""The OVN and OVS daemons: how each is started, and the order of their start.

Daemons come from the distribution, or with `ovs_root` from another root directory (a newer OVN in a debootstrap
root); only the lab's own mount namespace ever sees what is mounted there.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ovnbridge.lab.errors import LabError
from ovnbridge.lab.machine import Holder
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.paths import LabPaths
from ovnbridge.lab.processes import Component, run, wait_for_socket

NORTHBOUND_PORT = 6641
SOUTHBOUND_PORT = 6642
_RAFT_OFFSET = 2

_DATABASES = {
    "nb": ("OVN_Northbound", "ovn-nb", NORTHBOUND_PORT),
    "sb": ("OVN_Southbound", "ovn-sb", SOUTHBOUND_PORT),
}
_PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovn-northd", "ovn-controller", "ovn-nbctl")
_QUIET = "-vconsole:off"
_START_TIMEOUT = 30.0


def check_programs(ovs_root: str) -> None:
    """Refuses a machine without OVN, by the name of what is missing."""
    folders = [f"{ovs_root}/{folder}" for folder in ("usr/bin", "usr/sbin", "bin", "sbin")] if ovs_root else None
    for program in _PROGRAMS:
        if shutil.which(program, path=":".join(folders) if folders else None) is None:
            where = (
                f"in {ovs_root}"
                if ovs_root
                else "on this machine (Debian: apt-get install openvswitch-switch ovn-central ovn-host)"
            )
            raise LabError(f"{program} is not {'there ' if ovs_root else 'installed '}{where}")


class Daemons:
    """Starts the daemons of one lab and keeps them as components."""

    def __init__(self, options: LabOptions, paths: LabPaths, register: Callable[[Component], Component]) -> None:
        self._options = options
        self._paths = paths
        self._register = register
        self._chroot = ("chroot", options.ovs_root) if options.ovs_root else ()
        self._blank = paths.central / "blank.db"

    async def prepare(self) -> None:
        """Once for the lab: the alternative root's mounts, and an empty database that every node gets a copy of."""
        root = self._options.ovs_root
        self._paths.central.mkdir(exist_ok=True)
        if root:
            for folder in ("dev", "proc", "sys", "run"):
                (Path(root) / folder).mkdir(exist_ok=True)
                await run("mount", "--rbind", f"/{folder}", f"{root}/{folder}")
        await run(*self._chroot, "ovsdb-tool", "create", str(self._blank), "/usr/share/openvswitch/vswitch.ovsschema")

    def environment(self, directory: Path) -> dict[str, str]:
        """Every file of these daemons goes to one directory."""
        run_directory = str(directory / "run")
        return {
            f"{package}_{kind}": run_directory for package in ("OVS", "OVN") for kind in ("RUNDIR", "LOGDIR", "DBDIR")
        }

    def command(self, holder: Holder, *command: str) -> tuple[str, ...]:
        """A command of the OVN installation, on a machine."""
        return holder.enter(*self._chroot, *command)

    async def start_central(self, holder: Holder) -> None:
        """Databases and northd; returns when both databases answer and the northbound one has its global row."""
        directory = self._paths.central
        environment = self.environment(directory)
        servers = [
            self._database(holder, environment, kind, index) for index in range(self._count) for kind in _DATABASES
        ]
        await asyncio.gather(*(self._start_server(*server) for server in servers))
        northd = Component(
            "northd",
            self.command(
                holder,
                "ovn-northd",
                *(f"--ovn{kind}-db={self._local_remotes(kind)}" for kind in _DATABASES),
                f"--pidfile={directory}/run/ovn-northd.pid",
                f"--log-file={self._paths.log('northd')}",
                _QUIET,
            ),
            log=self._paths.log("northd"),
            environment=environment,
        )
        await self._register(northd).start()
        settings = ("options:northd_probe_interval=5000", "options:use_logical_dp_groups=true")
        await run(
            *self.command(holder, "ovn-nbctl", f"--db={self._local_remotes('nb')}", "--timeout=20"),
            *("init", "--", "set", "NB_Global", ".", *settings),
            environment=environment,
        )

    @property
    def _count(self) -> int:
        return len(self._options.central_addresses)

    def server_name(self, kind: str, index: int) -> str:
        """`nb` and `sb`, or `nb1` … `sb3` in a raft cluster."""
        return kind if self._count == 1 else f"{kind}{index + 1}"

    def socket(self, kind: str, index: int = 0) -> Path:
        return self._paths.central / "run" / f"{file_stem(kind, index)}.sock"

    def _local_remotes(self, kind: str) -> str:
        if self._count == 1:
            return f"unix:{self.socket(kind)}"
        return self._options.remotes(_DATABASES[kind][2])

    def _database(
        self, holder: Holder, environment: Mapping[str, str], kind: str, index: int
    ) -> tuple[Component, Path, tuple[str, ...]]:
        """A database server, its socket, and the command that makes its file."""
        database, schema, port = _DATABASES[kind]
        name, stem = self.server_name(kind, index), file_stem(kind, index)
        addresses = self._options.central_addresses
        directory = self._paths.central / "run"
        file = self._paths.central / "etc" / f"{stem}.db"
        schema_file = f"/usr/share/ovn/{schema}.ovsschema"
        raft = [f"tcp:{address}:{port + _RAFT_OFFSET}" for address in addresses]
        creation: tuple[str, ...]
        if self._count == 1:
            creation = ("ovsdb-tool", "create", str(file), schema_file)
        elif index == 0:
            creation = ("ovsdb-tool", "create-cluster", str(file), schema_file, raft[0])
        else:
            creation = ("ovsdb-tool", "join-cluster", str(file), database, raft[index], raft[0])
        component = Component(
            name,
            self.command(
                holder,
                "ovsdb-server",
                f"--pidfile={directory}/{stem}.pid",
                f"--unixctl={directory}/{stem}.ctl",
                f"--log-file={self._paths.log(name)}",
                _QUIET,
                f"--remote=punix:{self.socket(kind, index)}",
                f"--remote=ptcp:{port}:{addresses[index] if self._count > 1 else '0.0.0.0'}",
                f"--remote=db:{database},{'NB_Global' if kind == 'nb' else 'SB_Global'},connections",
                str(file),
            ),
            log=self._paths.log(name),
            environment=environment,
        )
        return component, self.socket(kind, index), self.command(holder, *creation)

    async def _start_server(self, component: Component, socket: Path, creation: tuple[str, ...]) -> None:
        await run(*creation)
        await self._register(component).start()
        await wait_for_socket(socket, component, _START_TIMEOUT)

    async def start_node(self, name: str, number: int, holder: Holder) -> None:
        """The switch database, the switch and ovn-controller, and the node's address on br-phy."""
        directory = self._paths.node(name) / "run"
        environment = self.environment(self._paths.node(name))
        database = f"unix:{directory}/db.sock"
        etc = self._paths.node(name) / "etc"
        (etc / "conf.db").write_bytes(self._blank.read_bytes())
        (etc / "system-id.conf").write_text(f"{name}\n")

        def daemon(program: str, *arguments: str, label: str = "") -> Component:
            log = self._paths.log(f"{label or program}-{name}")
            command = (program, *arguments, f"--pidfile={directory}/{program}.pid", f"--log-file={log}", _QUIET)
            return self._register(
                Component(
                    f"{label or program}-{name}", self.command(holder, *command), log=log, environment=environment
                )
            )

        async def switch_command(*arguments: str) -> None:
            await run(
                *self.command(holder, "ovs-vsctl", f"--db={database}", "--timeout=20", *arguments),
                environment=environment,
            )

        remotes = (f"--remote=punix:{directory}/db.sock", "--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
        server = daemon("ovsdb-server", f"{etc}/conf.db", *remotes, label="ovsdb")
        await server.start()
        await wait_for_socket(directory / "db.sock", server, _START_TIMEOUT)
        await switch_command("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *self._start_settings(name, number))
        await daemon("ovs-vswitchd", database, "--disable-system", label="vswitchd").start()
        await switch_command(*_switches("br-phy", "eth0"), "--", *_switches("br-ex", "eth1"))
        lines = [f"link set {link} up" for link in ("eth0", "eth1", "br-phy", "br-ex")]
        lines += [f"addr add {interface} dev br-phy nodad" for interface in self._options.node_interfaces(number)]
        await run("ip", "-netns", name, "-batch", "-", stdin="\n".join(lines) + "\n")
        await daemon("ovn-controller", database).start()

    def _start_settings(self, name: str, number: int) -> list[str]:
        """What Kube-OVN's start-ovs.sh sets, and the userspace datapath. The rest is the node role's to write."""
        identifiers = {
            "system-id": name,
            "hostname": name,
            "ovn-remote": self._options.remotes(SOUTHBOUND_PORT),
            "ovn-remote-probe-interval": "10000",
            "ovn-openflow-probe-interval": "180",
            "ovn-match-northd-version": "true",
            "ovn-encap-type": "geneve",
            "ovn-bridge-datapath-type": "netdev",
        }
        if not self._options.cni:
            identifiers["ovn-encap-ip"] = self._options.node_addresses(number)[0]
        return [f'external_ids:{key}="{value}"' for key, value in identifiers.items()]


def file_stem(kind: str, index: int = 0) -> str:
    """The usual names, such as ovnnb_db.sock; the further members of a raft cluster get a number."""
    return f"ovn{kind}_db{index + 1 if index else ''}"


def _switches(bridge: str, port: str) -> tuple[str, ...]:
    settings = ("set", "bridge", bridge, "datapath_type=netdev", "fail_mode=standalone")
    return ("add-br", bridge, "--", *settings, "--", "add-port", bridge, port)
