"""ADD, DEL and CHECK on a real Open vSwitch and kernel."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rig import Rig, Sandbox, Switch, address_annotations, eventually, pod_object, run, subnet_object

from ovnbridge.model.resource import SUBNET
from ovnbridge.node import pod_link, probe
from ovnbridge.node.cni import request as cni
from ovnbridge.node.cni.request import CniError, Route
from ovnbridge.node.cni.service import Limits
from ovnbridge.node.names import nic_names
from ovnbridge.node.ovs import SwitchError

New = Callable[[], Sandbox]


async def test_add_check_del(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(5)))
        result = await rig.service.add(rig.request(sandbox, "p"))
        assert (result.interface, result.mac, result.mtu) == ("eth0", "0a:00:00:01:00:05", 1400)
        assert [(a.ip, a.gateway) for a in result.addresses] == [("10.16.0.5", "10.16.0.1")]
        assert result.routes == (Route(dst="10.16.0.0/16"), Route(dst="0.0.0.0/0", gw="10.16.0.1"))
        host, alias = nic_names(sandbox.container_id, "eth0")
        (link,) = json.loads(sandbox.ip("-j", "-d", "addr", "show", "dev", "eth0"))
        assert (link["address"], link["mtu"], link["operstate"], link["ifalias"]) == (result.mac, 1400, "UP", alias)
        (own,) = json.loads(run("ip", "-j", "link", "show", "dev", host))
        assert (own["mtu"], own["txqlen"], own["operstate"]) == (1400, 1000, "UP")
        assert "default via 10.16.0.1 dev eth0" in sandbox.ip("route")
        row = rig.local.interface(host)
        assert row is not None
        assert dict(row["external_ids"]) == {
            "iface-id": "p.ns",
            "vendor": "kube-ovn",
            "pod_name": "p",
            "pod_namespace": "ns",
            "pod_netns": sandbox.path,
            "ip": "10.16.0.5",
            "ovn-installed": "true",
        }
        run("ip", "netns", "exec", sandbox.name, "ping", "-c1", "-W2", "10.16.0.1")
        await rig.service.check(rig.request(sandbox, "p", "CHECK"))
        await eventually(lambda: "PodNetworkConfigured" in rig.api.reasons())
        assert ("IP", "p.ns") in [(kind, name) for kind, name, _, _ in rig.api.patches]
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))
        assert rig.leftovers() == ([], [])
        assert "eth0" not in sandbox.ip("link")


async def test_tcp_checksums_are_made_in_software(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(6)))
        await rig.service.add(rig.request(sandbox, "p"))
        features = run("ip", "netns", "exec", sandbox.name, "ethtool", "-k", "eth0")
        assert "tx-checksumming: off" in features
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))


@pytest.mark.parametrize("families", ["46", "6"])
async def test_ipv6_is_usable_at_once(switch: Switch, sandboxes: New, families: str) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(7, families=families)))
        started = time.monotonic()
        result = await rig.service.add(rig.request(sandbox, "p"))
        assert time.monotonic() - started < 1.0, "no duplicate address detection inside OVN"
        assert [a.version for a in result.addresses] == [int(f) for f in families]
        assert "tentative" not in sandbox.ip("-6", "addr", "show", "dev", "eth0", "scope", "global")
        run("ip", "netns", "exec", sandbox.name, "ping", "-c1", "-W2", "fd00:10:16::1")
        await rig.service.check(rig.request(sandbox, "p", "CHECK"))
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))


async def test_add_waits_for_the_address_and_for_ovn(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        rig.controller.silent = True
        sandbox = sandboxes()
        adding = asyncio.create_task(rig.service.add(rig.request(sandbox, "p", pod_uid="new")))
        await asyncio.sleep(0)
        rig.set_pod(pod_object("p", uid="old", annotations=address_annotations(98)))
        rig.set_pod(pod_object("p", uid="new"))
        rig.set_pod(pod_object("p", uid="new", annotations=address_annotations(8) | {"routed": "false"}))
        await asyncio.wait((adding,), timeout=0.1)
        assert rig.leftovers() == ([], []), "nothing is made before the pod is routed"
        rig.set_pod(pod_object("p", uid="new", annotations=address_annotations(8)))
        host, _ = nic_names(sandbox.container_id, "eth0")
        await eventually(lambda: rig.local.interface(host) is not None)
        await asyncio.wait((adding,), timeout=0.1)
        assert not adding.done(), "answered before ovn-installed"
        rig.controller.silent = False
        rig.controller.look()
        assert (await adding).addresses[0].ip == "10.16.0.8"
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))


async def test_repeated_add_changes_nothing(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(9, families="46")))
        first = await rig.service.add(rig.request(sandbox, "p"))
        host, _ = nic_names(sandbox.container_id, "eth0")
        index = json.loads(run("ip", "-j", "link", "show", "dev", host))[0]["ifindex"]
        transactions = rig.local.transactions
        assert await rig.service.add(rig.request(sandbox, "p")) == first
        assert rig.local.transactions == transactions
        assert json.loads(run("ip", "-j", "link", "show", "dev", host))[0]["ifindex"] == index
        for _ in range(2):
            await rig.service.delete(rig.request(sandbox, "p", "DEL"))
        assert rig.leftovers() == ([], [])


async def test_add_repairs_what_is_left_of_another(switch: Switch, sandboxes: New) -> None:
    """A half-made pair of ours is replaced; wrong addresses and a wrong MAC are corrected."""
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        host, _ = nic_names(sandbox.container_id, "eth0")
        run("ip", "link", "add", host, "type", "veth", "peer", "name", "elsewhere")
        rig.set_pod(pod_object("p", annotations=address_annotations(10)))
        await rig.service.add(rig.request(sandbox, "p"))
        sandbox.ip("addr", "add", "10.16.77.77/16", "dev", "eth0")
        sandbox.ip("addr", "del", "10.16.0.10/16", "dev", "eth0")
        sandbox.ip("link", "set", "eth0", "address", "0a:00:00:00:77:77")
        with pytest.raises(CniError) as caught:
            await rig.service.check(rig.request(sandbox, "p", "CHECK"))
        assert "lacks address 10.16.0.10/16" in caught.value.details
        assert "has MAC 0a:00:00:00:77:77" in caught.value.details
        await rig.service.add(rig.request(sandbox, "p"))
        await rig.service.check(rig.request(sandbox, "p", "CHECK"))
        assert "10.16.77.77" not in sandbox.ip("addr")
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))


async def test_new_sandbox_takes_the_port_over(switch: Switch, sandboxes: New) -> None:
    """A restarted pod has the same port name; the interface of its old sandbox must not claim it any more."""
    async with Rig(switch) as rig:
        old, new = sandboxes(), sandboxes()
        rig.set_pod(pod_object("p", uid="1", annotations=address_annotations(11)))
        await rig.service.add(rig.request(old, "p", pod_uid="1"))
        rig.set_pod(pod_object("p", uid="2", annotations=address_annotations(11)))
        await rig.service.add(rig.request(new, "p", pod_uid="2"))
        row = rig.local.interface(nic_names(old.container_id, "eth0")[0])
        assert row is not None
        assert "iface-id" not in row["external_ids"]
        await rig.service.delete(rig.request(old, "p", "DEL"))
        await rig.service.check(rig.request(new, "p", "CHECK"))
        await rig.service.delete(rig.request(new, "p", "DEL"))
        assert rig.leftovers() == ([], [])


async def test_del_of_the_unknown_succeeds(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        transactions = rig.local.transactions
        await rig.service.delete(rig.request(sandbox, "nobody", "DEL"))
        await rig.service.delete(rig.request(sandbox, "nobody", "DEL", netns=""))
        await rig.service.delete(rig.request(sandbox, "nobody", "DEL", netns="/var/run/netns/gone"))
        assert rig.local.transactions == transactions


async def test_del_interrupts_add(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        rig.controller.silent = True
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(12)))
        adding = asyncio.create_task(rig.service.add(rig.request(sandbox, "p")))
        host, _ = nic_names(sandbox.container_id, "eth0")
        await eventually(lambda: rig.local.interface(host) is not None)
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))
        with pytest.raises(CniError) as caught:
            await adding
        assert caught.value.code == cni.INTERRUPTED
        assert rig.leftovers() == ([], [])
        assert rig.service.active() == set()


async def test_second_network_of_the_same_provider(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        second = {f"net.d.ovn.net1.kubernetes.io/{k}": v for k, v in address_annotations(14).items() if k != "routed"}
        rig.set_pod(pod_object("p", annotations=address_annotations(13) | second))
        with pytest.raises(CniError, match=r"provider net\.d\.ovn is not bound to any subnet"):
            await rig.service.add(rig.request(sandbox, "p", interface="net1", provider="net.d.ovn"))
        bound = subnet_object("attached")
        bound = msgspec.structs.replace(bound, spec=msgspec.structs.replace(bound.spec, provider="net.d.ovn"))
        rig.cluster.apply(SUBNET, "attached", bound)
        await rig.service.add(rig.request(sandbox, "p"))
        result = await rig.service.add(rig.request(sandbox, "p", interface="net1", provider="net.d.ovn"))
        assert result.addresses[0].gateway == "", "the default route belongs to eth0"
        row = rig.local.interface(nic_names(sandbox.container_id, "net1")[0])
        assert row is not None
        assert row["external_ids"]["iface-id"] == "p.ns.net.d.ovn.net1"
        assert sandbox.ip("route").count("default") == 1
        for name in ("eth0", "net1"):
            await rig.service.delete(rig.request(sandbox, "p", "DEL", interface=name, provider="net.d.ovn"))
        assert rig.leftovers() == ([], [])


async def test_address_only(switch: Switch, sandboxes: New) -> None:
    """IPAM mode: nothing is made, routes of the main interface make room for those that are asked for."""
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        macvlan = subnet_object("macvlan", "10.77.0.0/16")
        macvlan = msgspec.structs.replace(macvlan, spec=msgspec.structs.replace(macvlan.spec, provider="mac.ns"))
        rig.cluster.apply(SUBNET, "macvlan", macvlan)
        notes = {
            "ip_address": "10.77.0.3",
            "cidr": "10.77.0.0/16",
            "gateway": "10.77.0.1",
            "allocated": "true",
            "mac_address": "0a:00:00:00:77:03",
        }
        rig.set_pod(pod_object("p", annotations={f"mac.ns.kubernetes.io/{k}": v for k, v in notes.items()}))
        request = rig.request(
            sandbox, "p", interface="net1", provider="mac.ns", cni_type="macvlan", routes=(Route(gw="10.77.0.1"),)
        )
        sandbox.ip("link", "set", "lo", "up")
        sandbox.ip("route", "add", "default", "dev", "lo")
        result = await rig.service.add(request)
        assert [a.with_prefix for a in result.addresses] == ["10.77.0.3/16"]
        assert result.routes == (Route(gw="10.77.0.1"),)
        assert "default" not in sandbox.ip("route")
        assert rig.leftovers() == ([], [])


# ---- failures


async def test_no_address_says_why(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch, limits=Limits(pod=0.2, address=0.3)) as rig:
        sandbox = sandboxes()
        rig.set_pod(pod_object("p"))
        rig.api.known_events = [
            {
                "type": "Warning",
                "reason": "AcquireAddressFailed",
                "message": "NoAvailableAddress in subnet ovn-default",
                "lastTimestamp": "2026-01-01T00:00:00Z",
                "involvedObject": {"uid": "uid-p"},
            }
        ]
        with pytest.raises(CniError) as caught:
            await rig.service.add(rig.request(sandbox, "p"))
        error = caught.value
        assert error.code == cni.NO_ADDRESS
        assert error.message == (
            "no address allocated to pod ns/p provider ovn, please see kube-ovn-controller logs to find errors"
        )
        assert error.details == "AcquireAddressFailed: NoAvailableAddress in subnet ovn-default"
        await eventually(lambda: rig.api.events)
        (event,) = rig.api.events
        assert (event["type"], event["reason"]) == ("Warning", "PodNetworkConfigureFailed")
        assert event["message"].startswith("stage=wait-address error=no address allocated")
        with pytest.raises(CniError, match="get pod ns/unknown failed"):
            await rig.service.add(rig.request(sandbox, "unknown"))
        with pytest.raises(CniError) as other:
            await rig.service.add(rig.request(sandbox, "p", pod_uid="another"))
        assert other.value.code == cni.TRY_AGAIN_LATER


async def test_deleted_pod_ends_the_wait(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch, limits=Limits(address=30)) as rig:
        rig.set_pod(pod_object("p"))
        adding = asyncio.create_task(rig.service.add(rig.request(sandboxes(), "p")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rig.drop_pod("p")
        with pytest.raises(CniError, match="was deleted"):
            await asyncio.wait_for(adding, 2)


async def _refuse(*_: Any, **__: Any) -> Any:
    raise SwitchError("injected")


def _fail(*_: Any, **__: Any) -> Any:
    raise OSError(5, "injected")


@pytest.mark.parametrize("step", ["configure", "port", "installed", "gateway", "gateway-refused", "namespace"])
async def test_nothing_is_left_of_a_failed_add(
    switch: Switch, sandboxes: New, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    limits = Limits(port=0.3, gateway_tries=3)
    async with Rig(switch, limits=limits) as rig:
        sandbox = sandboxes()
        notes = address_annotations(20)
        request = rig.request(sandbox, "p")
        if step == "configure":
            monkeypatch.setattr(pod_link, "_configure", _fail)
        elif step == "port":
            monkeypatch.setattr(rig.local, "ensure_port", _refuse)
        elif step == "installed":
            rig.controller.silent = True
        elif step == "gateway":
            notes["gateway"] = "10.16.255.254"
        elif step == "gateway-refused":
            monkeypatch.setattr(probe, "_kick", _fail)
        else:
            request = rig.request(sandbox, "p", netns="/tmp")
        rig.set_pod(pod_object("p", annotations=notes))
        with pytest.raises(CniError) as caught:
            await rig.service.add(request)
        expected = {"installed": cni.PORT_NOT_READY, "gateway": cni.GATEWAY_UNREACHABLE, "port": cni.TRY_AGAIN_LATER}
        assert caught.value.code == expected.get(step, cni.FAILED)
        assert rig.leftovers() == ([], [])
        assert "eth0" not in sandbox.ip("link")
        monkeypatch.undo()
        rig.controller.silent = False
        # Another address: the stand-in for the router, unlike OVN, learns where an address is.
        rig.set_pod(pod_object("p", annotations=address_annotations(21)))
        await rig.service.add(rig.request(sandbox, "p"))
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))


async def test_foreign_interface_in_the_sandbox_stays(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        sandbox = sandboxes()
        sandbox.ip("link", "add", "eth0", "type", "veth", "peer", "name", "theirs")
        rig.set_pod(pod_object("p", annotations=address_annotations(21)))
        with pytest.raises(CniError) as caught:
            await rig.service.add(rig.request(sandbox, "p"))
        assert caught.value.details == "interface eth0 already exists in the sandbox"
        assert "theirs" in sandbox.ip("link")
        assert rig.leftovers() == ([], [])


async def test_silent_gateway_is_no_matter_when_the_subnet_says_so(switch: Switch, sandboxes: New) -> None:
    async with Rig(switch) as rig:
        rig.cluster.apply(SUBNET, "ovn-default", subnet_object(disable_gateway_check=True))
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(22) | {"gateway": "10.16.255.254"}))
        await rig.service.add(rig.request(sandbox, "p"))
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))


async def test_address_in_use_on_the_physical_network(
    switch: Switch, sandboxes: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_PROBE_WAIT", "_PROBE_MIN", "_PROBE_MAX", "_ANNOUNCE_WAIT"):
        monkeypatch.setattr(probe, name, 0.05)
    async with Rig(switch) as rig:
        rig.cluster.apply(SUBNET, "ovn-default", subnet_object(vlan="v"))
        run("ip", "-n", switch.gateway, "addr", "add", "10.16.0.80/16", "dev", "gw0")
        sandbox = sandboxes()
        rig.set_pod(pod_object("p", annotations=address_annotations(80)))
        adding = asyncio.create_task(rig.service.add(rig.request(sandbox, "p")))
        await eventually(lambda: rig.local.installed(nic_names(sandbox.container_id, "eth0")[0]))
        await asyncio.wait((adding,), timeout=0.1)
        assert not adding.done(), "an underlay pod waits for its patch port"
        patch = "patch-localnet.ovn-default-to-br-int"
        switch.vsctl("--no-wait", "add-port", "br-int", patch)
        with pytest.raises(CniError, match=r"IP address 10.16.0.80 has already been used by host with MAC"):
            await adding
        assert rig.leftovers() == ([], [])
        run("ip", "-n", switch.gateway, "addr", "del", "10.16.0.80/16", "dev", "gw0")
        rig.set_pod(pod_object("p", annotations=address_annotations(81, families="46")))
        await rig.service.add(rig.request(sandbox, "p"))
        assert "tentative" not in sandbox.ip("-6", "addr", "show", "dev", "eth0", "scope", "global")
        await rig.service.delete(rig.request(sandbox, "p", "DEL"))
        switch.vsctl("del-port", patch)


# ---- many at once


async def test_fifty_at_once(switch: Switch, sandboxes: New, capsys: pytest.CaptureFixture[str]) -> None:
    async with Rig(switch) as rig:
        pods = [(f"p{n}", sandboxes()) for n in range(50)]
        for number, (name, _) in enumerate(pods):
            rig.set_pod(pod_object(name, annotations=address_annotations(300 + number, families="46")))
        transactions = rig.local.transactions
        started = time.monotonic()
        results = await asyncio.gather(*(rig.service.add(rig.request(box, name)) for name, box in pods))
        seconds = time.monotonic() - started
        written = rig.local.transactions - transactions
        assert len({r.addresses[0].ip for r in results}) == 50
        assert written < 50, "writes are batched"
        await asyncio.gather(*(rig.service.delete(rig.request(box, name, "DEL")) for name, box in pods))
        assert rig.leftovers() == ([], [])
        assert rig.service.active() == set()
        with capsys.disabled():
            print(f"\n50 ADDs at once: {seconds:.2f} s, {written} OVS transactions")


async def test_how_long_an_add_takes(switch: Switch, sandboxes: New, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, not asserted: the whole, and without the time between our OVS write and `ovn-installed`."""
    async with Rig(switch) as rig:
        whole, own = [], []
        written_at: dict[str, float] = {}
        ensure = rig.local.ensure_port

        async def timed(name: str, *arguments: Any, **options: Any) -> bool:
            written_at[name] = time.monotonic()
            return await ensure(name, *arguments, **options)

        rig.local.ensure_port = timed  # type: ignore[method-assign]
        for number in range(30):
            sandbox = sandboxes()
            rig.set_pod(pod_object("p", uid=str(number), annotations=address_annotations(400 + number)))
            started = time.monotonic()
            await rig.service.add(rig.request(sandbox, "p"))
            took = time.monotonic() - started
            host, _ = nic_names(sandbox.container_id, "eth0")
            whole.append(took)
            own.append(took - (rig.controller.installed_at[host] - written_at[host]))
            await rig.service.delete(rig.request(sandbox, "p", "DEL"))
        whole.sort()
        own.sort()
        with capsys.disabled():
            print(
                f"\nADD p50 {whole[15] * 1e3:.1f} ms, p90 {whole[27] * 1e3:.1f} ms; "
                f"without waiting for OVS and OVN p50 {own[15] * 1e3:.1f} ms, p90 {own[27] * 1e3:.1f} ms"
            )
