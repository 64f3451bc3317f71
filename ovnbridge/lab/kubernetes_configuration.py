"""What the processes of a real control plane are told: flags, keys, kubeconfigs, and where each file is.

`lab.kubernetes` writes these files into its directory and starts the components with these flags.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ovnbridge.lab.certificates import CertificateAuthority

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_ADMIN = "admin"
# etcd insists on URLs with host and port here. A single member never dials them, and it listens on unix sockets only.
_ETCD_ADVERTISED = "http://127.0.0.1:1"
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One control plane's settings. `advertise` is what the `kubernetes` Service points at."""

    directory: Path
    components: tuple[str, ...]
    listen: IPAddress
    advertise: IPAddress
    port: int
    port_is_shared: bool
    service_cidrs: tuple[str, ...]
    extra_sans: tuple[str, ...]
    unsafe_no_fsync: bool
    api_flags: tuple[str, ...]
    controller_manager_flags: tuple[str, ...]

    @property
    def url(self) -> str:
        """How a client in the server's network namespace reaches it."""
        host = self.listen
        if host.is_unspecified:
            host = ipaddress.ip_address("127.0.0.1" if host.version == 4 else "::1")
        return f"https://[{host}]:{self.port}" if host.version == 6 else f"https://{host}:{self.port}"

    @property
    def kubeconfig_path(self) -> Path:
        return self.directory / "kubeconfig"

    def log_path(self, component: str) -> Path:
        return self.directory / "logs" / f"{component}.log"

    def write(self) -> None:
        """Makes every file that the processes need. The authority and the token key of an earlier run are kept."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / "logs").mkdir(exist_ok=True)
        authority = self._authority
        authority.ensure()
        authority.key_pair("service-account")
        addresses = ["127.0.0.1", "::1", str(self.listen), str(self.advertise)]
        addresses += [str(ipaddress.ip_network(cidr)[1]) for cidr in self.service_cidrs]
        authority.server(API_SERVER, (*_SERVER_NAMES, *addresses, *self.extra_sans))
        authority.client(_ADMIN, "kubernetes-admin", ("system:masters",))
        # The manager's own role does not suffice: elsewhere each controller works as a ServiceAccount, at the cost of a
        # token and a set of connections each.
        authority.client(CONTROLLER_MANAGER, "system:kube-controller-manager", ("system:masters",))
        authority.client(SCHEDULER, "system:kube-scheduler")
        self._write_kubeconfig(_ADMIN, self.kubeconfig_path)
        self._write_kubeconfig(CONTROLLER_MANAGER, self._kubeconfig_file(CONTROLLER_MANAGER))
        self._write_kubeconfig(SCHEDULER, self._kubeconfig_file(SCHEDULER))
        self._scheduler_file.write_text(json.dumps(self._scheduler_configuration()))

    def kubeconfig(self, url: str | None = None, user: str = _ADMIN) -> dict[str, Any]:
        """A kubeconfig that is complete in itself."""
        cluster = {
            "server": url or self.url,
            "certificate-authority-data": _encoded(self._authority.certificate),
        }
        credentials = {
            "client-certificate-data": _encoded(self._pki / f"{user}.crt"),
            "client-key-data": _encoded(self._pki / f"{user}.key"),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        }

    def flags(self, component: str) -> list[str]:
        return {
            ETCD: self._etcd_flags,
            API_SERVER: self._api_server_flags,
            CONTROLLER_MANAGER: self._controller_manager_flags,
            SCHEDULER: self._scheduler_flags,
        }[component]()

    @property
    def _pki(self) -> Path:
        return self.directory / "pki"

    @property
    def _authority(self) -> CertificateAuthority:
        return CertificateAuthority(self._pki)

    @property
    def _scheduler_file(self) -> Path:
        return self.directory / f"{SCHEDULER}.json"

    def _kubeconfig_file(self, component: str) -> Path:
        return self.directory / f"{component}.kubeconfig"

    def _write_kubeconfig(self, user: str, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self.kubeconfig(user=user), sort_keys=False))

    def _etcd_flags(self) -> list[str]:
        # Socket names are relative to the working directory, because a socket's path has room for 107 bytes only.
        flags = [
            "--name=lab",
            f"--data-dir={self.directory / 'etcd'}",
            "--listen-client-urls=unix://etcd.sock",
            "--listen-client-http-urls=unix://etcd-http.sock",
            "--listen-peer-urls=unix://etcd-peer.sock",
            f"--advertise-client-urls={_ETCD_ADVERTISED}",
            f"--initial-advertise-peer-urls={_ETCD_ADVERTISED}",
            f"--initial-cluster=lab={_ETCD_ADVERTISED}",
            f"--quota-backend-bytes={8 << 30}",
            "--log-level=warn",
        ]
        return [*flags, "--unsafe-no-fsync"] if self.unsafe_no_fsync else flags

    def _api_server_flags(self) -> list[str]:
        flags = [
            "--etcd-servers=unix://etcd.sock",
            f"--bind-address={self.listen}",
            f"--secure-port={self.port}",
            f"--permit-port-sharing={str(self.port_is_shared).lower()}",
            f"--advertise-address={self.advertise}",
            f"--service-cluster-ip-range={','.join(self.service_cidrs)}",
            f"--tls-cert-file={self._pki / API_SERVER}.crt",
            f"--tls-private-key-file={self._pki / API_SERVER}.key",
            f"--client-ca-file={self._authority.certificate}",
            f"--cert-dir={self._pki}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={self._pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={self._pki / 'service-account.key'}",
            # Without it a server that is asked to end waits a minute for its watchers to leave.
            "--shutdown-watch-termination-grace-period=2s",
        ]
        if self.advertise.is_loopback:
            # Endpoints must not name a loopback address: the reconciler would fail for ever.
            flags.append("--endpoint-reconciler-type=none")
        if CONTROLLER_MANAGER not in self.components:
            # Nobody makes the ServiceAccounts that this plug-in asks for.
            flags.append("--disable-admission-plugins=ServiceAccount")
        return [*flags, *self.api_flags]

    def _controller_manager_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self._kubeconfig_file(CONTROLLER_MANAGER)}",
            "--secure-port=0",
            "--leader-elect=false",
            "--controllers=*",
            f"--root-ca-file={self._authority.certificate}",
            f"--service-account-private-key-file={self._pki / 'service-account.key'}",
            f"--cluster-signing-cert-file={self._authority.certificate}",
            f"--cluster-signing-key-file={self._authority.key}",
            "--kube-api-qps=2000",
            "--kube-api-burst=4000",
            # A silent node of the lab is not a lost one: it may have no kubelet at all that renews its lease.
            "--node-monitor-grace-period=24h",
            *self.controller_manager_flags,
        ]

    def _scheduler_flags(self) -> list[str]:
        return [f"--config={self._scheduler_file}", "--secure-port=0"]

    def _scheduler_configuration(self) -> dict[str, Any]:
        client = {"kubeconfig": str(self._kubeconfig_file(SCHEDULER)), "qps": 2000, "burst": 4000}
        return {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": client,
            "leaderElection": {"leaderElect": False},
        }


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
