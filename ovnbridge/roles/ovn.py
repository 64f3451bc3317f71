"""Where the OVN databases are and how they are reached: flags, else the environment of Kube-OVN's pods (spec G.3).

Remotes: the flag or `OVN_NB_ADDR`; else `OVN_DB_IPS`, the addresses of the raft members; else the Service
`OVN_NB_SERVICE_HOST`; for SB the same with `SB`. With `ENABLE_SSL=true` the last two are reached by TLS. The files are
those that Kube-OVN mounts (spec E.11); they are read at every connect, so a rotated certificate needs no restart.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final

from ovnbridge.ovsdb.transport import TlsFiles
from ovnbridge.settings import Flag, comma_list

TLS_FLAGS: Final = (
    Flag("ovn-db-private-key", "/var/run/tls/key", "private key for ssl: remotes of the OVN databases"),
    Flag("ovn-db-certificate", "/var/run/tls/cert", "certificate for ssl: remotes of the OVN databases"),
    Flag("ovn-db-ca-cert", "/var/run/tls/cacert", "CA that has signed the certificates of the OVN databases"),
)
_PORTS: Final = {"NB": "6641", "SB": "6642"}


def northbound_remotes(given: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Remotes of OVN NB; `given` is the flag's value. Empty when nothing says where it is."""
    return _remotes("NB", given, environment)


def southbound_remotes(given: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Remotes of OVN SB; `given` is the flag's value. Empty when nothing says where it is."""
    return _remotes("SB", given, environment)


def _remotes(database: str, given: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    remotes = comma_list(given)
    if remotes:
        return remotes
    scheme = "ssl" if environment.get("ENABLE_SSL", "").lower() == "true" else "tcp"
    addresses = comma_list(environment.get("OVN_DB_IPS", ""))
    port = _PORTS[database]
    if not addresses:
        addresses = comma_list(environment.get(f"OVN_{database}_SERVICE_HOST", ""))
        port = environment.get(f"OVN_{database}_SERVICE_PORT", "") or port
    return tuple(f"{scheme}:[{address.strip('[]')}]:{port}" for address in addresses)


def tls_files(settings: argparse.Namespace) -> TlsFiles:
    """The files for ssl: remotes; others do not read them."""
    return TlsFiles(
        private_key=settings.ovn_db_private_key,
        certificate=settings.ovn_db_certificate,
        ca_certificate=settings.ovn_db_ca_cert,
    )
