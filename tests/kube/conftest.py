"""Fixtures: the embedded API server and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from ovnbridge.kube.connection import Connection
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.resource import CUSTOM_RESOURCE_DEFINITION


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start(host="127.0.0.1", port=0)
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def connection(server: ApiServer) -> AsyncIterator[Connection]:
    connection = await Connection.open(kubeconfig=server.kubeconfig())
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest_asyncio.fixture
async def custom(connection: Connection) -> Connection:
    """A connection to a server that has the kinds of `kubeovn.io`."""
    for file in sorted(Path("manifests/crds").glob("*.yaml")):
        await connection.create(CUSTOM_RESOURCE_DEFINITION, "", yaml.safe_load(file.read_text()))
    return connection
