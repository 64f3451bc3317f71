"""What the plug-in makes of the daemon: good replies, bad ones, and none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from aiohttp import web
from shim_harness import ADD, MEBIBYTE, RESULT, FakeDaemon, Outcome, config, read_request, reply, request, run

NEAR_TIMEOUT = ADD | {"OVNBRIDGE_CNI_TIMEOUT": "1"}
ERROR = b'{"cniVersion":"0.3.1","code":11,"msg":"no address allocated","details":"\xc3\xa9"}\n'


async def ask(plugin: Path, path: str, answer: bytes, command: str = "ADD") -> Outcome:
    async with FakeDaemon(path, reply=answer):
        return await run(plugin, ADD | {"CNI_COMMAND": command}, config(path))


# ---- good replies ----


async def test_the_body_of_a_200_goes_out_unchanged(plugin: Path, socket_path: str) -> None:
    body = b' {"ips" : [1.50, "\\u00e9\xc3\xa9"]}\r\n'
    (await ask(plugin, socket_path, reply(body=body))).succeeds(body)


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Internal Server Error", "500", "500 "])
async def test_an_error_of_the_daemon_goes_out_unchanged(plugin: Path, socket_path: str, status: str) -> None:
    outcome = await ask(plugin, socket_path, reply(status, ERROR))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (1, ERROR, b"")


@pytest.mark.parametrize("command", ["DEL", "CHECK", "STATUS", "GC"])
async def test_an_empty_body_is_enough_where_there_is_no_result(plugin: Path, socket_path: str, command: str) -> None:
    (await ask(plugin, socket_path, reply(body=b""), command)).succeeds(b"")


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nServer: y\r\nConnection: close\r\n",
        "HTTP/1.0 200\r\n",
        "HTTP/1.1 200 \r\nX-Empty:\r\nCONTENT-type:\tx\r\n",
        f"HTTP/1.1 200 OK\r\ncontent-LENGTH: \t{len(RESULT)} \t\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {len(RESULT)}\r\nContent-Length: 0{len(RESULT)}\r\n",
    ],
)
async def test_forms_of_the_head(plugin: Path, socket_path: str, head: str) -> None:
    """Without a Content-Length the body lasts until the daemon closes."""
    (await ask(plugin, socket_path, head.encode() + b"\r\n" + RESULT)).succeeds(RESULT)


async def test_the_largest_reply(plugin: Path, socket_path: str) -> None:
    body = b'{"x":"' + b"y" * (MEBIBYTE - 8) + b'"}'
    head = b"HTTP/1.1 200 OK\r\nX: "
    head += b"z" * (16 * 1024 - len(head) - 4) + b"\r\n\r\n"
    assert (len(head), len(body)) == (16 * 1024, MEBIBYTE)
    (await ask(plugin, socket_path, head + body)).succeeds(body)  # without a Content-Length
    (await ask(plugin, socket_path, reply(body=body))).succeeds(body)


async def test_a_real_http_server(plugin: Path, socket_path: str) -> None:
    """What the daemon is made with, with its largest request and its way to write replies."""

    async def answer(incoming: web.Request) -> web.Response:
        text = await incoming.text()
        names = [name for name in incoming.headers if name.startswith("Cni-")]
        return web.json_response({"length": len(text), "headers": {name: incoming.headers[name] for name in names}})

    application = web.Application(client_max_size=2 * MEBIBYTE)
    application.router.add_post("/cni/v1", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, socket_path).start()
    environment = ADD | {"CNI_ARGS": "K8S_POD_NAME=é;X=" + "y" * 4000, "CNI_PATH": "/" * 4096}
    outcome = await run(plugin, environment, config(socket_path).ljust(MEBIBYTE))
    await runner.cleanup()
    assert outcome.status == 0
    headers = {f"Cni-{name[4:].capitalize()}": value for name, value in environment.items()}
    assert json.loads(outcome.stdout) == {"length": MEBIBYTE, "headers": headers}


async def test_byte_by_byte(plugin: Path, socket_path: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in reply():
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)

    async with FakeDaemon(socket_path, handler=handler):
        (await run(plugin, ADD, config(socket_path))).succeeds(RESULT)


async def test_a_complete_reply_ends_the_exchange(plugin: Path, socket_path: str) -> None:
    """The daemon need not close, and what comes after the body does not matter."""
    done = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply() + b"HTTP/1.1 500 late")
        await done.wait()

    async with FakeDaemon(socket_path, handler=handler):
        (await run(plugin, ADD, config(socket_path))).succeeds(RESULT)
        done.set()


async def test_a_reply_before_the_request_is_read(plugin: Path, socket_path: str) -> None:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply("400 Bad Request", ERROR))
        await writer.drain()

    async with FakeDaemon(socket_path, handler=handler):
        outcome = await run(plugin, ADD, config(socket_path, big="x" * 1_000_000))
    assert (outcome.status, outcome.stdout) == (1, ERROR)


async def test_a_reply_while_the_request_is_not_read(plugin: Path, socket_path: str) -> None:
    """The daemon stays connected, so no broken pipe ends the sending."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path)
        listener.listen()
        listener.setblocking(False)
        running = asyncio.create_task(run(plugin, ADD, config(socket_path, big="x" * 1_000_000)))
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        with connection:
            connection.sendall(reply("400 Bad Request", ERROR))
            outcome = await running
    assert (outcome.status, outcome.stdout) == (1, ERROR)


