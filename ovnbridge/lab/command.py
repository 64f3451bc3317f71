"""`ovnbridge lab …`: the lab's commands. What they need is imported when one of them runs."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ovnbridge.settings import FLAGS_VARIABLE

if TYPE_CHECKING:
    from ovnbridge.lab.lab import Lab

_DEFAULT_NAME = "lab"
_INTERRUPTED = 130


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `lab` and its commands; each sets `run`, a function of the parsed arguments that returns the exit status."""
    lab = subparsers.add_parser("lab", help="a cluster on this machine, in network namespaces")
    lab.set_defaults(run=lambda _: _usage(lab))
    commands = lab.add_subparsers(dest="lab_command", metavar="COMMAND")

    up = commands.add_parser("up", help="bring a lab up")
    _add_options(up)
    up.set_defaults(run=_sync(_up))

    status = commands.add_parser("status", help="show labs and their daemons")
    _add_name(status, default="")
    status.set_defaults(run=_sync(_status))

    down = commands.add_parser("down", help="end a lab; nothing of it is left")
    _add_name(down)
    down.add_argument("--all", action="store_true", help="every lab on this machine")
    down.set_defaults(run=_sync(_down))

    execute = commands.add_parser("exec", help="run a command of this machine in a pod")
    _add_name(execute)
    execute.add_argument("-n", "--namespace", default="default")
    execute.add_argument("pod", metavar="POD")
    execute.add_argument("command_line", nargs=argparse.REMAINDER, metavar="-- CMD")
    execute.set_defaults(run=_sync(_exec))

    logs = commands.add_parser("logs", help="show what the programs of a pod printed (kubectl logs needs a kubelet)")
    _add_name(logs)
    logs.add_argument("-n", "--namespace", default="default")
    logs.add_argument("-c", "--container", default="*")
    logs.add_argument("pod", metavar="POD")
    logs.set_defaults(run=_sync(_logs))

    node = commands.add_parser("node", help="run a command on a node (node1, …) or on `central`")
    _add_name(node)
    node.add_argument("node", metavar="NODE")
    node.add_argument("command_line", nargs=argparse.REMAINDER, metavar="-- CMD")
    node.set_defaults(run=_sync(_node))

    kubectl = commands.add_parser("kubectl", help="run kubectl on the lab; without arguments print its KUBECONFIG")
    _add_name(kubectl)
    kubectl.add_argument("command_line", nargs=argparse.REMAINDER, metavar="ARGS")
    kubectl.set_defaults(run=_sync(_kubectl))

    run = commands.add_parser("run", help="bring a lab up, apply manifests, wait, show what they do, bring it down")
    _add_options(run)
    run.add_argument("files", nargs="+", metavar="FILE", help="manifests, as for `kubectl apply -f`")
    run.add_argument("--timeout", type=float, default=180.0, help="seconds to wait for the workloads (180)")
    run.add_argument("--keep", action="store_true", help="leave the lab up")
    run.set_defaults(run=_sync(_run))


def _add_name(parser: argparse.ArgumentParser, default: str = _DEFAULT_NAME) -> None:
    parser.add_argument("--name", default=default, help="which lab (default: %(default)s)" if default else "which lab")


