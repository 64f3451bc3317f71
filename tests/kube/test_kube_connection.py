"""`connection` and `credentials`: every failure is an ApiError, tokens stay fresh, and no environment leaks in."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from aiohttp import web
from kube_harness import config, pod_body, status

from ovnbridge.kube import credentials as credentials_module
from ovnbridge.kube.connection import ApiError, Connection, encode
from ovnbridge.lab.api import ApiServer
from ovnbridge.lab.certificates import CertificateAuthority
from ovnbridge.model.resource import NODE, POD

Handler = Callable[[web.Request], Any]


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        result = handler(request)  # type: ignore[arg-type]
        return await result if asyncio.iscoroutine(result) else result

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(handler: Handler, user: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Connection]:
    async with serving(handler) as url:
        kubeconfig = config(url)
        if user is not None:
            kubeconfig["users"][0]["user"] = user
        connection = await Connection.open(kubeconfig=kubeconfig, **options)
        try:
            yield connection
        finally:
            await connection.close()


async def refusal(connection: Connection, **options: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await connection.request("GET", "/x", **options)
    return caught.value


async def test_the_verbs(connection: Connection) -> None:
    created = await connection.create(POD, "default", pod_body("a"))
    assert (await connection.get(POD, "default", "a"))["metadata"]["uid"] == created["metadata"]["uid"]
    assert len((await connection.list(POD, "default", params={"limit": 5}))["items"]) == 1
    await connection.create(POD, "default", pod_body("b"), dry_run=True)
    assert len((await connection.list(POD))["items"]) == 1
    await connection.patch(POD, "default", "a", {"metadata": {"labels": {"m": "1"}}})
    await connection.patch(POD, "default", "a", {"metadata": {"labels": {"s": "1"}}}, kind="strategic")
    await connection.patch(
        POD, "default", "a", [{"op": "add", "path": "/metadata/labels/j", "value": "1"}], kind="json"
    )
    await connection.patch(
        POD,
        "default",
        "a",
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"p": "1"}}},
        kind="apply",
        params={"fieldManager": "test"},
    )
    await connection.patch(POD, "default", "a", {"status": {"podIP": "10.0.0.1"}}, subresource="status")
    pod = await connection.get(POD, "default", "a")
    assert pod["metadata"]["labels"] == {"m": "1", "s": "1", "j": "1", "p": "1"}
    assert pod["status"]["podIP"] == "10.0.0.1"
    pod["metadata"]["labels"] = {}
    await connection.replace(POD, "default", "a", pod)
    with pytest.raises(ApiError) as caught:
        await connection.replace(POD, "default", "a", pod)
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError) as caught:
        await connection.delete(POD, "default", "a", uid="another")
    assert caught.value.status == 409
    await connection.delete(POD, "default", "a", uid=pod["metadata"]["uid"], grace=0, propagation="Background")
    with pytest.raises(ApiError) as caught:
        await connection.get(POD, "default", "a")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb", "a?b", "a#b", "a b", "a\n"])
async def test_names_that_mean_something_else_are_not_sent(
    server: ApiServer, connection: Connection, name: str
) -> None:
    for place in ((POD, "default", name), (POD, name, "a"), (NODE, "", name)):
        with pytest.raises(ApiError) as caught:
            await connection.delete(*place)
        assert caught.value.status == 400
    assert not server.requests


async def test_names_with_colons_are_names(connection: Connection) -> None:
    with pytest.raises(ApiError) as caught:
        await connection.get(NODE, "", "system:node:n1")
    assert caught.value.status == 404


def answer(code: int, body: Any, **headers: str) -> Handler:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        return lambda request: web.json_response(body, status=code, headers=names)
    return lambda request: web.Response(body=body, status=code, headers=names)


async def test_a_status_becomes_an_error() -> None:
    body = status(429, "TooManyRequests", message="slow down", details={"retryAfterSeconds": 3})
    async with connected(answer(429, body)) as connection:
        error = await refusal(connection)
        assert (error.status, error.reason, error.message, error.retry_after) == (
            429,
            "TooManyRequests",
            "slow down",
            3,
        )
    async with connected(answer(429, body, Retry_After="9")) as connection:
        assert (await refusal(connection)).retry_after == 9
    async with connected(answer(503, body, Retry_After="Wed, 21 Oct 2030 07:28:00 GMT")) as connection:
        error = await refusal(connection)
        assert (error.status, error.retry_after) == (503, 3)


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"\xff\xfe", b"[1]", b'{"kind":"Pod"}'])
async def test_a_proxys_page_becomes_an_error(body: bytes) -> None:
    async with connected(answer(502, body)) as connection:
        error = await refusal(connection)
        assert (error.status, error.reason) == (502, "BadGateway")


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b"\xff"])
async def test_a_reply_that_is_no_object_is_no_answer(body: bytes) -> None:
    async with connected(answer(200, body)) as connection:
        with pytest.raises(ApiError) as caught:
            await connection.get(NODE, "", "n")
        assert caught.value.unreachable


async def test_redirects_are_not_followed() -> None:
    async with connected(answer(302, b"", Location="http://elsewhere/")) as connection:
        assert (await refusal(connection)).status == 302


async def test_no_server_slow_server_and_cut_connection_are_unreachable() -> None:
    connection = await Connection.open(server="http://127.0.0.1:1", kubeconfig=config("http://127.0.0.1:1"))
    assert (await refusal(connection)).reason == "Unreachable"
    await connection.close()

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with connected(slow, timeout=0.1) as connection:
        assert (await refusal(connection)).unreachable
        assert (await refusal(connection, timeout=0.05)).unreachable

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with connected(cut) as connection:
        assert (await refusal(connection)).unreachable


async def test_a_silent_stream_ends_at_its_idle_time() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"a":1}\n\n{"b":')
        await asyncio.sleep(5)
        return response

    lines = []
    async with connected(silent) as connection:
        with pytest.raises(ApiError) as caught:
            async for line in connection.stream("/x", {}, idle_timeout=0.2):
                lines.append(line)
    assert caught.value.unreachable
    assert lines == [b'{"a":1}']


async def test_requests_are_reported_for_metrics() -> None:
    seen: list[tuple[str, int]] = []
    async with serving(answer(404, status(404, "NotFound"))) as url:
        connection = await Connection.open(
            kubeconfig=config(url), on_request=lambda method, code, seconds: seen.append((method, code))
        )
        await refusal(connection)
        await connection.close()
    assert seen == [("GET", 404)]


def test_bodies_of_any_integer_and_mapping() -> None:
    assert encode({"a": MappingProxyType({"n": 2**100}), "t": (1, 2)}) == b'{"a":{"n":%d},"t":[1,2]}' % 2**100
    with pytest.raises(TypeError):
        encode({"a": object()})


# ---- credentials


async def test_a_token_a_password_and_nothing() -> None:
    seen: list[str | None] = []

    def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=b"{}")

    for user in ({"token": "secret"}, {"username": "u", "password": "p"}, {}):
        async with connected(handler, user) as connection:
            await connection.request("GET", "/x")
    assert seen == ["Bearer secret", "Basic " + base64.b64encode(b"u:p").decode(), None]


async def test_a_token_file_is_read_again_after_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    seen: list[str] = []

    def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        if request.headers["Authorization"] != "Bearer new":
            return web.json_response(status(401, "Unauthorized"), status=401)
        return web.Response(body=b"{}")

    monkeypatch.setattr(credentials_module, "REFRESH_AFTER_REFUSAL_SECONDS", 0.0)
    async with connected(handler, {"tokenFile": str(token)}) as connection:
        token.write_text("new\n")
        await connection.request("GET", "/x")
    assert seen[-1] == "Bearer new"
    assert len(seen) == 2


async def test_an_exec_plugin_is_asked_again_when_its_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\n"
        f"echo x >> {tmp_path}/count; n=$(wc -l < {tmp_path}/count)\n"
        'echo "{\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"kind\\":\\"ExecCredential\\",'
        '\\"status\\":{\\"token\\":\\"t$n\\"}}"\n'
    )
    plugin.chmod(0o755)
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "interactiveMode": "Never",
        }
    }
    tokens: list[str] = []

    def handler(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        if tokens[-1] != "Bearer t2":
            return web.json_response(status(401, "Unauthorized"), status=401)
        return web.Response(body=b"{}")

    monkeypatch.setattr(credentials_module, "REFRESH_AFTER_REFUSAL_SECONDS", 0.0)
    async with connected(handler, user) as connection:
        await connection.request("GET", "/x")
        await connection.request("GET", "/x")
    assert tokens == ["Bearer t1", "Bearer t2", "Bearer t2"]


async def test_a_refused_constant_token_is_not_tried_twice() -> None:
    count = 0

    def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.json_response(status(401, "Unauthorized"), status=401)

    async with connected(handler, {"token": "bad"}) as connection:
        assert (await refusal(connection)).status == 401
    assert count == 1


async def test_the_environments_proxy_and_netrc(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    seen: list[tuple[str, str | None]] = []

    def handler(request: web.Request) -> web.Response:
        seen.append((str(request.raw_path), request.headers.get("Authorization")))
        return web.Response(body=b"{}")

    async with serving(handler) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        connection = await Connection.open(kubeconfig=config("http://api.example:80"))
        await connection.request("GET", "/x")
        await connection.close()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        connection = await Connection.open(kubeconfig=server.kubeconfig())
        await connection.list(NODE)
        await connection.close()
    assert seen == [("http://api.example/x", None)]


async def test_kubeconfig_files_contexts_and_errors(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    content = server.kubeconfig()
    content["contexts"].append({"name": "other", "context": {"cluster": "gone", "user": "lab"}})
    file.write_text(yaml.safe_dump(content))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "nobody")
    for options in ({"kubeconfig": str(file)}, {"kubeconfig": str(file), "context": "lab"}, {"server": server.url}):
        connection = await Connection.open(**options)
        assert connection.url == server.url
        await connection.list(NODE)
        await connection.close()
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/missing:{file}")
    connection = await Connection.open()
    await connection.list(NODE)
    await connection.close()
    monkeypatch.delenv("KUBECONFIG")
    (tmp_path / "broken").write_text("{{{")
    for bad in (
        {"kubeconfig": str(tmp_path / "missing")},
        {"kubeconfig": str(tmp_path / "broken")},
        {"kubeconfig": str(file), "context": "other"},
        {"kubeconfig": str(file), "context": "nowhere"},
        {},
    ):
        with pytest.raises(ApiError) as caught:
            await Connection.open(**bad)  # type: ignore[arg-type]
        assert caught.value.reason == "Configuration"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    made = CertificateAuthority(tmp_path_factory.mktemp("ca"))
    made.ensure()
    return made


def server_context(authority: CertificateAuthority, *names: str) -> ssl.SSLContext:
    made = authority.server("server", names)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(made.certificate, made.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def test_in_cluster(authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS with the cluster's CA; the service account's token is read again when it has been replaced."""
    token = tmp_path / "token"
    token.write_text("first")
    seen: list[str] = []

    def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.Response(body=b"{}")

    async with serving(handler, server_context(authority, "127.0.0.1")) as url:
        host, port = url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        monkeypatch.setattr(credentials_module, "SERVICE_ACCOUNT", token)
        incluster_config = credentials_module._library()[1].incluster_config
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority.certificate))
        monkeypatch.setattr(incluster_config, "TOKEN_REFRESH_PERIOD", timedelta(0))
        connection = await Connection.open()
        await connection.request("GET", "/x")
        token.write_text("second")
        await connection.request("GET", "/x")
        token.write_text("")  # while the kubelet replaces it
        assert (await refusal(connection)).unreachable
        token.write_text("third")
        await connection.request("GET", "/x")
        await connection.close()
    assert seen == ["Bearer first", "Bearer second", "Bearer third"]