# ---- bad replies ----

BAD_REPLIES = [
    (b"", "the connection was closed without one"),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "truncated"),
    (reply()[:-1], "truncated"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "truncated"),
    (b"HTTP/1.1 200 OK\r\n\r\n" + RESULT[:-1], "not a JSON object"),
    (b"\0\1\2\3" * 1000, "not HTTP"),
    (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
    (b"\r\n\r\n", "not HTTP"),
    (b"HTTP/2.0 200 OK\r\n\r\n{}", "not HTTP"),
    (b"HTTP/1.1  200 OK\r\n\r\n{}", "not HTTP"),
    (b"HTTP/1.1 20 OK\r\n\r\n{}", "not HTTP"),
    (b"HTTP/1.1 2000 OK\r\n\r\n{}", "not HTTP"),
    (b"HTTP/1.1 200 O\0K\r\n\r\n{}", "not HTTP"),
    (b"HTTP/1.1 200 OK\n\n{}", "truncated"),
    (b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\nA: b\r\rC: d\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\nA b\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\n: b\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n{}", "malformed header"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n{}", "malformed Content-Length"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", "malformed Content-Length"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}", "malformed Content-Length"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "two Content-Lengths"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "too large"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\n{}", "too large"),
    (reply(body=b'{"x":"' + b"y" * (2 * MEBIBYTE) + b'"}'), "too large"),
    (b'HTTP/1.1 200 OK\r\n\r\n{"x":"' + b"y" * (2 * MEBIBYTE) + b'"}', "too large"),
    (b'HTTP/1.1 200 OK\r\n\r\n{"x":"' + b"y" * (MEBIBYTE - 7) + b'"}', "too large"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n{}", "head is too large"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000, "head is too large"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + reply(), "status is unknown (HTTP status 100)"),
    (reply("204 No Content", b""), "status is unknown (HTTP status 204)"),
    (reply("201 Created"), "status is unknown (HTTP status 201)"),
    (reply("302 Found"), "status is unknown (HTTP status 302)"),
    (reply("404 Not Found", b"404: Not Found"), "status is unknown (HTTP status 404)"),
    (reply("503 Service Unavailable", ERROR), "status is unknown (HTTP status 503)"),
    (reply(body=b""), "it is empty (HTTP status 200)"),
    (reply("500 x", b""), "it is empty (HTTP status 500)"),
    (reply(body=b"[]"), "not a JSON object"),
    (reply(body=b"{}{}"), "not a JSON object"),
    (reply(body=b'{"a":"\xff"}'), "not a JSON object"),
    (
        reply("500 x", b"500 Internal Server Error\n\nServer got itself in trouble"),
        "not a JSON object (HTTP status 500)",
    ),
]


@pytest.mark.parametrize(("answer", "details"), BAD_REPLIES, ids=lambda value: repr(value[:60]))
async def test_bad_reply(plugin: Path, socket_path: str, answer: bytes, details: str) -> None:
    (await ask(plugin, socket_path, answer)).rpc_failed(f"reply from {socket_path}", details)


async def test_an_empty_error_is_no_success_for_del_either(plugin: Path, socket_path: str) -> None:
    (await ask(plugin, socket_path, reply("500 x", b""), "DEL")).rpc_failed("it is empty")


@pytest.mark.parametrize(
    "answer",
    [b"garbage", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9999],
)
async def test_a_hopeless_reply_is_not_waited_for(plugin: Path, socket_path: str, answer: bytes) -> None:
    done = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await done.wait()

    async with FakeDaemon(socket_path, handler=handler):
        (await run(plugin, ADD, config(socket_path))).rpc_failed(f"reply from {socket_path}")
        done.set()


async def test_the_daemon_closes_at_once(plugin: Path, socket_path: str) -> None:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with FakeDaemon(socket_path, handler=handler):
        for size in (0, 1_000_000):
            (await run(plugin, ADD, config(socket_path, big="x" * size))).rpc_failed(socket_path)


# ---- no reply ----


async def test_no_socket(plugin: Path, socket_path: str) -> None:
    outcome = await run(plugin, ADD, config(socket_path, cniVersion="1.0.0"))
    assert outcome.error() == {
        "cniVersion": "1.0.0",
        "code": 11,
        "msg": "RPC failed",
        "details": f"connect to {socket_path}: no such file or directory",
    }


async def test_nobody_listens(plugin: Path, socket_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path)
    (await run(plugin, ADD, config(socket_path))).rpc_failed(f"connect to {socket_path}: connection refused")


async def test_not_a_stream_socket(plugin: Path, socket_path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(socket_path)
        (await run(plugin, ADD, config(socket_path))).rpc_failed(f"connect to {socket_path}: not a stream socket")


async def test_a_file_in_the_way(plugin: Path, socket_path: str) -> None:
    Path(socket_path).touch()
    (await run(plugin, ADD, config(f"{socket_path}/x"))).rpc_failed("not a directory")


async def hang_with_backlog_full(plugin: Path, path: str) -> Outcome:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        return await run(plugin, NEAR_TIMEOUT, config(path))


async def hang_without_reading(plugin: Path, path: str) -> Outcome:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        return await run(plugin, NEAR_TIMEOUT, config(path, big="x" * 1_000_000))


async def hang_without_reply(plugin: Path, path: str) -> Outcome:
    done = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await done.wait()

    async with FakeDaemon(path, handler=handler):
        outcome = await run(plugin, NEAR_TIMEOUT, config(path))
        done.set()
    return outcome


async def hang_in_the_reply(plugin: Path, path: str) -> Outcome:
    """Each byte is in time; the whole is not."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with FakeDaemon(path, handler=handler):
        return await run(plugin, NEAR_TIMEOUT, config(path))


async def hang_on_stdin(plugin: Path, path: str) -> Outcome:
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(plugin, env=NEAR_TIMEOUT, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(config(path))
    stdout, stderr = await process.stdout.read(), await process.stderr.read()
    return Outcome(await process.wait(), stdout, stderr)


async def test_the_time_is_bounded(plugin: Path, socket_path: str) -> None:
    hangs = [hang_with_backlog_full, hang_without_reading, hang_without_reply, hang_in_the_reply, hang_on_stdin]
    started = time.monotonic()
    async with asyncio.timeout(20):
        *outcomes, on_stdin = await asyncio.gather(*(hang(plugin, f"{socket_path}{i}") for i, hang in enumerate(hangs)))
    assert 1 <= time.monotonic() - started < 10
    for i, outcome in enumerate(outcomes):
        outcome.rpc_failed(f"{socket_path}{i}: timed out after 1 s")
    on_stdin.fails(5, "I/O failure", "read stdin: timed out after 1 s")


def state_of(process: asyncio.subprocess.Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


async def wait_for_state(process: asyncio.subprocess.Process, *states: str) -> None:
    async with asyncio.timeout(10):
        while state_of(process) not in states:
            await asyncio.sleep(0.005)


async def stop_and_continue(process: asyncio.subprocess.Process) -> None:
    """Makes the system call that the process waits in return EINTR, where it can."""
    for _ in range(3):
        await wait_for_state(process, "S")
        process.send_signal(signal.SIGSTOP)
        await wait_for_state(process, "T")
        process.send_signal(signal.SIGCONT)
    await wait_for_state(process, "S")


async def test_a_full_backlog_is_waited_for_and_interrupts_are_survived(
    plugin: Path, socket_path: str, tmp_path: Path
) -> None:
    """A burst of pods must not be refused only because the daemon is busy."""
    conf = tmp_path / "conf"
    conf.write_bytes(config(socket_path))
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting, conf.open("rb") as stdin:
        listener.bind(socket_path)
        listener.listen(0)
        waiting.connect(socket_path)
        listener.setblocking(False)
        process = await asyncio.create_subprocess_exec(plugin, env=ADD, stdin=stdin, stdout=subprocess.PIPE)
        await stop_and_continue(process)  # in connect
        first, _ = await loop.sock_accept(listener)
        first.close()
        second, _ = await loop.sock_accept(listener)
        second.setblocking(False)
        with second:
            await stop_and_continue(process)  # in poll
            expected = request(ADD, conf.read_bytes())
            received = b""
            while len(received) < len(expected):
                received += await loop.sock_recv(second, 65536)
            assert received == expected
            await loop.sock_sendall(second, reply())
            stdout, _ = await process.communicate()
    assert (process.returncode, stdout) == (0, RESULT)


# ---- stdout and stdin ----


async def test_a_non_blocking_stdout_that_is_full(plugin: Path, socket_path: str) -> None:
    body = b'{"x":"' + b"y" * 1_000_000 + b'"}'
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    async with FakeDaemon(socket_path, reply=reply(body=body)):
        process = await asyncio.create_subprocess_exec(plugin, env=ADD, stdin=subprocess.PIPE, stdout=write_end)
        os.close(write_end)
        assert process.stdin is not None
        process.stdin.write(config(socket_path))
        process.stdin.close()

        def read_all() -> bytes:
            with open(read_end, "rb") as pipe:
                return pipe.read()

        assert await asyncio.to_thread(read_all) == body
        assert await process.wait() == 0


async def test_nobody_reads_stdout(plugin: Path, socket_path: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    async with FakeDaemon(socket_path):
        outcome = await run(plugin, ADD, config(socket_path), stdout=write_end)
    os.close(write_end)
    assert outcome.status == 1  # and not killed by SIGPIPE


async def test_closed_descriptors(plugin: Path, socket_path: str) -> None:
    async def shell(command: str) -> Outcome:
        return await run(Path("/bin/sh"), ADD, config(socket_path), "-c", command, "sh", str(plugin))

    (await shell('exec "$1" <&-')).fails(5, "I/O failure", "read stdin: bad file descriptor")
    (await shell('exec "$1" </')).fails(5, "I/O failure", "read stdin: is a directory")

    # The socket must not become descriptor 1: the answer would go to the daemon.
    received = asyncio.get_running_loop().create_future()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head_and_body = await read_request(reader)
        writer.write(reply())
        received.set_result((head_and_body, await reader.read()))

    async with FakeDaemon(socket_path, handler=handler):
        outcome = await shell('exec "$1" >&- 2>&-')
        assert await received == (request(ADD, config(socket_path)), b"")
    assert (outcome.status, outcome.stdout) == (1, b"")


async def test_a_hundred_at_once(plugin: Path, socket_path: str) -> None:
    def body(i: int) -> bytes:
        return b'{"n":%d}' % i

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await read_request(reader)
        identity = received.partition(b"Cni-Containerid: c")[2].partition(b"\r\n")[0]
        await asyncio.sleep(0.01)
        writer.write(reply(body=body(int(identity))))
        await writer.drain()

    async with FakeDaemon(socket_path, handler=handler):
        outcomes = await asyncio.gather(
            *(run(plugin, ADD | {"CNI_CONTAINERID": f"c{i}"}, config(socket_path)) for i in range(100))
        )
    for i, outcome in enumerate(outcomes):
        outcome.succeeds(body(i))
