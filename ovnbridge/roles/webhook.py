"""The webhook role: the admission webhook `kube-ovn-webhook` (spec F.5).

It follows the same kinds as the controller and answers from that World; see `validation/`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ovnbridge.controller import KINDS
from ovnbridge.kube.admission import AdmissionServer, CertificateError, inject, read_key_pair, shared_key_pair
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import ApiError
from ovnbridge.reactor import KubeSource
from ovnbridge.roles.controller_flags import FLAGS as CONTROLLER_FLAGS
from ovnbridge.roles.controller_flags import compile_options, flag_problems
from ovnbridge.roles.shared import Shared
from ovnbridge.settings import Flag, boolean
from ovnbridge.validation import WATCHED, Judge, MalformedReview, answer

log = logging.getLogger(__name__)

_OWN: Final = (
    Flag("port", 8443, "port of the webhook (HTTPS)", int),
    Flag("health-probe-port", 8080, "port of /healthz, /readyz and /metrics; 0 for none", int),
    Flag("cert-dir", "/tmp/k8s-webhook-server/serving-certs", "directory of tls.crt and tls.key, if they are there"),
    Flag("webhook-service", "kube-ovn-webhook", "Service in front of the webhook"),
    Flag("webhook-configuration", "kube-ovn-webhook", "ValidatingWebhookConfiguration that gets the caBundle"),
    Flag("webhook-secret", "kube-ovn-webhook-serving-cert", "Secret that keeps a certificate made here"),
    Flag("inject-ca", True, "make a certificate and inject its caBundle when --cert-dir holds none", boolean),
)
_SHARED: Final = frozenset(flag.name for flag in _OWN)
FLAGS: Final = (*(flag for flag in CONTROLLER_FLAGS if flag.name not in _SHARED), *_OWN)
"""The controller's flags say what is valid (CIDRs, names), so they are the webhook's as well."""
_REQUIRED: Final = frozenset({"Node", "Namespace", "Pod", "Vpc", "Subnet", "IP"})
"""Kinds without which nothing is judged; others may not be installed."""
_RETRY_SECONDS: Final = 5.0


class Webhook:
    """One process's webhook; `run` is the role."""

    def __init__(self, settings: argparse.Namespace, shared: Shared) -> None:
        self._settings = settings
        self._shared = shared
        self.judge = Judge(compile_options(settings))
        self._kinds = {resource.kind: (resource, kind) for resource, kind in (*WATCHED, *KINDS)}
        self._cache: Cache | None = None
        self._changed = asyncio.Event()
        self.server = AdmissionServer(
            lambda body: answer(self.judge, body), malformed=MalformedReview, unready=self.not_ready
        )

    async def run(self) -> None:
        """Follow the cluster and answer reviews until cancelled."""
        settings, shared = self._settings, self._shared
        shared.health.ready("webhook", self.not_ready)
        if settings.health_probe_port:
            await shared.health.listen("0.0.0.0", settings.health_probe_port)
        shared.objects.subscribe(KubeSource(self.judge.world, self._changed.set))
        self._cache = await shared.cache()
        for resource, kind in self._kinds.values():
            self._cache.want(resource, kind, optional=resource.kind not in _REQUIRED)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_up(), name="webhook world")
                tasks.create_task(self._certificate(), name="webhook certificate")
        finally:
            await self.server.close()

    def not_ready(self) -> str | None:
        """What is missing before reviews can be answered."""
        missing = sorted(set(self._cache.unsynced()) & set(self._kinds)) if self._cache is not None else ["cache"]
        return f"not listed yet: {', '.join(missing)}" if missing else None

    async def _keep_up(self) -> None:
        """Take in changes as they come, so that a review does not have to."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.judge.settle()
            await asyncio.sleep(0)

    async def _certificate(self) -> None:
        """Serve with the certificate in --cert-dir, or with one made here, as soon as there is one."""
        settings = self._settings
        directory = Path(settings.cert_dir)
        while True:
            try:
                self.server.use(read_key_pair(directory))
                await self.server.listen("", settings.port)
                await self.server.follow(directory)
            except CertificateError as error:
                if not settings.inject_ca:
                    log.warning("waiting for a certificate directory=%s error=%s", directory, error)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
            break
        await self._self_made()

    async def _self_made(self) -> None:
        settings = self._settings
        connection = await self._shared.connection()
        service, namespace = settings.webhook_service, settings.pod_namespace
        names = tuple(f"{service}{end}" for end in (f".{namespace}.svc", f".{namespace}.svc.cluster.local", ""))
        while True:
            try:
                pair = await shared_key_pair(connection, namespace, settings.webhook_secret, names)
                self.server.use(pair)
                if not self.server.port:
                    await self.server.listen("", settings.port)
                if not await inject(connection, settings.webhook_configuration, pair.certificate):
                    log.warning("no webhook configuration name=%s", settings.webhook_configuration)
            except (ApiError, CertificateError) as error:
                log.warning("certificate not in place error=%s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            # An applied manifest takes the caBundle away again: look now and then.
            await asyncio.sleep(_RETRY_SECONDS * 6)


class _Role:
    name = "webhook"
    flags = FLAGS

    def problems(self, settings: argparse.Namespace) -> Iterable[str]:
        """See `flag_problems`."""
        return flag_problems(settings)

    async def run(self, settings: argparse.Namespace, shared: Shared) -> None:
        """See `Webhook`."""
        await Webhook(settings, shared).run()


role = _Role()
