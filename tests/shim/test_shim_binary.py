"""The file that goes to the host: small, static, needing nothing; and the other ways to build it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from shim_harness import ADD, RESULT, SOURCE, FakeDaemon, config, reply, request, run

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
EXECUTABLE, WRITABLE = 1, 2


def program_headers(elf: bytes) -> list[tuple[int, int]]:
    """(type, flags) of each segment of a 64-bit little-endian file."""
    assert elf[:6] == b"\x7fELF\x02\x01"
    (offset,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    return [struct.unpack_from("<II", elf, offset + i * size) for i in range(count)]


def check_file(binary: Path) -> None:
    assert binary.stat().st_size < 100 * 1024
    segments = program_headers(binary.read_bytes())
    types = {kind for kind, _ in segments}
    assert PT_LOAD in types
    assert not types & {PT_INTERP, PT_DYNAMIC}
    assert [flags & EXECUTABLE for kind, flags in segments if kind == PT_GNU_STACK] == [0]
    assert not any(kind == PT_LOAD and flags & EXECUTABLE and flags & WRITABLE for kind, flags in segments)


async def check_behaviour(program: Path, socket_path: str, *arguments: str) -> None:
    """Passes through every system call: a long exchange, no daemon, an error before it is asked."""
    body = config(socket_path, big="x" * 1_000_000)
    large = b'{"x":"' + b"y" * 1_000_000 + b'"}'
    async with FakeDaemon(socket_path, reply=reply(body=large)) as daemon:
        (await run(program, ADD, body, *arguments)).succeeds(large)
        assert daemon.requests == [request(ADD, body)]
    (await run(program, ADD, config(socket_path), *arguments)).rpc_failed("no such file or directory")
    bad = ADD | {"CNI_IFNAME": "a/b"}
    (await run(program, bad, config(socket_path), *arguments)).fails(4, "invalid environment variables")


def test_small_and_static(plugin: Path) -> None:
    check_file(plugin)


async def test_runs_in_an_empty_root(plugin: Path, socket_path: str) -> None:
    """No file of the host is needed, not even a library or a time zone."""
    unshare = shutil.which("unshare")
    if not unshare or (await run(Path(unshare), {}, b"", "--root", "/", "/bin/true")).status != 0:
        pytest.skip("needs the right to change the root directory")
    directory = Path(socket_path).parent
    shutil.copy(plugin, directory / "kube-ovn")
    async with FakeDaemon(socket_path):
        outcome = await run(Path(unshare), ADD, config("/daemon.sock"), "--root", str(directory), "/kube-ovn")
    outcome.succeeds(RESULT)


async def test_through_libc(build: Callable[..., Path], socket_path: str) -> None:
    """The way for other architectures. Its size is libc's."""
    binary = build("LIBC=1") / "kube-ovn"
    assert PT_INTERP not in {kind for kind, _ in program_headers(binary.read_bytes())}
    await check_behaviour(binary, socket_path)


async def test_with_clang(build: Callable[..., Path], socket_path: str) -> None:
    if not shutil.which("clang"):
        pytest.skip("no clang")
    binary = build("CC=clang") / "kube-ovn"
    check_file(binary)
    await check_behaviour(binary, socket_path)


async def test_on_aarch64(build: Callable[..., Path], socket_path: str) -> None:
    compiler, emulator = "aarch64-linux-gnu-gcc", shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not shutil.which(compiler):
        pytest.skip("no cross compiler")
    binary = build(f"CC={compiler}") / "kube-ovn"
    check_file(binary)
    if emulator:
        await check_behaviour(Path(emulator), socket_path, str(binary))


async def test_under_valgrind(plugin: Path, socket_path: str) -> None:
    valgrind = shutil.which("valgrind")
    if not valgrind:
        pytest.skip("no valgrind")
    await check_behaviour(Path(valgrind), socket_path, "-q", "--error-exitcode=99", str(plugin))


def test_the_fuzz_target(build: Callable[..., Path]) -> None:
    """The sanitizers and the properties in fuzz.c hold for the corpus and 200 000 mutations of it."""
    out = build("{out}/fuzz")
    command: list[str | Path] = [
        out / "fuzz",
        "--runs",
        "200000",
        "--seed",
        "1",
        "--crash",
        out / "crash",
        SOURCE / "corpus",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no failure" in done.stdout
