"""The HTTPS side of an admission webhook: server, certificates, and the caBundle of the webhook configuration.

Certificates come from files (`tls.crt`, `tls.key`; read again when they change), or are made here: one self-signed
certificate, kept in a Secret so that all replicas serve the same one, and put into the configuration's caBundle. No
cert-manager is needed. Spec F.5: HTTPS :8443 path `/validating`.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.model.resource import Resource

log = logging.getLogger(__name__)

SECRET: Final = Resource("", "v1", "secrets", "Secret", True)
CONFIGURATION: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    False,
)
LARGEST_REVIEW: Final = 8 << 20
"""A review holds two versions of an object of at most 1.5 MiB each, as JSON."""
_RELOAD_SECONDS: Final = 30.0
_FOREVER_DAYS: Final = "3650"


class CertificateError(Exception):
    """No certificate can be had."""


class KeyPair(msgspec.Struct, frozen=True):
    """A server certificate (with its chain) and its key, as PEM."""

    certificate: bytes
    key: bytes


async def make_key_pair(names: tuple[str, ...]) -> KeyPair:
    """A self-signed certificate for these DNS names, valid for ten years. Raises CertificateError."""
    with tempfile.TemporaryDirectory(prefix="ovnbridge-webhook-") as directory:
        key, certificate = Path(directory, "tls.key"), Path(directory, "tls.crt")
        configuration = Path(directory, "openssl.cnf")
        lines = ("[req]", "prompt=no", "distinguished_name=subject", "x509_extensions=extensions", "[subject]")
        alternatives = ",".join(f"DNS:{name}" for name in names)
        extensions = ("basicConstraints=critical,CA:TRUE", "extendedKeyUsage=serverAuth")
        more = ("CN=kube-ovn-webhook", "[extensions]", *extensions, f"subjectAltName={alternatives}", "")
        configuration.write_text("\n".join((*lines, *more)))
        arguments = ["req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        arguments += ["-days", _FOREVER_DAYS, "-config", str(configuration), "-keyout", str(key)]
        try:
            process = await asyncio.create_subprocess_exec(
                "openssl", *arguments, "-out", str(certificate), stderr=asyncio.subprocess.PIPE
            )
        except FileNotFoundError:
            raise CertificateError("the openssl command is not installed; give --cert-dir") from None
        _, said = await process.communicate()
        if process.returncode:
            raise CertificateError(f"openssl: {said.decode(errors='replace').strip()}")
        return KeyPair(certificate.read_bytes(), key.read_bytes())


async def shared_key_pair(connection: Connection, namespace: str, secret: str, names: tuple[str, ...]) -> KeyPair:
    """The key pair in the Secret; made and stored when there is none. Raises ApiError, CertificateError."""
    try:
        return _stored(await connection.get(SECRET, namespace, secret))
    except ApiError as error:
        if error.status != 404:
            raise
    made = await make_key_pair(names)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": secret, "namespace": namespace},
        "data": {
            "tls.crt": base64.b64encode(made.certificate).decode(),
            "tls.key": base64.b64encode(made.key).decode(),
        },
    }
    try:
        await connection.create(SECRET, namespace, body)
    except ApiError as error:
        if error.status != 409:
            raise
        return _stored(await connection.get(SECRET, namespace, secret))  # another replica was faster
    return made


def _stored(secret: dict[str, Any]) -> KeyPair:
    data = secret.get("data") or {}
    try:
        return KeyPair(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
    except (KeyError, ValueError) as error:
        raise CertificateError(f"secret {secret['metadata']['name']}: no usable {error}") from None


async def inject(connection: Connection, configuration: str, authority: bytes) -> bool:
    """Put the caBundle into every webhook of the configuration. Returns whether the configuration exists."""
    bundle = base64.b64encode(authority).decode()
    try:
        found = await connection.get(CONFIGURATION, "", configuration)
        webhooks = found.get("webhooks") or []
        patch: list[dict[str, Any]] = []
        for index, webhook in enumerate(webhooks):
            if webhook["clientConfig"].get("caBundle") != bundle:
                path = f"/webhooks/{index}"
                patch.append({"op": "test", "path": f"{path}/name", "value": webhook["name"]})
                patch.append({"op": "add", "path": f"{path}/clientConfig/caBundle", "value": bundle})
        if patch:
            await connection.patch(CONFIGURATION, "", configuration, patch, kind="json")
            log.info("caBundle injected configuration=%s", configuration)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


class AdmissionServer:
    """Serves `answer(body) -> body` on POST `/validating`. `answer` raises `malformed` for what is not a review."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        *,
        malformed: type[Exception],
        unready: Callable[[], str | None],
        observe: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._answer = answer
        self._malformed = malformed
        self._unready = unready
        self._observe = observe
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._runner: web.AppRunner | None = None
        self.port = 0

    def use(self, pair: KeyPair) -> None:
        """Serve this certificate to connections from now on. Raises CertificateError."""
        with tempfile.TemporaryDirectory(prefix="ovnbridge-webhook-") as directory:
            certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
            certificate.write_bytes(pair.certificate)
            key.touch(mode=0o600)
            key.write_bytes(pair.key)
            try:
                self._context.load_cert_chain(certificate, key)
            except (ssl.SSLError, OSError) as error:
                raise CertificateError(f"certificate and key cannot be used: {error}") from None

    async def follow(self, directory: Path) -> None:
        """Serve the certificate in these files, and their successors, until cancelled."""
        known: KeyPair | None = None
        while True:
            try:
                found = read_key_pair(directory)
                if found != known:
                    self.use(found)
                    known = found
                    log.info("certificate loaded directory=%s", directory)
            except CertificateError as error:
                # Half of a pair may have been exchanged; what is served stays.
                log.warning("certificate not loaded directory=%s error=%s", directory, error)
            await asyncio.sleep(_RELOAD_SECONDS)

    async def listen(self, host: str, port: int) -> None:
        """Start serving. Raises OSError when the address cannot be bound."""
        app = web.Application(client_max_size=LARGEST_REVIEW)
        app.router.add_post("/validating", self._review)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._context, reuse_address=True).start()
        self.port = int(self._runner.addresses[0][1])
        log.info("webhook listening address=%s port=%d", host, self.port)

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _review(self, request: web.Request) -> web.Response:
        body = await request.read()
        unready = self._unready()
        if unready is not None:
            # Without the whole picture nothing can be judged: the configuration's failurePolicy decides.
            return web.Response(status=503, text=f"{unready}\n")
        began = asyncio.get_running_loop().time()
        try:
            reply = self._answer(body)
        except self._malformed as error:
            return web.Response(status=400, text=f"{error}\n")
        self._observe(asyncio.get_running_loop().time() - began)
        return web.Response(body=reply, content_type="application/json")


def read_key_pair(directory: Path) -> KeyPair:
    """The key pair in a directory as cert-manager's Secret is mounted. Raises CertificateError."""
    try:
        return KeyPair((directory / "tls.crt").read_bytes(), (directory / "tls.key").read_bytes())
    except OSError as error:
        raise CertificateError(str(error)) from None
