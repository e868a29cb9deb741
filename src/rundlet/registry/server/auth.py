"""Basic authentication by an htpasswd file of bcrypt hashes (``htpasswd -B``), read again when it changes.

Fails closed: without the bcrypt package or with a line that can't be read nothing starts; a file that breaks later lets
nobody in.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import importlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from typing import Final

from rundlet.errors import InvalidParameterError
from rundlet.registry.server.errors import UnauthorizedError

_log = logging.getLogger(__name__)

CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Rundlet registry", charset="UTF-8"'}
REMEMBERED: Final = 300.0
"""Seconds for which a right password need not be hashed again: bcrypt is slow on purpose."""
_PREFIXES: Final = ("$2a$", "$2b$", "$2y$")
_SIGNIFICANT: Final = 72  # bytes of a password that bcrypt looks at
_REMEMBERED_AT_MOST: Final = 1000
_AT_ONCE: Final = 2

Check = Callable[[bytes, bytes], bool]


class HtpasswdError(InvalidParameterError):
    """The file can't be used; says what to do."""

    reason = "bad-htpasswd"


def bcrypt_check() -> Check:
    """``bcrypt.checkpw``. Raises HtpasswdError when the package is not installed."""
    try:
        check: Check = importlib.import_module("bcrypt").checkpw
    except ImportError as exc:
        raise HtpasswdError(
            "--htpasswd needs the bcrypt package, which is not installed: pip install 'rundlet[registry]'"
        ) from exc
    return check


class Htpasswd:
    """Who may use the registry."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._check = bcrypt_check()
        self._key = secrets.token_bytes(32)
        self._good: dict[bytes, float] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._seen: tuple[int, int, int] | None = None
        self._users: dict[str, bytes] = {}
        self._load()

    def _load(self) -> None:
        """Raises HtpasswdError."""
        try:
            with open(self._path, encoding="utf-8") as file:
                found = os.fstat(file.fileno())
                self._users = _parse(file.read(), self._path)
        except (OSError, UnicodeDecodeError) as exc:
            raise HtpasswdError(f"htpasswd: {exc}") from exc
        self._seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        self._good.clear()

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)
            if (found.st_ino, found.st_size, found.st_mtime_ns) != self._seen:
                self._load()
        except (OSError, HtpasswdError) as exc:
            if self._users:
                _log.error("nobody may log in until this is mended: %s", exc)
            self._users, self._seen = {}, None
            self._good.clear()

    async def require(self, authorization: str) -> str:
        """The user's name. Raises UnauthorizedError with the challenge."""
        self._refresh()
        user, password = _credentials(authorization)
        known = self._users.get(user)
        token = hmac.digest(self._key, b"\0".join((user.encode(), password)), hashlib.sha256)
        if known is not None and self._good.get(token, 0.0) > time.monotonic():
            return user
        async with self._slots:
            # An unknown user takes as long as a wrong password: names can't be told by the clock.
            against = known or next(iter(self._users.values()), None)
            right = against is not None and await asyncio.to_thread(self._check, password[:_SIGNIFICANT], against)
        if known is None or not right:
            raise UnauthorizedError("wrong user name or password", CHALLENGE)
        if len(self._good) >= _REMEMBERED_AT_MOST:
            self._good.clear()
        self._good[token] = time.monotonic() + REMEMBERED
        return user


def _parse(text: str, path: str) -> dict[str, bytes]:
    users: dict[str, bytes] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, hashed = line.partition(":")
        if not colon or not user or not hashed.startswith(_PREFIXES):
            raise HtpasswdError(f"{path}: line {number} is no user with a bcrypt hash (htpasswd -nB USER)")
        users[user] = hashed.encode()
    return users


def _credentials(authorization: str) -> tuple[str, bytes]:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise UnauthorizedError("", CHALLENGE)
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        name = user.decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise UnauthorizedError("the Authorization header can't be read", CHALLENGE) from exc
    if not colon or b"\0" in password:
        raise UnauthorizedError("the Authorization header can't be read", CHALLENGE)
    return name, password
