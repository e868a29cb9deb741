"""Whom a TLS connection trusts: the machine's store, and per host what ``certs.d/<host>`` holds, as Docker reads it.

``*.crt`` are certificate authorities added to the machine's, ``name.cert`` with ``name.key`` a client certificate.
"""

import os
import ssl
from collections.abc import Sequence

from rundlet.errors import InternalError

CERTIFICATE_DIRECTORIES: tuple[str, ...] = ("/etc/rundlet/certs.d", "/etc/docker/certs.d")


class CertificateError(InternalError):
    """A file in ``certs.d`` can't be used."""

    reason = "bad-certificate"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"can't use {path}: {why}")
        self.path = path


def context_for(host: str, verify: bool, directories: tuple[str, ...]) -> ssl.SSLContext:
    """A client context for ``host`` (name with its port). Reads files (about 20 ms); raises CertificateError."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for directory in _existing(host, directories):
        for name in sorted(os.listdir(directory)):
            _load(context, directory, name)
    return context


def _existing(host: str, directories: Sequence[str]) -> list[str]:
    if "/" in host or host in ("", ".", ".."):
        return []
    return [path for root in directories if os.path.isdir(path := f"{root}/{host}")]


def _load(context: ssl.SSLContext, directory: str, name: str) -> None:
    path = f"{directory}/{name}"
    try:
        if name.endswith(".crt"):
            context.load_verify_locations(cafile=path)
        elif name.endswith(".cert"):
            key = f"{path.removesuffix('.cert')}.key"
            if not os.path.exists(key):
                raise CertificateError(path, f"missing key {os.path.basename(key)} for client certificate {name}")
            context.load_cert_chain(path, key)
    except (OSError, ssl.SSLError) as exc:
        raise CertificateError(path, str(exc)) from exc