async def test_client_certificates_and_server_names(
    authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = authority.client("client", "someone")
    names: list[Any] = []

    def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        names.append((request.transport.get_extra_info("peercert") or {}).get("subject"))
        return web.Response(body=b"{}")

    async with serving(handler, server_context(authority, "kubernetes.default")) as url:
        kubeconfig = config(url)
        kubeconfig["clusters"][0]["cluster"] |= {
            "certificate-authority": str(authority.certificate),
            "tls-server-name": "kubernetes.default",
        }
        kubeconfig["users"][0]["user"] = {"client-certificate": str(client.certificate), "client-key": str(client.key)}
        file = tmp_path / "config"
        file.write_text(yaml.safe_dump(kubeconfig))
        connection = await Connection.open(kubeconfig=str(file))
        await connection.request("GET", "/x")
        await connection.close()
        del kubeconfig["clusters"][0]["cluster"]["tls-server-name"]
        connection = await Connection.open(kubeconfig=kubeconfig)
        assert (await refusal(connection)).unreachable  # the certificate is for another name
        await connection.close()

        kubeconfig["clusters"][0]["cluster"] = {
            "server": url,
            "certificate-authority-data": base64.b64encode(authority.certificate.read_bytes()).decode(),
            "tls-server-name": "kubernetes.default",
        }
        kubeconfig["users"][0]["user"] = {
            "client-certificate-data": base64.b64encode(client.certificate.read_bytes()).decode(),
            "client-key-data": base64.b64encode(client.key.read_bytes()).decode(),
        }
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        connection = await Connection.open(kubeconfig=kubeconfig)
        assert not list(temporary.iterdir())  # also when the process is killed, no key stays behind
        await connection.request("GET", "/x")
        await connection.close()
    assert names == [((("commonName", "someone"),),)] * 2


def test_the_library_is_used_without_its_classes_of_api_objects() -> None:
    """A process that only connects has none of them (35 MiB); one that imports the library itself has them all."""
    code = """
import sys
from ovnbridge.kube.credentials import _library
client, config = _library()
assert client.ApiClient and config.load_kube_config
assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio")], sys.modules.keys()
import kubernetes_asyncio
assert kubernetes_asyncio.client.V1Pod and kubernetes_asyncio.watch.Watch
_library.cache_clear()
assert not hasattr(_library()[0], "V1Pod")
assert sys.modules["kubernetes_asyncio"] is kubernetes_asyncio
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
