"""Backends and clients for the tests of the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from api_harness import (
    Backend,
    Client,
    embedded_backend,
    eventually,
    in_thread,
    real_backend,
    unique,
    widget_crd,
)

from ovnbridge.lab.api import ApiServer
from tests.support import ovsdb


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("real", marks=pytest.mark.real_kubernetes)],
)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    directory = tmp_path_factory.mktemp("backend")
    if request.param == "embedded":
        with in_thread(lambda: embedded_backend(directory)) as started:
            yield started
        return
    import os

    if not os.environ.get("OVNBRIDGE_REAL_KUBECONFIG"):
        from ovnbridge.lab.kubernetes import find_binaries

        if find_binaries() is None:
            pytest.skip("the real control plane is not built: run `make kube`")
    with in_thread(lambda: real_backend(directory)) as started:
        yield started


@pytest.fixture
async def api(backend: Backend) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(backend, session)


@pytest.fixture
async def ns(api: Client) -> AsyncIterator[str]:
    name = unique("ns")
    made = await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    assert made.code == 201, made.body
    yield name
    await api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
async def group(api: Client) -> AsyncIterator[str]:
    """An API group with the Widget resource, served."""
    name = f"{unique('g')}.example.com"
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = await api.post(crds, widget_crd(name))
    assert made.code == 201, made.body

    async def served() -> bool:
        return (await api.get(f"/apis/{name}/v1/widgets")).code == 200

    await eventually(served, "the CRD is served")
    yield name
    await api.delete(f"{crds}/widgets.{name}")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    """An embedded server in the loop of the test, for what only it can do."""
    started = ApiServer()
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def client(server: ApiServer, tmp_path) -> AsyncIterator[Client]:  # type: ignore[no-untyped-def]
    async with aiohttp.ClientSession() as session:
        yield Client(Backend("embedded", server.url, tmp_path), session)


@pytest.fixture
def short() -> Iterator[Path]:
    with ovsdb.directory() as path:
        yield path


@pytest.fixture
def northbound(short: Path) -> Iterator[ovsdb.Server]:
    """A standalone northbound database."""
    (short / "nb").mkdir()
    server = ovsdb.Server.standalone(short / "nb")
    yield server
    server.kill()
