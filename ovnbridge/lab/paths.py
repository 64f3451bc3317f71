"""Where a lab keeps its files: one short directory under /run, all that exists of it outside its namespaces.

Unix socket names may have 107 bytes, so the paths are kept below 60.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from ovnbridge.lab.errors import LabError

STATE_ROOT = Path("/run/ovnbridge-lab")


class LabPaths:
    """The files of one lab, by name."""

    def __init__(self, name: str) -> None:
        self.directory = STATE_ROOT / name
        self.lock = self.directory / "lock"
        self.options = self.directory / "options.json"
        self.pid = self.directory / "pid"
        self.control = self.directory / "control.sock"
        self.kubeconfig = self.directory / "kubeconfig"
        self.logs = self.directory / "logs"
        self.central = self.directory / "central"
        self.kubernetes = self.directory / "kubernetes"
        self.nodes_kubeconfig = self.directory / "nodes.kubeconfig"

    def node(self, name: str) -> Path:
        return self.directory / name

    def cni_configuration(self, node: str) -> Path:
        return self.node(node) / "cni" / "net.d"

    def cni_binaries(self, node: str) -> Path:
        return self.node(node) / "cni" / "bin"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"


def claim(paths: LabPaths) -> int:
    """Takes the lab's lock, cleans what a dead lab left, and returns the lock's descriptor.

    The descriptor is handed down to the supervisor: the lock is held exactly as long as the lab lives, however it ends.
    """
    while True:
        try:
            paths.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # removed by the end of the former lab of this name, just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LabError(f"lab {paths.directory.name} is already up (see `ovnbridge lab status`)") from None
        if paths.lock.exists() and os.path.samestat(os.fstat(descriptor), os.stat(paths.lock)):
            _empty(paths)
            return descriptor
        os.close(descriptor)


def alive(paths: LabPaths) -> bool:
    """Whether somebody holds the lock: a lab that is up, coming up or going down."""
    try:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(paths: LabPaths) -> None:
    """Removes what a lab that has ended left; does nothing to one that lives or that takes its place right now."""
    if not paths.directory.exists():
        with contextlib.suppress(OSError):  # absent, or other labs are there
            STATE_ROOT.rmdir()
        return
    try:
        descriptor = claim(paths)
    except LabError:
        return
    # The lock goes last: who makes it anew from then on finds an empty directory.
    _empty(paths)
    paths.lock.unlink(missing_ok=True)
    for directory in (paths.directory, STATE_ROOT):
        try:
            directory.rmdir()
        except OSError:  # taken by the next lab of this name, or other labs are there
            break
    os.close(descriptor)


def remove_stale() -> list[str]:
    """Removes the directories of labs that died without a chance to do so; returns their names."""
    found = [LabPaths(directory.name) for directory in STATE_ROOT.iterdir()] if STATE_ROOT.exists() else []
    dead = [paths for paths in found if not alive(paths)]
    for paths in dead:
        remove(paths)
    return [paths.directory.name for paths in dead]


def lab_names() -> list[str]:
    """The labs that live on this machine."""
    if not STATE_ROOT.exists():
        return []
    return sorted(directory.name for directory in STATE_ROOT.iterdir() if alive(LabPaths(directory.name)))


def _empty(paths: LabPaths) -> None:
    for entry in paths.directory.iterdir():
        if entry == paths.lock:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
