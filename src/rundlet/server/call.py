"""One request, as the routers see it: path variables, query parameters and body, parsed as Docker parses them."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Collection
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from rundlet.api import codec, filters
from rundlet.api.filters import Filters
from rundlet.api.images import AuthConfig
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError

T = TypeVar("T")

_FALSE = frozenset({"", "0", "no", "false", "none"})
_CHUNK = 256 * 1024
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
"""As Go reads one: no blanks, no underscores, no other script's digits."""
_BEYOND = 1 << 63
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class Call:
    """A request with the API version that it is made in. ``variables`` are the path's."""

    __slots__ = ("request", "variables", "version")

    def __init__(self, request: web.BaseRequest, version: APIVersion, variables: dict[str, str]) -> None:
        self.request = request
        self.version = version
        self.variables = variables

    def __getitem__(self, variable: str) -> str:
        return self.variables[variable]

    def __contains__(self, key: str) -> bool:
        return key in self.request.query

    def text(self, key: str) -> str:
        """A query parameter; empty when it is not there."""
        return self.request.query.get(key, "")

    def texts(self, key: str) -> tuple[str, ...]:
        """All values of a query parameter that may be repeated."""
        return tuple(self.request.query.getall(key, ()))

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean: empty, ``0``, ``no``, ``false`` and ``none`` are false, everything else is true."""
        value = self.request.query.get(key)
        return default if value is None else value.strip().lower() not in _FALSE

    def integer(self, key: str) -> int | None:
        """A number; None when it is not there. Raises InvalidParameterError."""
        value = self.text(key)
        if not value:
            return None
        if not _INTEGER.fullmatch(value) or not -_BEYOND <= int(value) < _BEYOND:
            raise InvalidParameterError(f'invalid {key}: "{value}" is not a number')
        return int(value)

    def filters(self, accepted: Collection[str]) -> Filters:
        """The ``filters`` parameter. Raises InvalidFilterError for one that is not ``accepted``."""
        return filters.parse(self.text("filters"), accepted)

    def header(self, name: str) -> str:
        return self.request.headers.get(name, "")

    def auth(self) -> AuthConfig:
        """The credentials in ``X-Registry-Auth``; none when the header is not readable, as Docker has it."""
        encoded = self.header("X-Registry-Auth")
        if not encoded:
            return AuthConfig()
        try:
            padded = encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
            data = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
            return codec.decode(data, AuthConfig)
        except (binascii.Error, ValueError, InvalidParameterError):
            return AuthConfig()

    async def json(self, kind: type[T]) -> T:
        """The JSON body. Raises InvalidParameterError: not JSON, or of the wrong shape."""
        if self.request.body_exists or self.request.headers.get(hdrs.CONTENT_TYPE):
            self._check_content_type()
        return codec.decode(await self.request.read(), kind)

    async def optional_json(self, kind: type[T], default: T) -> T:
        """The JSON body, or ``default`` when there is none."""
        if not self.request.body_exists:
            return default
        data = await self.request.read()
        if not data or data.strip() in (b"null", b""):
            return default
        self._check_content_type()
        return codec.decode(data, kind)

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in pieces of at most 256 KiB."""
        content = self.request.content
        while chunk := await content.read(_CHUNK):
            yield chunk

    def _check_content_type(self) -> None:
        given = self.request.headers.get(hdrs.CONTENT_TYPE, "")
        kind = given.partition(";")[0].strip().lower()
        if not kind:
            raise InvalidParameterError(f"malformed Content-Type header ({given}): mime: no media type")
        if kind != "application/json":
            raise InvalidParameterError(f"unsupported Content-Type header ({given}): must be 'application/json'")


def container_name(text: str) -> str:
    """A container's new name without its leading slash. Raises InvalidParameterError as Docker says it."""
    name = text.removeprefix("/")
    if name and not _NAME.fullmatch(name):
        raise InvalidParameterError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name


def platforms(call: Call, key: str = "platform") -> tuple[str, ...]:
    """The ``platform`` parameter of images: each a JSON object, or ``os/arch[/variant]``, to the latter."""
    return tuple(_platform(value) for value in call.texts(key) if value)


def platform(call: Call) -> str:
    """The one ``platform``, or empty."""
    found = platforms(call)
    return found[0] if found else ""


class _PlatformJSON(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


def _platform(value: str) -> str:
    if not value.startswith("{"):
        return value
    try:
        parsed = msgspec.json.decode(value, type=_PlatformJSON)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise InvalidParameterError(f"failed to parse platform: {exc}") from exc
    if not (parsed.os and parsed.architecture):
        if parsed.variant and not (parsed.os or parsed.architecture):
            raise InvalidParameterError("optional platform fields provided, but OS and Architecture are missing")
        raise InvalidParameterError("both OS and Architecture must be provided")
    return "/".join(part for part in (parsed.os, parsed.architecture, parsed.variant) if part)
