"""ovn0, host routes, tunnel settings: set up, kept, repaired, and untouched by a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rig import (
    NODE_NAME,
    Rig,
    Sandbox,
    Switch,
    address_annotations,
    eventually,
    node_object,
    pod_object,
    run,
    subnet_object,
)

from ovnbridge.model.resource import NODE, SUBNET
from ovnbridge.node import install
from ovnbridge.node.collect import Collector, orphans
from ovnbridge.node.names import nic_names


def routes() -> dict[str, dict[str, Any]]:
    """Routes on ovn0."""
    found = json.loads(run("ip", "-j", "route", "show", "dev", "ovn0")) + json.loads(
        run("ip", "-j", "-6", "route", "show", "dev", "ovn0")
    )
    return {route["dst"]: route for route in found}


def addresses() -> list[str]:
    """Addresses of ovn0 that are not link-local."""
    (link,) = json.loads(run("ip", "-j", "addr", "show", "dev", "ovn0"))
    return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"]


async def test_node_is_set_up(switch: Switch) -> None:
    async with Rig(switch) as rig:
        (link,) = json.loads(run("ip", "-j", "link", "show", "dev", "ovn0"))
        assert (link["address"], link["mtu"], link["txqlen"]) == ("0a:00:00:00:00:02", 1400, 1000)
        assert addresses() == ["100.64.0.2/16"]
        await eventually(lambda: "10.16.0.0/16" in routes())
        route = routes()["10.16.0.0/16"]
        assert (route["gateway"], route["prefsrc"], route["protocol"]) == ("100.64.0.1", "192.0.2.1", "static")
        ids = rig.local.external_ids()
        assert ids["ovn-encap-ip"] == ids["ovn-encap-ip-default"] == "192.0.2.1"
        assert ids["ovn-encap-csum"] == "true"
        bridge = rig.local.bridge("br-int")
        assert bridge is not None
        assert (bridge["fail_mode"], bridge["datapath_type"]) == ("secure", "netdev")
        row = rig.local.interface("ovn0")
        assert row is not None
        assert (row["external_ids"]["iface-id"], row["external_ids"]["ip"]) == ("node-n1", "100.64.0.2")
        conditions = [p for kind, _, p, sub in rig.api.patches if kind == "Node" and sub == "status"]
        (condition,) = conditions[0]["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("NetworkUnavailable", "False")
        assert condition["reason"] == "JoinSubnetGatewayReachable"


async def test_restart_writes_nothing_and_keeps_pods(switch: Switch) -> None:
    with Sandbox() as sandbox:
        async with Rig(switch) as rig:
            rig.set_pod(pod_object("p", annotations=address_annotations(40)))
            await rig.service.add(rig.request(sandbox, "p"))
        async with Rig(switch, keep=True) as rig:
            rig.set_pod(pod_object("p", annotations=address_annotations(40)))
            await rig.service.check(rig.request(sandbox, "p", "CHECK"))
            assert rig.local.transactions == 0
            host, _ = nic_names(sandbox.container_id, "eth0")
            await rig.service.add(rig.request(sandbox, "p"))
            assert rig.local.transactions == 0
            await rig.service.delete(rig.request(sandbox, "p", "DEL"))
            assert host not in str(rig.leftovers())


async def test_repairs(switch: Switch) -> None:
    async with Rig(switch):
        await eventually(lambda: "10.16.0.0/16" in routes())
        run("ip", "route", "del", "10.16.0.0/16", "dev", "ovn0")
        await eventually(lambda: "10.16.0.0/16" in routes(), what="route is back")
        run("ip", "route", "add", "203.0.113.0/24", "via", "100.64.0.1", "dev", "ovn0")
        await eventually(lambda: "203.0.113.0/24" not in routes(), what="unknown route is gone")
        run("ip", "addr", "del", "100.64.0.2/16", "dev", "ovn0")
        await eventually(lambda: addresses() == ["100.64.0.2/16"] and "10.16.0.0/16" in routes(), what="address")
        run("ip", "addr", "add", "100.64.9.9/16", "dev", "ovn0")
        await eventually(lambda: addresses() == ["100.64.0.2/16"], what="foreign address is gone")
        run("ip", "link", "set", "ovn0", "down")
        await eventually(lambda: addresses() == ["100.64.0.2/16"] and "10.16.0.0/16" in routes(), what="up again")
        switch.vsctl("del-port", "br-int", "ovn0")

        def back() -> bool:
            try:
                return addresses() == ["100.64.0.2/16"] and "10.16.0.0/16" in routes()
            except AssertionError:
                return False

        await eventually(back, what="ovn0 is back")


async def test_subnets_come_and_go(switch: Switch) -> None:
    async with Rig(switch) as rig:
        rig.cluster.apply(SUBNET, "more", subnet_object("more", "10.30.0.0/16"))
        await eventually(lambda: "10.30.0.0/16" in routes())
        rig.cluster.apply(SUBNET, "more", None)
        await eventually(lambda: "10.30.0.0/16" not in routes())


async def test_dual_stack_node(switch: Switch) -> None:
    async with Rig(switch) as rig:
        dual = node_object(
            ip_address="100.64.0.2,fd00:100:64::2",
            cidr="100.64.0.0/16,fd00:100:64::/112",
            gateway="100.64.0.1,fd00:100:64::1",
        )
        rig.cluster.apply(NODE, NODE_NAME, dual)
        rig.cluster.apply(SUBNET, "six", subnet_object("six", "fd00:10:16::/64"))
        await eventually(lambda: set(addresses()) == {"100.64.0.2/16", "fd00:100:64::2/112"})
        await eventually(lambda: "fd00:10:16::/64" in routes() and "fd00:100:64::/112" in routes())
        before = routes()
        transactions = rig.local.transactions
        rig.agent.host._dirty.set()
        await rig.agent.host.reconcile()
        assert routes() == before
        assert rig.local.transactions == transactions
        rig.cluster.apply(NODE, NODE_NAME, node_object())
        await eventually(lambda: addresses() == ["100.64.0.2/16"])


async def test_tunnel_address_follows_the_annotation(switch: Switch) -> None:
    async with Rig(switch) as rig:
        switch.vsctl("--may-exist", "add-br", "br-two", "--", "set", "bridge", "br-two", "datapath_type=netdev")
        run("ip", "link", "set", "br-two", "up", "mtu", "1450")
        node = node_object()
        notes = {**(node.metadata.annotations or {}), "ovn.kubernetes.io/tunnel_interface": "br-two"}
        node = msgspec.structs.replace(node, metadata=msgspec.structs.replace(node.metadata, annotations=notes))
        rig.cluster.apply(NODE, NODE_NAME, node)
        await eventually(lambda: "no usable address" in rig.agent.host.problems)
        assert rig.local.external_ids()["ovn-encap-ip"] == "192.0.2.1", "what was chosen before stands"
        run("ip", "addr", "add", "198.51.100.1/24", "dev", "br-two")
        await eventually(lambda: rig.local.external_ids()["ovn-encap-ip"] == "198.51.100.1")
        assert rig.agent.host.mtu == 1350
        notes["ovn.kubernetes.io/node_networks"] = '{"storage": "10.0.0.9"}'
        node = msgspec.structs.replace(node, metadata=msgspec.structs.replace(node.metadata, annotations=dict(notes)))
        rig.cluster.apply(NODE, NODE_NAME, node)
        await eventually(lambda: rig.local.external_ids()["ovn-encap-ip"] == "198.51.100.1,10.0.0.9")
        switch.vsctl("del-br", "br-two")


async def test_orphans_are_collected(switch: Switch) -> None:
    async with Rig(switch) as rig:
        with Sandbox() as sandbox:
            rig.set_pod(pod_object("p", annotations=address_annotations(50)))
            await rig.service.add(rig.request(sandbox, "p"))
            collector = Collector(
                cluster=rig.cluster, switch=rig.local, kernel=rig.agent.kernel, active=rig.service.active, grace=0.05
            )
            task = asyncio.create_task(collector.run())
            host, _ = nic_names(sandbox.container_id, "eth0")
            rig.cluster.apply(SUBNET, "x", None)
            await asyncio.wait((task,), timeout=0.2)
            assert rig.local.interface(host) is not None, "the pod is there"
            rig.drop_pod("p")
            await eventually(lambda: rig.local.interface(host) is None)
            await eventually(lambda: rig.leftovers() == ([], []))
            task.cancel()


def interface(name: str, *, error: str | None = None, **ids: str) -> dict[str, Any]:
    """An Interface row."""
    return {"name": name, "error": error, "external_ids": {"vendor": "kube-ovn", "pod_netns": "/n"} | ids}


def test_orphans() -> None:
    rows = [
        interface("mine_h", pod_name="p", pod_namespace="ns"),
        interface("gone_h", pod_name="q", pod_namespace="ns"),
        interface("busy_h", pod_name="q", pod_namespace="ns"),
        interface("unplugged_h", pod_name="p", pod_namespace="ns", error="could not open: No such device"),
        interface("nosandbox_h", pod_name="p", pod_namespace="ns", pod_netns="/removed"),
        interface("ovn0"),
        interface("foreign", vendor="other", pod_name="q", pod_namespace="ns"),
    ]
    found = orphans(rows, {("ns", "p")}, active={"busy_h"}, namespace_exists=lambda path: path == "/n")
    assert found == {"gone_h", "unplugged_h", "nosandbox_h"}


# ---- installation


def test_plugin_is_installed_in_one_step(tmp_path: Path) -> None:
    source = tmp_path / "built"
    source.write_bytes(b"#!plugin")
    target = tmp_path / "bin" / "kube-ovn"
    target.parent.mkdir()
    (tmp_path / "bin" / "kube-ovn.tmp.99999").write_text("half")
    assert install.install_plugin(source, target.parent)
    assert target.read_bytes() == b"#!plugin"
    assert target.stat().st_mode & 0o777 == 0o755
    assert [p.name for p in target.parent.iterdir()] == ["kube-ovn"]
    inode = target.stat().st_ino
    assert not install.install_plugin(source, target.parent)
    assert target.stat().st_ino == inode
    with pytest.raises(install.InstallError, match="make -C cni-shim"):
        install.install_plugin(tmp_path / "absent", target.parent)


def test_configuration_is_installed_once(tmp_path: Path) -> None:
    target = tmp_path / "net.d" / "01-kube-ovn.conflist"
    assert install.install_configuration(tmp_path / "absent", target, socket="/run/x.sock")
    assert target.stat().st_mode & 0o777 == 0o600
    conf = json.loads(target.read_bytes())
    assert (conf["name"], conf["cniVersion"]) == ("kube-ovn", "0.3.1")
    assert conf["plugins"][0] == {"type": "kube-ovn", "server_socket": "/run/x.sock"}
    target.write_text("the administrator's own")
    target.chmod(0o644)
    source = tmp_path / "source"
    source.write_text("other")
    assert not install.install_configuration(source, target, socket="/run/x.sock")
    assert target.read_text() == "the administrator's own"
    assert target.stat().st_mode & 0o777 == 0o600
    target.unlink()
    assert install.install_configuration(source, target, socket="/run/x.sock")
    assert target.read_text() == "other"
