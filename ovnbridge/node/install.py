"""Puts the CNI plug-in and its configuration where the container runtime looks for them (spec A1). Blocking.

Everything appears in one step: a temporary file beside the target, then a rename.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CONFIG_MODE: Final = 0o600
BINARY_MODE: Final = 0o755
PLUGIN_NAME: Final = "kube-ovn"


class InstallError(Exception):
    """Something that is to be installed does not exist."""


def default_shim() -> Path | None:
    """The plug-in binary: beside the package, or in the build directory of a source tree."""
    package = Path(__file__).resolve().parent.parent
    for path in (package / "bin" / PLUGIN_NAME, package.parent / "build" / "cni-shim" / PLUGIN_NAME):
        if path.is_file():
            return path
    return None


def install_plugin(source: Path, directory: Path) -> bool:
    """Install the plug-in binary; False when it is there already. Raises InstallError, OSError."""
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        raise InstallError(f"CNI plug-in {source} does not exist; build it with `make -C cni-shim`") from None
    target = directory / PLUGIN_NAME
    _remove_leftovers(target)
    with contextlib.suppress(OSError):
        if target.read_bytes() == content and target.stat().st_mode & 0o777 == BINARY_MODE:
            return False
    _write(target, content, BINARY_MODE)
    return True


def install_configuration(source: Path, target: Path, *, socket: str) -> bool:
    """Install the network configuration, ours when `source` does not exist; an existing one only gets its mode.

    True when it was written. Raises OSError.
    """
    _remove_leftovers(target)
    if target.exists():
        if target.stat().st_mode & 0o777 != CONFIG_MODE:
            target.chmod(CONFIG_MODE)
        return False
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        content = default_configuration(socket)
    _write(target, content, CONFIG_MODE)
    return True


def default_configuration(socket: str) -> bytes:
    """The configuration that Kube-OVN's image carries."""
    plugins = [
        {"type": PLUGIN_NAME, "server_socket": socket},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"name": PLUGIN_NAME, "cniVersion": "0.3.1", "plugins": plugins}, indent=4).encode() + b"\n"


def enable_forwarding(pod_ips: Iterable[str]) -> list[str]:
    """Let the node route for its pods, for the families that it has; returns what could not be set."""
    wanted: dict[str, str] = {}
    for ip in pod_ips:
        if ":" in ip:
            wanted["ipv6/conf/all/forwarding"] = "1"
        else:
            wanted |= {"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "0"}
    failed = []
    for name, value in wanted.items():
        path = Path("/proc/sys/net", name)
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            failed.append(f"{name}: {error.strerror}")
    return failed


def _write(target: Path, content: bytes, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.tmp.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, target)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _remove_leftovers(target: Path) -> None:
    """Temporary files of an installation that was interrupted."""
    for path in glob.glob(f"{glob.escape(str(target))}.tmp.*"):
        with contextlib.suppress(OSError):
            os.unlink(path)
