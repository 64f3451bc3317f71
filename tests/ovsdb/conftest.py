"""Fixtures: servers in short temporary directories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import ovsdb


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    with ovsdb.directory() as path:
        yield path


@pytest.fixture
def nb(short_tmp: Path) -> Iterator[ovsdb.Server]:
    """A standalone northbound database."""
    server = ovsdb.Server.standalone(short_tmp)
    yield server
    server.kill()


@pytest.fixture
def cluster(short_tmp: Path) -> Iterator[ovsdb.Cluster]:
    """A northbound raft cluster of three."""
    members = ovsdb.Cluster(short_tmp)
    yield members
    members.stop()


@pytest.fixture
def standalone(short_tmp: Path) -> Iterator[Callable[[Path], ovsdb.Server]]:
    """Starts a standalone server with a given schema."""
    servers: list[ovsdb.Server] = []

    def start(schema: Path) -> ovsdb.Server:
        servers.append(ovsdb.Server.standalone(short_tmp, schema))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
