"""The machines of a lab and the wires between them.

A machine is a network, mount and host-name namespace, kept by one sleeping process (its holder) that everything else
of the machine enters. Its directories openvswitch and ovn in /run and /etc are its own, so a daemon finds its files
where it would find them on a real node. Two kernel bridges in a namespace of their own are the underlay and the
external network; all links are made inside the lab's namespaces, the host's network namespace never sees one.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ovnbridge.lab.errors import LabError
from ovnbridge.lab.namespaces import NETNS_DIRECTORY
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.processes import run

FABRIC = "fabric"
CENTRAL = "central"

# $1 host name, $2 run directory, $3 etc directory. /run is a tmpfs of the lab.
_MACHINE = """
set -e
echo "$1" > /proc/sys/kernel/hostname
mkdir -p /run/openvswitch /run/ovn
mount -n --bind "$2" /run/openvswitch
mount -n --bind "$2" /run/ovn
for directory in /etc/openvswitch /etc/ovn; do
  if [ -d $directory ]; then mount -n --bind "$3" $directory; fi
done
ip link set lo up
cd /proc/sys/net
for key in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 > $key; done
for key in ipv4/conf/all/rp_filter ipv4/conf/default/rp_filter; do echo 0 > $key; done
for key in ipv6/conf/all/accept_dad ipv6/conf/default/accept_dad; do echo 0 > $key; done
cd /
echo ready
exec sleep infinity >/dev/null 2>&1
"""

# What pods see of this machine's files: all of it, copy-on-write; what they write is in memory and goes with the lab.
_POD_ROOT = """
set -e
mkdir -p /run/pods
mount -n -t tmpfs tmpfs /run/pods
cd /run/pods
mkdir upper work root
if ! mount -n -t overlay -o lowerdir=/,upperdir=/run/pods/upper,workdir=/run/pods/work overlay root 2>/dev/null; then
  # No overlay file system here: then it is read-only.
  mount -n --bind / root
  mount -n -o remount,bind,ro root
  cp /etc/hosts hosts
  mount -n --bind hosts root/etc/hosts
fi
for directory in proc sys dev; do mount -n --rbind /$directory root/$directory; done
mount -n -t tmpfs tmpfs root/tmp
mount -n -t tmpfs tmpfs root/run
cd /
echo ready
exec chroot /run/pods/root sleep infinity >/dev/null 2>&1
"""


class Holder:
    """A sleeping process that keeps namespaces; `enter` prefixes a command that is to run in them."""

    def __init__(self, process: asyncio.subprocess.Process, flags: Sequence[str]) -> None:
        self._process = process
        self._flags = tuple(flags)

    @property
    def pid(self) -> int:
        return self._process.pid

    def enter(self, *command: str, netns: str = "") -> tuple[str, ...]:
        net = (f"--net={NETNS_DIRECTORY / netns}",) if netns else ()
        return ("nsenter", f"--target={self.pid}", *self._flags, *net, "--", *command)


async def start_machine(name: str, directory: Path) -> Holder:
    """Makes the machine's namespaces around an existing network namespace of the same name."""
    for part in ("run", "etc"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    command = (
        *("ip", "netns", "exec", name, "unshare", "--uts", "--mount", "--propagation=unchanged"),
        *("sh", "-c", _MACHINE, "sh", name, str(directory / "run"), str(directory / "etc")),
    )
    return Holder(await _hold(command), ("--mount", "--net", "--uts", "--wd=/"))


async def start_pod_root() -> Holder:
    """Makes the file system that the processes of pods see."""
    command = ("unshare", "--mount", "--propagation=slave", "sh", "-c", _POD_ROOT)
    return Holder(await _hold(command), ("--mount", "--root", "--wd"))


async def _hold(command: Sequence[str]) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    if await process.stdout.readline() != b"ready\n":
        error = await process.stderr.read()
        raise LabError(f"cannot make a machine: {error.decode(errors='replace').strip()}")
    return process


def raise_neighbour_limits() -> None:
    """Lets the kernel keep as many neighbours as a lab's pods have.

    The limits count all network namespaces together, and only the host can change them. The default of 1024 is less
    than 60 pods that all speak with each other need, and entries of namespaces that went stay counted for a while:
    pings then fail with "No buffer space available" and nothing else says why. Limits that are higher stay.
    """
    for family in ("ipv4", "ipv6"):
        for name, least in (("gc_thresh3", 131072), ("gc_thresh2", 65536)):
            path = Path(f"/proc/sys/net/{family}/neigh/default/{name}")
            with contextlib.suppress(OSError):
                if int(path.read_text()) < least:
                    path.write_text(str(least))


async def build_fabric(options: LabOptions) -> None:
    """Makes the network namespaces and wires them: eth0 of each to the underlay, eth1 to the external network."""
    machines = (CENTRAL, *options.node_names)
    creation = [f"netns add {name}" for name in (FABRIC, *machines)]
    for name in machines:
        creation.append(f"link add name u-{name} netns {FABRIC} type veth peer name eth0 netns {name}")
        if name != CENTRAL:
            creation.append(f"link add name x-{name} netns {FABRIC} type veth peer name eth1 netns {name}")
    await run("ip", "-batch", "-", stdin="\n".join(creation) + "\n")
    wiring = ["link set lo up"]
    for bridge in ("underlay", "external"):
        wiring += [f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up"]
    wiring.append(f"addr add {options.external_host(1)} dev external")
    for name in machines:
        wiring.append(f"link set u-{name} master underlay up")
        if name != CENTRAL:
            wiring.append(f"link set x-{name} master external up")
    await run("ip", "-netns", FABRIC, "-batch", "-", stdin="\n".join(wiring) + "\n")


async def address_machines(options: LabOptions, holders: Mapping[str, Holder]) -> None:
    """The central machine's addresses; and no machine leaves checksums to be filled in later.

    A veth leaves them to the hardware that it does not have, and a userspace datapath does not fill them in. The nodes
    need nothing: what they send starts at a tap of their switch.
    """
    for machine, link in ((CENTRAL, "eth0"), (FABRIC, "underlay"), (FABRIC, "external")):
        await run(*holders[machine].enter("ethtool", "-K", link, "tx", "off"))
    lines = [f"addr add {interface} dev eth0 nodad" for interface in options.central_interfaces]
    await run("ip", "-netns", CENTRAL, "-batch", "-", stdin="\n".join([*lines, "link set eth0 up"]) + "\n")
