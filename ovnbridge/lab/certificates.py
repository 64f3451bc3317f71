"""The certificates of a lab: an authority of its own and leaves signed by it, made with the openssl command.

`lab.kubernetes_configuration` asks for them before kube-apiserver starts; all files are in the directory that it names.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "3650"


class CertificateError(RuntimeError):
    """The openssl command is absent or refused."""


@dataclass(frozen=True, slots=True)
class Certificate:
    certificate: Path
    key: Path


class CertificateAuthority:
    """An authority kept in a directory. What is there already is used again, so that earlier clients stay valid."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "ca.crt"
        self.key = directory / "ca.key"

    def ensure(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.certificate.exists() and self.key.exists():
            return
        extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
        self._request("ca", ("CN=ovnbridge-lab",), extensions)

    def server(self, name: str, alternatives: Sequence[str]) -> Certificate:
        """A certificate for a TLS server that is reached by any of these names and addresses."""
        names = ",".join(_alternative(value) for value in dict.fromkeys(alternatives))
        return self._leaf(name, (f"CN={name}",), ("extendedKeyUsage=serverAuth", f"subjectAltName={names}"))

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> Certificate:
        """A certificate by which Kubernetes knows this user and these groups."""
        subject = (*(f"{index}.O={group}" for index, group in enumerate(groups)), f"CN={user}")
        return self._leaf(name, subject, ("extendedKeyUsage=clientAuth",))

    def key_pair(self, name: str) -> None:
        """NAME.key and NAME.pub, for ServiceAccount tokens."""
        key, public = self.directory / f"{name}.key", self.directory / f"{name}.pub"
        if not public.exists():
            curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
            _openssl("genpkey", *curve, "-out", str(key))
            _openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))

    def _leaf(self, name: str, subject: Sequence[str], extensions: Sequence[str]) -> Certificate:
        usage = (
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "authorityKeyIdentifier=keyid",
        )
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.key))
        return self._request(name, subject, (*usage, *extensions), signer)

    def _request(
        self, name: str, subject: Sequence[str], extensions: Sequence[str], signer: Sequence[str] = ()
    ) -> Certificate:
        made = Certificate(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        configuration = self.directory / f"{name}.cnf"
        head = ("[req]", "prompt=no", "distinguished_name=subject", "[subject]", *subject)
        # The system's openssl.cnf is not read: distributions differ in the extensions that it adds.
        lines = (*head, "[extensions]", "subjectKeyIdentifier=hash", *extensions, "")
        configuration.write_text("\n".join(lines))
        where = ("-config", str(configuration), "-extensions", "extensions", "-days", _DAYS)
        files = ("-keyout", str(made.key), "-out", str(made.certificate))
        _openssl("req", "-x509", "-new", *_KEY, *where, *files, *signer)
        made.key.chmod(0o600)
        configuration.unlink()
        return made


def _alternative(value: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(value)}"
    except ValueError:
        return f"DNS:{value}"


def _openssl(*arguments: str) -> None:
    command = shutil.which("openssl")
    if command is None:
        raise CertificateError("the openssl command is not installed (Debian: apt-get install openssl)")
    done = subprocess.run((command, *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CertificateError(f"openssl {' '.join(arguments)}: {done.stderr.strip()}")
