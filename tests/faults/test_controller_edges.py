"""What surrounds the controller: where the databases are, actions by HTTP, how a process ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from ovnbridge.cli import _serve, main
from ovnbridge.lab.api import ApiServer
from ovnbridge.observe.http import HealthServer, _local
from ovnbridge.roles.controller import LeadershipLost
from ovnbridge.roles.controller_flags import FLAGS
from ovnbridge.roles.ovn import northbound_remotes, southbound_remotes, tls_files
from ovnbridge.roles.self_check import SelfChecks
from ovnbridge.settings import parse
from tests.faults.harness import Harness
from tests.faults.nursery import ROOT
from tests.support.ovsdb import free_port


@pytest.mark.parametrize(
    ("given", "environment", "remotes"),
    [
        ("tcp:10.0.0.1:6641,tcp:10.0.0.2:6641", {"OVN_DB_IPS": "1.2.3.4"}, ["tcp:10.0.0.1:6641", "tcp:10.0.0.2:6641"]),
        ("", {"OVN_DB_IPS": "10.0.0.1,fd00::1"}, ["tcp:[10.0.0.1]:6641", "tcp:[fd00::1]:6641"]),
        ("", {"OVN_DB_IPS": "10.0.0.1", "ENABLE_SSL": "true"}, ["ssl:[10.0.0.1]:6641"]),
        ("", {"OVN_NB_SERVICE_HOST": "10.96.0.9", "OVN_NB_SERVICE_PORT": "7641"}, ["tcp:[10.96.0.9]:7641"]),
        ("", {"OVN_NB_SERVICE_HOST": "fd00::9", "ENABLE_SSL": "TRUE"}, ["ssl:[fd00::9]:6641"]),
        ("", {}, []),
    ],
)
def test_where_ovn_is(given: str, environment: dict[str, str], remotes: list[str]) -> None:
    """Spec G.3; SB's port is the next one (G.6)."""
    assert list(northbound_remotes(given, environment)) == remotes
    southern = {name.replace("_NB_", "_SB_"): value for name, value in environment.items()}
    if not given:
        remotes = [remote.replace(":6641", ":6642") for remote in remotes]
    assert list(southbound_remotes(given, southern)) == remotes


def test_tls_files_are_those_that_kube_ovn_mounts() -> None:
    """Spec E.11 and G.2: /var/run/tls/{key,cert,cacert}."""
    settings, _ = parse(FLAGS, [], prog="x")
    files = tls_files(settings)
    assert (files.private_key, files.certificate, files.ca_certificate) == (
        "/var/run/tls/key",
        "/var/run/tls/cert",
        "/var/run/tls/cacert",
    )


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        (None, False),
    ],
)
def test_who_is_on_this_machine(address: str | None, local: bool) -> None:
    assert _local(address) is local


async def test_self_check_on_demand() -> None:
    passes: list[int] = []

    async def check() -> Any:
        passes.append(1)
        return SimpleNamespace(things=7, rows=3, cpu=0.25, differences={"Row": 2}, drift={"ACL": 1})

    health, port = HealthServer(), free_port()
    SelfChecks(health, check, remote=False)
    await health.listen("127.0.0.1", port)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/self-check") as reply:
                assert reply.status == 405
            assert not passes
            async with session.post("/self-check") as reply:
                assert reply.status == 200
                assert await reply.json() == {
                    "compared": 7,
                    "rows": 3,
                    "cpu_seconds": 0.25,
                    "differences": {"Row": 2},
                    "drift": {"ACL": 1},
                }
            async with session.post("/nothing") as reply:
                assert reply.status == 404
            async with session.get("/metrics") as reply:
                page = await reply.text()
    finally:
        await health.close()
    assert 'ovnbridge_self_check_differences_total{kind="Row"} 2' in page
    assert "ovnbridge_self_checks_total{} 1" in page or "ovnbridge_self_checks_total 1" in page


