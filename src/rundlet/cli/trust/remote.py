"""A trust server over HTTPS: requests with credentials, through a proxy where one is set, within limits.

Certificate authorities: the machine's, ``<config>/tls/<host>/*.crt`` as Docker has it, and ``certs.d/<host>``. There is
no way around TLS: what a server says at first contact is believed for its certificate.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from urllib.parse import quote, urlencode, urlsplit

from rundlet.cli.exit import CommandError
from rundlet.trust.errors import MissingMetadataError, ServerError, TooLargeError, UploadRefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName

OFFICIAL = "https://notary.docker.io"
VARIABLE = "DOCKER_CONTENT_TRUST_SERVER"
TIMEOUT = 30.0
ANSWER_LIMIT = 1 << 20
_CERTIFICATES = ("/etc/rundlet/certs.d", "/etc/docker/certs.d")
_CLIENT = "rundlet"


def server_for(name: ImageName) -> str:
    """The trust server's URL for an image. Raises CommandError."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen:
        if urlsplit(chosen).scheme != "https" or not urlsplit(chosen).hostname:
            raise CommandError(f"valid https URL required for trust server, got {chosen}")
        return chosen.rstrip("/")
    return OFFICIAL if name.domain == "docker.io" else f"https://{name.domain}"


def tls_context(directory: str, host: str) -> ssl.SSLContext:
    """For ``host`` (with its port); ``directory`` is the user's configuration. Raises CommandError."""
    context = ssl.create_default_context()
    for parent in (f"{directory}/tls", *_CERTIFICATES):
        path = f"{parent}/{host}"
        names = sorted(os.listdir(path)) if os.path.isdir(path) else []
        for name in names:
            file = f"{path}/{name}"
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(cafile=file)
                elif name.endswith(".cert"):
                    context.load_cert_chain(file, f"{file.removesuffix('.cert')}.key")
            except (OSError, ssl.SSLError) as exc:
                raise CommandError(f"can't use {file}: {exc}") from exc
    return context


