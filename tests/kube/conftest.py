"""Fixtures: the embedded API server and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ovnbridge.kube.connection import Connection
from ovnbridge.lab.api import ApiServer


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
