"""`lab run` on a well-known application, and the lab on the real control plane."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ovnbridge.lab import Lab
from ovnbridge.lab.kubernetes import ALL, find_binaries
from ovnbridge.lab.show import run_manifests
from ovnbridge.model.resource import DEPLOYMENT, ENDPOINT_SLICE, NODE, POD

from .support import fake_calls, install_fake_network, pod, until

BOUTIQUE = Path(__file__).parents[2] / ".." / "shared" / "reference" / "apps" / "online-boutique.yaml"


@pytest_asyncio.fixture
async def real_lab() -> AsyncIterator[Lab]:
    if find_binaries(names=ALL) is None:
        pytest.skip("the real control plane is not built")
    async with Lab(kubernetes="real", controller=False, cni=False) as made:
        install_fake_network(made)
        yield made
        assert (await made.status())["failures"] == []


@pytest.mark.skipif(not BOUTIQUE.exists(), reason="the reference manifests are not here")
async def test_online_boutique_becomes_available_and_what_is_missing_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Lab(controller=False, cni=False) as lab:
        install_fake_network(lab)
        assert await run_manifests(lab, [os.fspath(BOUTIQUE)], 60)
        deployments = await lab.items(DEPLOYMENT, "default")
        assert len(deployments) == 12
        assert all(value["status"]["availableReplicas"] == 1 for value in deployments)
        assert (await lab.status())["failures"] == []
    told = capsys.readouterr().out
    for words in (
        "everything is available",
        "0 of 180 without answer",
        "container server: its gRPC readinessProbe is only a TCP connection",
        "a server that names the pod answers on TCP 8080",
        "init container frontend-check: its program does not complete within 15 s; it counts as done",
        "volumes are not mounted: redis-data",
        "no load balancer outside the cluster gives this Service an address (frontend-external)",
    ):
        assert words in told


@pytest.mark.real_kubernetes
async def test_the_lab_on_the_real_control_plane(real_lab: Lab) -> None:
    lab = real_lab
    assert len(await lab.items(NODE)) == 3
    await lab.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3", "--port=80")
    await lab.kubectl("expose", "deployment", "web")
    await lab.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert {value["spec"]["nodeName"] for value in await lab.items(POD, "default")} == set(lab.node_names)

    async def endpoints() -> bool:
        slices = await lab.items(ENDPOINT_SLICE, "default")
        return sum(len(value.get("endpoints") or ()) for value in slices if "web" in value["metadata"]["name"]) == 3

    await until(endpoints, "three endpoints")
    assert (await lab.ping_matrix()).ok
    await lab.kubectl("delete", "deployment", "web", "--wait")

    async def gone() -> bool:
        calls = [call for node in lab.node_names for call in fake_calls(lab, node)]
        return not await lab.items(POD, "default") and sum(call[0] == "DEL" for call in calls) >= 3

    await until(gone, "the pods are gone, on the nodes too", timeout=60)
    assert await lab.remote.sandboxes() == {}


@pytest.mark.real_kubernetes
async def test_the_real_api_server_is_killed_and_started(real_lab: Lab) -> None:
    lab = real_lab
    await lab.apply(pod("before"))
    await lab.wait_pods(timeout=30)
    api = lab.component("kube-apiserver")
    before = api.pid
    await api.kill(9)
    assert api.pid is None
    await api.start()
    assert api.pid not in {None, before}
    await lab.apply(pod("after"))
    await lab.wait_pods(timeout=60)
    assert {"default/before", "default/after"} <= set(await lab.remote.sandboxes())
