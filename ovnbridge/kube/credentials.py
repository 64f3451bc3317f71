"""Where the API server is and how to prove who we are: kubeconfig or in-cluster, through kubernetes_asyncio.

Used by `connection` alone. kubernetes_asyncio contributes its configuration loaders (exec plug-ins, OIDC, token and
certificate files) and its TLS context, without its generated classes of API objects (`_library`). What it lacks is
here: tokens that expire while the process runs are refreshed for every kind of credential, also after a 401.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
REFRESH_AFTER_REFUSAL_SECONDS = 10.0
# What the loaders raise for a kubeconfig that is not what it should be.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, AssertionError)
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class CredentialsError(Exception):
    """No usable configuration, or a token that cannot be obtained."""


class Credentials:
    """An address, a TLS connector and a token that stays fresh."""

    def __init__(
        self,
        *,
        configuration: Any,
        api_client: Any,
        errors: tuple[type[Exception], ...],
        renew: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`errors` is what the configuration raises when it has no token; `renew` obtains a new one."""
        self._configuration = configuration
        self._api_client = api_client
        self._errors = errors
        self._renew = renew
        self._clock = clock
        self._renewed = clock()
        self.url: str = configuration.host.rstrip("/")
        self.tls_server_name: str | None = getattr(configuration, "tls_server_name", None)
        self.proxy: str | None = configuration.proxy or _environment_proxy(self.url)

    @property
    def connector(self) -> aiohttp.BaseConnector:
        """The connection pool, with the CA and client certificate set up."""
        connector: aiohttp.BaseConnector = self._api_client.rest_client.pool_manager.connector
        return connector

    async def authorize(self, headers: dict[str, str]) -> None:
        """Add the Authorization header to `headers`."""
        if self._renew is not None and self._clock() - self._renewed > REFRESH_SECONDS:
            await self._refresh()
        try:
            await self._api_client.update_params_for_auth(headers, [], ["BearerToken"])
        except self._errors as error:
            raise CredentialsError(f"no token: {error}") from error
        token = headers.get("authorization")
        if token is not None:
            headers["authorization"] = token = token.strip()  # a file usually ends in a newline
            if not token.isprintable():
                raise CredentialsError("the token is not a line of text")

    async def refused(self) -> bool:
        """After a 401: obtain a new token if there is a way to; False when a retry makes no sense."""
        if self._renew is None or self._clock() - self._renewed < REFRESH_AFTER_REFUSAL_SECONDS:
            return False
        await self._refresh()
        return True

    async def _refresh(self) -> None:
        assert self._renew is not None
        self._renewed = self._clock()
        try:
            await self._renew()
        except Exception as error:  # noqa: BLE001 - a plug-in's failure of any kind: the old token may still do
            log.warning("token not refreshed error=%s", error)

    async def close(self) -> None:
        """Close the pool."""
        await self._api_client.close()


async def load_credentials(
    *,
    kubeconfig: str | Mapping[str, Any] | None,
    context: str | None,
    server: str | None,
    connections: int,
) -> Credentials:
    """Find the configuration: `kubeconfig`, else $KUBECONFIG, else in-cluster, else ~/.kube/config.

    In-cluster comes before the home directory, as in controller-runtime: a pod that sees a host's home must not
    become that host's administrator. `server` replaces the address and is enough on its own.
    """
    client, config = _library()
    # type.__call__ makes a fresh Configuration: the class returns a process-wide default otherwise.
    configuration = type.__call__(client.Configuration)
    # The pool is never the limit: the writer bounds its own requests, and each watch holds a connection.
    configuration.connection_pool_maxsize = connections + 64
    renew: Callable[[], Awaitable[None]] | None = None
    path = kubeconfig or os.environ.get("KUBECONFIG")
    home = Path.home() / ".kube" / "config"
    in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and SERVICE_ACCOUNT.is_file()
    if not path and not in_cluster and home.is_file():
        path = str(home)
    try:
        if isinstance(path, Mapping):
            loader = await config.load_kube_config_from_dict(
                dict(path), context=context, client_configuration=configuration
            )
            renew = _renewal(config, loader, configuration)
        elif path:
            if not any(Path(part).expanduser().is_file() for part in path.split(os.pathsep) if part):
                raise CredentialsError(f"no such kubeconfig: {path}")
            loader = await config.load_kube_config(
                # Not persisted: its persister fails (wrong signature), and the file is not ours to rewrite.
                path,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
            renew = _renewal(config, loader, configuration)
        elif in_cluster:
            config.load_incluster_config(client_configuration=configuration)
        elif server is None:
            raise CredentialsError("no kubeconfig, and not in a cluster")
        if server is not None:
            configuration.host = server
        api_client = client.ApiClient(configuration=configuration)
    except MALFORMED as error:
        raise CredentialsError(f"unusable configuration: not what a kubeconfig is ({error})") from error
    except (config.ConfigException, yaml.YAMLError, OSError) as error:
        raise CredentialsError(f"unusable configuration: {' '.join(str(error).split())}") from error
    finally:
        _forget_files(config)
    return Credentials(
        configuration=configuration,
        api_client=api_client,
        errors=(config.ConfigException, OSError, ValueError),
        renew=renew,
    )


@cache
def _library() -> tuple[Any, Any]:
    """kubernetes_asyncio's `client` and `config` with nothing in `client` but what `config` and we use.

    Its packages import a thousand generated classes of API objects, which nothing here touches (objects are decoded
    into our own structs): 35 MiB in each process of each node, and a quarter of a second or more. So the packages are
    entered without running their `__init__`. They do not stay among the loaded modules: whoever imports the library
    otherwise (a role from elsewhere) gets the whole of it.
    """
    name = "kubernetes_asyncio"
    before = {module: sys.modules.pop(module) for module in list(sys.modules) if module.partition(".")[0] == name}
    try:
        for package in (name, f"{name}.client"):
            spec = find_spec(package)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            sys.modules[package] = module_from_spec(spec)
        sys.modules[f"{name}.client.models"] = ModuleType(f"{name}.client.models")
        client = sys.modules[name].client = sys.modules[f"{name}.client"]  # type: ignore[attr-defined]
        for module, names in (("configuration", ("Configuration",)), ("api_client", ("ApiClient",))):
            found = import_module(f"{name}.client.{module}")
            vars(client).update({each: getattr(found, each) for each in names})
        return client, import_module(f"{name}.config")
    finally:
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]
        sys.modules.update(before)


def _forget_files(config: Any) -> None:
    """Remove the temporary files with keys and certificates that the kubeconfig holds: they have been read.

    The library removes them when the process ends, and leaves private keys behind when it is killed. Nothing waits
    between their being written and read, so they are nobody else's.
    """
    config.kube_config._cleanup_temp_files()


def _renewal(config: Any, loader: Any, configuration: Any) -> Callable[[], Awaitable[None]] | None:
    """How this kubeconfig's token is obtained again; None when it is constant."""
    user = loader._user
    dynamic = user is not None and (loader.provider in ("gcp", "oidc") or "exec" in user or "tokenFile" in user)
    if not dynamic:
        return None

    async def renew() -> None:
        if "tokenFile" in user and "exec" not in user and loader.provider is None:
            base = Path(user.path).parent if user.path else Path()
            loader.token = "Bearer " + (base / user["tokenFile"]).read_text().strip()
        else:
            await loader._load_authentication()
            _forget_files(config)
        configuration.api_key["BearerToken"] = loader.token

    return renew


def _environment_proxy(url: str) -> str | None:
    """$HTTPS_PROXY and friends, resolved once: aiohttp's own way costs two thread hops a request."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)