@pytest.mark.parametrize("remote", [False, True])
async def test_self_check_from_another_machine(remote: bool) -> None:
    """Asked over an address of this machine that is not loopback, which is what another machine looks like."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = probe.getsockname()[0]

    async def check() -> Any:
        return SimpleNamespace(things=0, rows=0, cpu=0.0, differences={}, drift={})

    health, port = HealthServer(), free_port()
    SelfChecks(health, check, remote=remote)
    await health.listen("0.0.0.0", port)
    try:
        async with aiohttp.ClientSession() as session, session.post(f"http://{address}:{port}/self-check") as reply:
            assert reply.status == (200 if remote else 403)
            assert remote or "--self-check-remote" in await reply.text()  # what to do about it
    finally:
        await health.close()


class _Role:
    flags: Sequence[Any] = ()

    def __init__(self, name: str, end: BaseException | None) -> None:
        self.name = name
        self.told = False
        self._end = end

    async def run(self, settings: Any, shared: Any) -> None:
        if self._end is not None:
            raise self._end
        try:
            await asyncio.Event().wait()
        finally:
            self.told = True


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (LeadershipLost("gone"), 3),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [LeadershipLost("gone")])]), 3),
        (RuntimeError("bug"), 1),
    ],
)
async def test_a_role_that_ends_takes_the_others_along_and_says_why(end: Exception, status: int) -> None:
    other = _Role("other", None)
    assert await _serve([_Role("controller", end), other], {"controller": None, "other": None}, "") == status  # type: ignore[dict-item]
    assert other.told


_NB = "--ovn-nb-addr=unix:/nowhere"
_API = "--kubeconfig={kubeconfig}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([_NB, "--kubeconfig=/nowhere"], "no such kubeconfig: /nowhere"),
        ([_NB, "--kubeconfig={broken}"], "unusable configuration"),
        ([_NB, _API, "--pprof-port={taken}"], "cannot be served on 0.0.0.0:"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps(ApiServer().kubeconfig("http://127.0.0.1:1")))
    (tmp_path / "broken").write_text("clusters: 5")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OVN_", "KUBE"))}
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        values = {name: tmp_path / name for name in ("kubeconfig", "broken")} | {"taken": taken.getsockname()[1]}
        done = subprocess.run(
            [sys.executable, "-m", "ovnbridge", "--role=controller", "--pprof-port=0"]
            + [argument.format(**values) for argument in arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if told in line]
    assert "role ended role=controller" in line
    assert "Traceback" not in done.stderr


async def test_a_pod_that_should_have_ended_lets_its_address_go() -> None:
    """Spec C.9: the process looks at its clock, nothing else happens; the pod's object stays, its kubelet is lost."""
    async with Harness() as harness:
        harness.pod("a", "web", "node-1")
        harness.pod("a", "other", "node-1")
        await harness.settle()
        assert "web.a" in harness.leases()
        harness.terminate("a", "web", grace=1)
        await harness._until(lambda: ["web.a has its lease"] if "web.a" in harness.leases() else [])
        assert "web.a" in harness.live_pods()
        assert "other.a" in harness.leases()
        ports = {row["name"] for row in (await harness.rows("Logical_Switch_Port"))["Logical_Switch_Port"]}
        assert "other.a" in ports
        harness.delete("a", "web")
        await harness.settle()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ("where is OVN NB? Give --ovn-nb-addr",)),
        (("--ovn-nb-addr=here",), ("not an OVSDB remote: 'here'",)),
        (("--default-cidr=10.16.0.0/33",), ("--default-cidr '10.16.0.0/33' is neither a CIDR nor",)),
        (("--default-cidr=10.16.0.0/16,10.17.0.0/16",), ("--default-cidr", "neither a CIDR nor one of each family")),
        (("--node-switch-cidr=10.16.128.0/17",), ("--default-cidr 10.16.0.0/16 overlaps --node-switch-cidr",)),
        (("--service-cluster-ip-range=10.96.0.0/12,FD00::/8", "--default-cidr=fd00::/112"), ("--service-cluster-ip",)),
        (("--default-cidr=169.254.7.0/24",), ("overlaps the special range 169.254.0.0/16",)),
        (("--network-type=vlan",), ("--network-type=vlan needs --default-interface-name",)),
        (("--ovsdb-con-timeout=10",), ("--ovsdb-inactivity-timeout must be longer than --ovsdb-con-timeout",)),
        (("--leader-elect-retry-period=20s",), ("longer than 1.2 times --leader-elect-retry-period",)),
        (("--leader-elect-lease-duration=20s",), ("--leader-elect-lease-duration must be longer than",)),
    ],
)
def test_flags_that_cannot_be_are_said_in_words(
    flags: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spec E.7 "Checks", F.4: the process does not start, and says what to change."""
    for name in [name for name in os.environ if name.startswith("OVN_")]:
        monkeypatch.delenv(name)
    remote = () if not flags or "--ovn-nb-addr" in flags[0] else ("--ovn-nb-addr=tcp:127.0.0.1:1",)
    assert main(["--role=controller", "--pprof-port=0", *remote, *flags]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in words)
    assert len(said.splitlines()) == 1
