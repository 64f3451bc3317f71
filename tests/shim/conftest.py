"""Builds the CNI plug-in once a session. A compiler is required: without one the tests fail, they are not skipped."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shim_harness import SOURCE


def make(out: Path, *arguments: str) -> None:
    # A make that runs the tests must not pass its own flags down.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    command = ["make", "-C", str(SOURCE), f"OUT={out}", "WERROR=-Werror", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs the Makefile with its arguments; gives the directory of what it built."""

    def run_make(*arguments: str) -> Path:
        out = tmp_path_factory.mktemp("cni-shim")
        make(out, *(argument.format(out=out) for argument in arguments))
        return out

    return run_make


@pytest.fixture(scope="session")
def plugin(build: Callable[..., Path]) -> Path:
    return build() / "kube-ovn"


@pytest.fixture
def socket_path() -> Iterator[str]:
    """Short, unlike tmp_path: a unix socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="shim", ignore_cleanup_errors=True) as directory:
        yield f"{directory}/daemon.sock"