def _add_options(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument(
        "--ovn", choices=("central", "raft3"), default="central", help="OVN databases: one server or a raft cluster"
    )
    parser.add_argument("--kubernetes", choices=("embedded", "real"), default="embedded", help="the Kubernetes API")
    parser.add_argument("--ovs-root", default="", metavar="DIR", help="take OVS and OVN from this root directory")
    parser.add_argument("--network-cidr", default="10.16.0.0/16", metavar="CIDR[,CIDR]", help="addresses of pods")
    parser.add_argument(
        "--join-cidr", default="100.64.0.0/16", metavar="CIDR[,CIDR]", help="addresses of nodes in the overlay"
    )
    parser.add_argument("--service-cidr", default="10.96.0.0/12", metavar="CIDR[,CIDR]", help="addresses of Services")
    parser.add_argument(
        "--controller-arg", action="append", default=[], metavar="FLAG", help="a flag for the controller role"
    )
    parser.add_argument("--cni-arg", action="append", default=[], metavar="FLAG", help="a flag for the node role")
    parser.add_argument("--no-controller", action="store_true", help="start no controller")
    parser.add_argument("--no-cni", action="store_true", help="start no node role")


def _usage(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 2


def _sync(command: Callable[[argparse.Namespace], Coroutine[Any, Any, int]]) -> Callable[[argparse.Namespace], int]:
    """A command as the executable wants it; errors become words on stderr."""

    def run(values: argparse.Namespace) -> int:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # progress is seen as it happens, also through a pipe
        from ovnbridge.lab.errors import LabError

        try:
            return asyncio.run(command(values))
        except LabError as error:
            print(f"ovnbridge lab: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return _INTERRUPTED

    return run


def _make(values: argparse.Namespace) -> Lab:
    from ovnbridge.lab.lab import Lab
    from ovnbridge.lab.options import Network

    return Lab(
        values.name,
        nodes=values.nodes,
        ovn=values.ovn,
        kubernetes=values.kubernetes,
        ovs_root=values.ovs_root or None,
        controller_args=values.controller_arg,
        cni_args=values.cni_arg,
        controller=not values.no_controller,
        cni=not values.no_cni,
        network=Network(pods=values.network_cidr, join=values.join_cidr, services=values.service_cidr),
        progress=_progress,
    )


def _progress(report: dict[str, Any]) -> None:
    print(f"  {report['phase']:<12} {report['seconds']:6.2f} s", flush=True)


async def _start(lab: Lab) -> None:
    started = asyncio.get_running_loop().time()
    print(f"lab {lab.name}: {lab.options.nodes} nodes")
    await lab.start()
    print(f"  {'up':<12} {asyncio.get_running_loop().time() - started:6.2f} s", flush=True)


async def _up(values: argparse.Namespace) -> int:
    lab = _make(values)
    try:
        await _start(lab)
        _leave_up(lab)
    finally:
        await lab.stop()
    return 0


def _leave_up(lab: Lab) -> None:
    """The point of no return: an interrupt comes before it and ends the lab, or after it and changes nothing."""
    print(f"export KUBECONFIG={lab.kubeconfig}", flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lab.detach()


async def _status(values: argparse.Namespace) -> int:
    from ovnbridge.lab import paths
    from ovnbridge.lab.lab import Lab
    from ovnbridge.lab.show import status_text

    names = [values.name] if values.name else paths.lab_names()
    for name in names:
        lab = await Lab.attach(name)
        status = await lab.status()
        for component in status["components"]:
            if component["pid"] is not None:
                component["pid"] = lab.remote.outer_pid(component["pid"])
        print(status_text(status))
        await lab.close()
    if not names:
        print("no lab is up")
    return 0


async def _down(values: argparse.Namespace) -> int:
    from ovnbridge.lab import launch, paths

    paths.remove_stale()
    for name in paths.lab_names() if values.all else [values.name]:
        print(f"lab {name} {'is down' if await launch.end(name) else 'was not up'}")
    return 0


async def _exec(values: argparse.Namespace) -> int:
    lab = await _attach(values)
    prefix = await lab.pod_prefix(values.pod, values.namespace)
    await lab.close()
    return _become(prefix, values.command_line)


async def _logs(values: argparse.Namespace) -> int:
    from ovnbridge.lab.errors import LabError

    lab = await _attach(values)
    pattern = f"pod_{values.namespace}_{values.pod}_{values.container}.log"
    files = sorted((lab.directory / "logs").glob(pattern))
    await lab.close()
    if not files:
        raise LabError(f"no program of pod {values.namespace}/{values.pod} has run (a stand-in prints nothing)")
    for file in files:
        if len(files) > 1:
            print(f"==> {file.stem.rpartition('_')[2]}")
        sys.stdout.write(file.read_text(errors="replace"))
    return 0


async def _node(values: argparse.Namespace) -> int:
    from ovnbridge.lab.role_processes import network_flags

    lab = await _attach(values)
    prefix = await lab.remote.in_machine(values.node)
    # As on a real node, where the pods of ovnbridge have these: `ovnbridge doctor` needs no flags then.
    os.environ["KUBECONFIG"] = str(lab.remote.paths.nodes_kubeconfig)
    os.environ["OVN_NB_ADDR"], os.environ["OVN_SB_ADDR"] = lab.options.remotes(6641), lab.options.remotes(6642)
    os.environ[FLAGS_VARIABLE] = shlex.join(network_flags(lab.options))
    await lab.close()
    return _become(prefix, values.command_line)


async def _kubectl(values: argparse.Namespace) -> int:
    from ovnbridge.lab.lab import kubectl_binary

    lab = await _attach(values)
    kubeconfig = str(lab.kubeconfig)
    await lab.close()
    if not values.command_line:
        print(f"export KUBECONFIG={kubeconfig}")
        return 0
    os.environ["KUBECONFIG"] = kubeconfig
    return _become((kubectl_binary(),), values.command_line)


async def _attach(values: argparse.Namespace) -> Lab:
    from ovnbridge.lab.lab import Lab

    return await Lab.attach(values.name)


def _become(prefix: tuple[str, ...], command: list[str]) -> int:
    """Turns this process into the command, with its terminal."""
    if command[:1] == ["--"]:
        command = command[1:]
    command = [*prefix, *(command or ["sh"])]
    sys.stdout.flush()
    os.execvp(command[0], command)


async def _run(values: argparse.Namespace) -> int:
    from ovnbridge.lab.show import run_manifests

    lab = _make(values)
    await _start(lab)
    try:
        good = await run_manifests(lab, values.files, values.timeout)
        if values.keep:
            _leave_up(lab)
    finally:
        await lab.stop()
    return 0 if good else 1
