"""A trust server's endpoints for one repository: files, keys, uploads; with the user's credentials, within limits.

Certificate authorities: the machine's, ``<config>/tls/<host>/*.crt`` as Docker has it, and ``certs.d/<host>``. There is
no way around TLS: what a server says at first contact is believed for its certificate.
"""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError
from rundlet.cli.trust.https import Place, connect, exchange, nobody_answered, receive, words
from rundlet.client.errors import ClientError
from rundlet.client.wire import DecodeError, loads, quote
from rundlet.trust.errors import (
    MissingMetadataError,
    ServerError,
    ServerUnreachableError,
    TooLargeError,
    UploadRefusedError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName
    from rundlet.client.http import Connection, Response
    from rundlet.trust.updater import Request

OFFICIAL = "https://notary.docker.io"
VARIABLE = "DOCKER_CONTENT_TRUST_SERVER"
ANSWER_LIMIT = 1 << 20
_CLIENT = "rundlet"
_HTTPS = "https://"


def server_for(name: ImageName) -> str:
    """The trust server's URL for an image. Raises CommandError."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen:
        if not chosen.lower().startswith(_HTTPS) or not _split(chosen)[0]:
            raise CommandError(f"valid https URL required for trust server, got {chosen}")
        return chosen.rstrip("/")
    return OFFICIAL if name.domain == "docker.io" else f"{_HTTPS}{name.domain}"


def _split(url: str) -> tuple[str, str]:
    """Host with port, and path, of an https URL."""
    host, slash, path = url[len(_HTTPS) :].partition("/")
    return host, slash + path


class Remote:
    """The trust data of one repository at its server. ``actions`` is what a token has to allow."""

    def __init__(self, context: Context, name: ImageName, actions: str) -> None:
        self.server = server_for(name)
        self.host, self._prefix = _split(self.server)
        self._context = context
        self._domain = name.domain
        self._gun = name.name
        self._scope = f"repository:{name.name}:{actions}"
        self._connection: Connection | None = None
        self._authorization = ""
        self._ahead: tuple[str, int, bytes] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ── what trust needs ─────────────────────────────────────────────────────────────────────────────────────

    def file(self, name: str, limit: int, following: Request | None = None) -> bytes | None:
        """A file of metadata; None when the server has none. ``following`` is asked for in the same breath, and kept
        for the next call. Raises ServerError, TooLargeError."""
        target = self._target(_file(name))
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == target:
            _, status, data = ahead
        else:
            status, data = self._request("GET", _file(name), limit=max(limit, ANSWER_LIMIT), following=following)
        if status == 404:
            return None
        if status != 200:
            raise ServerError(f"{self.host} answered {status} for {name}")
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

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────

    def _request(
        self,
        method: str,
        path: str,
        *,
        limit: int,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        following: Request | None = None,
    ) -> tuple[int, bytes]:
        target = self._target(path)
        answer, data = self._send(method, target, body, headers or {}, limit, following)
        if answer.status == 401:
            self._authorization = self._answer_challenge(answer.headers.get("www-authenticate", ""))
            answer, data = self._send(method, target, body, headers or {}, limit)
            if answer.status in (401, 403):
                raise self._unauthorized()
        return answer.status, data

    def _target(self, path: str) -> str:
        return f"{self._prefix}/v2/{self._gun}/_trust/tuf/{path}"

    def _unauthorized(self) -> ServerError:
        return ServerError(f"{self.host}: you are not authorized to perform this operation (try 'login')")

    def _send(
        self,
        method: str,
        target: str,
        body: bytes | None,
        headers: dict[str, str],
        limit: int,
        following: Request | None = None,
    ) -> tuple[Response, bytes]:
        also = self._target(_file(following.name)) if following else ""
        sent = {"Accept": "application/json", **headers}
        if self._authorization:
            sent["Authorization"] = self._authorization
        while True:
            fresh = self._connection is None or not self._connection.idle
            try:
                if fresh or self._connection is None:
                    self._connection = connect(self._context.config_directory, Place(self.host))
                found = exchange(self._connection, method, target, sent, body, limit, also)
                if following:
                    self._ahead = self._second(self._connection, also, following.limit)
                return found
            except (OSError, ClientError) as exc:
                self.close()
                # A kept connection may have been closed by the server meanwhile: once more, on a new one.
                if fresh or method != "GET":
                    kind = ServerUnreachableError if nobody_answered(exc) else ServerError
                    raise kind(f"{self.host}: {words(exc)}") from exc

    def _second(self, connection: Connection, target: str, limit: int) -> tuple[str, int, bytes] | None:
        """The answer to the request that was sent with the one before; None when that has to be asked for by itself."""
        try:
            answer, data = receive(connection, target, limit)
        except (OSError, ClientError, TooLargeError):
            self.close()
            return None
        return (target, answer.status, data) if answer.status in (200, 404) else None

    # ── credentials ──────────────────────────────────────────────────────────────────────────────────────────

    def _answer_challenge(self, challenge: str) -> str:
        """The value of Authorization. Raises ServerError."""
        from rundlet.cli.credentials import config_key, lookup

        known = lookup(self._context, config_key(self._domain))
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            return f"Bearer {self._token(_parameters(rest), known)}"
        if scheme.lower() == "basic" and known.get("username"):
            return _basic(known)
        raise self._unauthorized()

    def _token(self, parameters: dict[str, str], known: dict[str, str]) -> str:
        """Raises ServerError."""
        realm = parameters.get("realm", "")
        host, path = _split(realm)
        if not realm.lower().startswith(_HTTPS) or not host:
            raise ServerError(f"{self.host} asks for a token from {realm!r}, which is no https URL")
        query = _form({"service": parameters.get("service", ""), "scope": self._scope, "client_id": _CLIENT})
        try:
            connection = connect(self._context.config_directory, Place(host))
            try:
                if known.get("identitytoken"):
                    extra = {"grant_type": "refresh_token", "refresh_token": known["identitytoken"]}
                    body = f"{query}&{_form(extra)}".encode()
                    kind = {"Content-Type": "application/x-www-form-urlencoded"}
                    answer, data = exchange(connection, "POST", path or "/", kind, body, ANSWER_LIMIT)
                else:
                    login = {"Authorization": _basic(known)} if known.get("username") else {}
                    target = f"{path or '/'}{'&' if '?' in path else '?'}{query}"
                    answer, data = exchange(connection, "GET", target, login, None, ANSWER_LIMIT)
            finally:
                connection.close()
            found = loads(data) if answer.status == 200 else {}
            token = found.get("token") or found.get("access_token")
        except (OSError, ClientError, DecodeError, AttributeError) as exc:
            raise ServerError(f"{host}: {words(exc)}") from exc
        if not isinstance(token, str):
            raise ServerError(f"{host}: unauthorized: authentication required")
        return token


def _file(name: str) -> str:
    return f"{quote(name, '/')}.json"


def _form(values: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value)}" for name, value in values.items())


def _basic(known: dict[str, str]) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"{known['username']}:{known.get('password', '')}".encode()).decode()


def _parameters(text: str) -> dict[str, str]:
    """Of a challenge: ``realm="…",service="…"``."""
    import re

    return {name.lower(): value for name, value in re.findall(r'([A-Za-z]+)="([^"]*)"', text)}


def _why(data: bytes) -> str:
    """The reason in a server's answer."""
    try:
        error: Any = loads(data)["errors"][0]
        detail = error.get("detail")
        if isinstance(detail, dict):
            detail = (detail.get("Error") or {}).get("Msg")
        said = str(error.get("message") or "").rstrip(".")
        return f"{said}: {detail}" if detail else said
    except (DecodeError, KeyError, IndexError, TypeError, AttributeError):
        return ""
