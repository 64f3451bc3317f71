"""Where the OVN databases are and how they are reached: flags, else the environment of Kube-OVN's pods (spec G.3).

Remotes: the flag or `OVN_NB_ADDR`; else `OVN_DB_IPS`, the addresses of the raft members; else the Service
`OVN_NB_SERVICE_HOST`; for SB the same with `SB`. With `ENABLE_SSL=true` the last two are reached by TLS. The files are
those that Kube-OVN mounts (spec E.11); they are read at every connect, so a rotated certificate needs no restart.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ovnbridge.ovsdb.transport import Remote, TlsFiles
from ovnbridge.settings import Flag, comma_list

TLS_FLAGS: Final = (
    Flag("ovn-db-private-key", "/var/run/tls/key", "private key for ssl: remotes of the OVN databases"),
    Flag("ovn-db-certificate", "/var/run/tls/cert", "certificate for ssl: remotes of the OVN databases"),
    Flag("ovn-db-ca-cert", "/var/run/tls/cacert", "CA that has signed the certificates of the OVN databases"),
)


def northbound_remotes(given: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Remotes of OVN NB; `given` is the flag's value. Empty when nothing says where it is."""
    return _remotes(given, environment, "OVN_NB_SERVICE", "6641")


def southbound_remotes(given: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The same for OVN SB."""
    return _remotes(given, environment, "OVN_SB_SERVICE", "6642")


def _remotes(given: str, environment: Mapping[str, str], service: str, port: str) -> tuple[str, ...]:
    remotes = comma_list(given)
    if remotes:
        return remotes
    scheme = "ssl" if environment.get("ENABLE_SSL", "").lower() == "true" else "tcp"
    addresses = comma_list(environment.get("OVN_DB_IPS", ""))
    if not addresses:
        addresses = comma_list(environment.get(f"{service}_HOST", ""))
        port = environment.get(f"{service}_PORT", "") or port
    return tuple(f"{scheme}:[{address.strip('[]')}]:{port}" for address in addresses)


def remote_problems(remotes: Iterable[str]) -> Iterator[str]:
    """What is wrong with remotes of a database, in words."""
    for remote in remotes:
        try:
            Remote.parse(remote)
        except ValueError as error:
            yield f"{error}: give tcp:HOST:PORT, ssl:HOST:PORT or unix:PATH"


def tls_files(settings: argparse.Namespace) -> TlsFiles:
    """The files for ssl: remotes; others do not read them."""
    return TlsFiles(
        private_key=settings.ovn_db_private_key,
        certificate=settings.ovn_db_certificate,
        ca_certificate=settings.ovn_db_ca_cert,
    )