class Remote:
    """The trust data of one repository at its server. ``actions`` is what a token has to allow."""

    def __init__(self, context: Context, name: ImageName, actions: str) -> None:
        self.server = server_for(name)
        self._context = context
        self._domain = name.domain
        self._gun = name.name
        self._scope = f"repository:{name.name}:{actions}"
        self._connection: http.client.HTTPSConnection | None = None
        self._authorization = ""

    @property
    def host(self) -> str:
        return urlsplit(self.server).netloc

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ── what trust needs ─────────────────────────────────────────────────────────────────────────────────────

    def file(self, name: str, limit: int) -> bytes | None:
        """A file of metadata; None when the server has none. Raises ServerError, TooLargeError."""
        status, data = self._request("GET", f"{quote(name, '/')}.json", limit=limit)
        if status == 404:
            return None
        if status != 200:
            raise ServerError(f"{self.host} answered {status} for {name}")
        if len(data) > limit:
            raise TooLargeError(name, limit)
        return data

    def key(self, role: str) -> bytes:
        """The public key that the server keeps for ``role``. Raises ServerError, MissingMetadataError."""
        status, data = self._request("GET", f"{role}.key", limit=ANSWER_LIMIT)
        if status == 404:
            raise MissingMetadataError(f"{role} key")
        if status != 200:
            raise ServerError(f"{self.host} answered {status} for the {role} key")
        return data

    def upload(self, files: dict[str, bytes]) -> None:
        """All files at once. Raises ServerError, UploadRefusedError."""
        boundary = os.urandom(16).hex()
        parts = []
        for role, data in files.items():
            parts.append(
                f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{role}"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n".encode()
                + data
                + b"\r\n"
            )
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        status, answer = self._request("POST", "", body=body, headers={"Content-Type": kind}, limit=ANSWER_LIMIT)
        if status != 200:
            raise UploadRefusedError(_why(answer) or f"{self.host} answered {status} to the upload of trust data")

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _request(
        self, method: str, path: str, *, limit: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        target = f"{urlsplit(self.server).path}/v2/{self._gun}/_trust/tuf/{path}"
        answer, data = self._send(method, target, body, headers or {}, limit)
        if answer.status == 401:
            self._authorization = self._answer_challenge(answer.headers.get_all("WWW-Authenticate") or [])
            answer, data = self._send(method, target, body, headers or {}, limit)
            if answer.status in (401, 403):
                raise ServerError(f"{self.host}: you are not authorized to perform this operation (try 'login')")
        return answer.status, data

    def _send(
        self, method: str, target: str, body: bytes, headers: dict[str, str], limit: int
    ) -> tuple[http.client.HTTPResponse, bytes]:
        sent = {"User-Agent": _CLIENT, "Accept": "application/json", **headers}
        if self._authorization:
            sent["Authorization"] = self._authorization
        for last in (False, True):
            fresh = self._connection is None
            try:
                if self._connection is None:
                    self._connection = self._connect()
                self._connection.request(method, target, body or None, sent)
                answer = self._connection.getresponse()
                data = answer.read(limit + 1)
            except (OSError, http.client.HTTPException) as exc:
                self.close()
                # A kept connection may have been closed by the server meanwhile: once more, on a new one.
                if last or fresh or method != "GET":
                    raise ServerError(f"{self.host}: {_words(exc)}") from exc
                continue
            if len(data) > limit or answer.will_close:
                self.close()
            return answer, data
        raise AssertionError("unreachable")

    def _connect(self) -> http.client.HTTPSConnection:
        parts = urlsplit(self.server)
        assert parts.hostname is not None
        tls = tls_context(self._context.config_directory, parts.netloc)
        proxy = _proxy(parts.hostname)
        if proxy is None:
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=tls)
        host, port, login = proxy
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=tls)
        connection.set_tunnel(parts.hostname, parts.port or 443, headers=login)
        return connection

    # ── credentials ──────────────────────────────────────────────────────────────────────────────────────────

    def _answer_challenge(self, challenges: list[str]) -> str:
        """The value of Authorization. Raises ServerError."""
        from rundlet.cli.credentials import config_key, lookup

        known = lookup(self._context, config_key(self._domain))
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {self._token(_parameters(rest), known)}"
            if scheme.lower() == "basic" and known.get("username"):
                return _basic(known)
        raise ServerError(f"{self.host}: you are not authorized to perform this operation (try 'login')")

    def _token(self, parameters: dict[str, str], known: dict[str, str]) -> str:
        realm = urlsplit(parameters.get("realm", ""))
        if realm.scheme != "https" or not realm.hostname:
            raise ServerError(f"{self.host} asks for a token from {parameters.get('realm')!r}, which is no https URL")
        query = {"service": parameters.get("service", ""), "scope": self._scope, "client_id": _CLIENT}
        tls = tls_context(self._context.config_directory, realm.netloc)
        connection = http.client.HTTPSConnection(realm.hostname, realm.port, timeout=TIMEOUT, context=tls)
        try:
            if known.get("identitytoken"):
                form = {**query, "grant_type": "refresh_token", "refresh_token": known["identitytoken"]}
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", realm.path or "/", urlencode(form), kind)
            else:
                login = {"Authorization": _basic(known)} if known.get("username") else {}
                connection.request("GET", f"{realm.path or '/'}?{urlencode(query)}", headers=login)
            answer = connection.getresponse()
            found = json.loads(answer.read(ANSWER_LIMIT)) if answer.status == 200 else {}
            token = found.get("token") or found.get("access_token")
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            raise ServerError(f"{realm.netloc}: {_words(exc)}") from exc
        finally:
            connection.close()
        if not isinstance(token, str):
            raise ServerError(f"{realm.netloc}: unauthorized: authentication required")
        return token


def _basic(known: dict[str, str]) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"{known['username']}:{known.get('password', '')}".encode()).decode()


def _parameters(text: str) -> dict[str, str]:
    """Of a challenge: ``realm="…",service="…"``."""
    import re

    return {name.lower(): value for name, value in re.findall(r'([A-Za-z]+)="([^"]*)"', text)}


def _proxy(host: str) -> tuple[str, int, dict[str, str]] | None:
    """Host, port and headers of the proxy that the environment names for ``host``."""
    from urllib.request import getproxies, proxy_bypass

    chosen = getproxies().get("https", "")
    if not chosen or host == "localhost" or host.startswith("127.") or proxy_bypass(host):
        return None
    parts = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
    if not parts.hostname:
        raise ServerError(f"the proxy {chosen!r} is no URL")
    login = {}
    if parts.username:
        known = {"username": parts.username, "password": parts.password or ""}
        login["Proxy-Authorization"] = _basic(known)
    return parts.hostname, parts.port or 3128, login


def _words(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"tls: {exc.verify_message} (its authority goes to <config>/tls/<host>/ca.crt)"
    if isinstance(exc, OSError):
        return (exc.strerror or str(exc)).lower()
    return str(exc) or type(exc).__name__


def _why(data: bytes) -> str:
    """The reason in a server's answer."""
    try:
        error: Any = json.loads(data)["errors"][0]
        detail = error.get("detail")
        if isinstance(detail, dict):
            detail = (detail.get("Error") or {}).get("Msg")
        words = str(error.get("message") or "").rstrip(".")
        return f"{words}: {detail}" if detail else words
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""
