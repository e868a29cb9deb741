"""The endpoints of a Notary trust server: ``/v2/<repository>/_trust/tuf/…``.

What is accepted and what is made of it is decided elsewhere; here are requests, limits and Notary's errors.
"""

import asyncio
import email.message
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec
from aiohttp import web
from aiohttp.multipart import BodyPartReader

from rundlet.errors import RundletError
from rundlet.registry.server.errors import ServerError
from rundlet.registry.server.paths import Target

FILE_LIMIT: Final = 8 << 20
FILES_LIMIT: Final = 256
UPLOAD_LIMIT: Final = 64 << 20

_ROLE: Final = r"(?P<role>root|targets(?:/[a-z0-9_\-]+)*|snapshot|timestamp)"
_CURRENT: Final = re.compile(rf"{_ROLE}\.json")
_BY_HASH: Final = re.compile(rf"{_ROLE}\.(?P<hash>[0-9a-fA-F]{{64}})\.json")
_VERSION: Final = re.compile(rf"(?P<version>[1-9][0-9]{{0,9}})\.{_ROLE}\.json")
_KEY: Final = re.compile(r"(?P<role>snapshot|timestamp)\.key")

T = TypeVar("T")


class PublicKey(Protocol):
    def encode(self) -> dict[str, object]: ...


class Backend(Protocol):
    """The store and the rules behind the endpoints; methods block."""

    def current(self, gun: str, role: str) -> bytes | None: ...

    def version(self, gun: str, role: str, version: int) -> bytes | None: ...

    def by_hash(self, gun: str, role: str, sha256: str) -> bytes | None: ...

    def refresh(self, gun: str) -> None: ...

    def upload(self, gun: str, updates: dict[str, bytes]) -> None: ...

    def delete(self, gun: str) -> None: ...

    def key(self, gun: str, role: str) -> PublicKey: ...

    def new_key(self, gun: str, role: str) -> PublicKey: ...


class MetadataUnknownError(ServerError):
    status, code, words = 404, "METADATA_NOT_FOUND", "You have requested metadata that does not exist."


class MalformedUploadError(ServerError):
    status, code, words = 400, "MALFORMED_UPLOAD", "The body of your request is malformed."


class UploadTooLargeError(MalformedUploadError):
    status = 413


class OldMetadataError(ServerError):
    status, code, words = 400, "VERSION", "A newer version of metadata is already available."


class InvalidUpdateError(ServerError):
    """``kind`` is Notary's name of the reason; its clients read the words out of the detail."""

    status, code, words = 400, "INVALID_UPDATE", "Update sent by the client is invalid."

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self._kind = kind

    def body(self) -> bytes:
        detail = {"Name": self._kind, "Error": {"Missing": "", "Msg": self.detail}}
        return msgspec.json.encode({"errors": [{"code": self.code, "message": self.words, "detail": detail}]})


class Trust:
    """Handlers of one trust server; changes are made one after the other."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._changes = asyncio.Lock()

    async def read(self, _request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """A file in its newest, a given or a hashed version, or a key of the server."""
        gun, backend = target.repository, self._backend
        key = _KEY.fullmatch(target.last)
        if key is not None:
            found = await self._change(lambda: backend.key(gun, key["role"]))
            return _json(msgspec.json.encode(found.encode()))
        match = _BY_HASH.fullmatch(target.last)
        if match is not None:
            return _file(await asyncio.to_thread(backend.by_hash, gun, match["role"], match["hash"]))
        match = _VERSION.fullmatch(target.last)
        if match is not None:
            return _file(await asyncio.to_thread(backend.version, gun, match["role"], int(match["version"])))
        match = _CURRENT.fullmatch(target.last)
        if match is None:
            raise MetadataUnknownError(target.last[:200])
        if match["role"] in ("timestamp", "snapshot"):
            await self._change(lambda: backend.refresh(gun))
        return _file(await asyncio.to_thread(backend.current, gun, match["role"]))

    async def write(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """An upload of metadata, or a new key to rotate to."""
        gun, backend = target.repository, self._backend
        key = _KEY.fullmatch(target.last)
        if key is not None:
            made = await self._change(lambda: backend.new_key(gun, key["role"]))
            return _json(msgspec.json.encode(made.encode()))
        if target.last:
            raise MetadataUnknownError(target.last[:200])
        updates = await _receive(request)
        await self._change(lambda: backend.upload(gun, updates))
        return web.Response()

    async def delete(self, _request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """All of a repository's trust."""
        if target.last:
            raise MetadataUnknownError(target.last[:200])
        await self._change(lambda: self._backend.delete(target.repository))
        return web.Response()

    async def _change(self, call: Callable[[], T]) -> T:
        """Raises ServerError."""
        async with self._changes:
            try:
                return await asyncio.to_thread(call)
            except RundletError as exc:
                if exc.reason == "trust-upload-old":
                    raise OldMetadataError(str(exc)) from exc
                if exc.reason.startswith("trust-"):
                    raise InvalidUpdateError(getattr(exc, "name", "ErrValidation"), str(exc)) from exc
                raise


async def _receive(request: web.BaseRequest) -> dict[str, bytes]:
    """The files of a multipart form, by role. Raises MalformedUploadError."""
    if request.content_length is not None and request.content_length > UPLOAD_LIMIT:
        raise UploadTooLargeError(f"more than {UPLOAD_LIMIT} bytes")
    updates: dict[str, bytes] = {}
    left = UPLOAD_LIMIT
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise MalformedUploadError("a form within a form")
            role = _file_name(part.headers).removesuffix(".json")
            if not role or role in updates or len(updates) >= FILES_LIMIT:
                raise MalformedUploadError("each file needs a name of its own")
            updates[role] = await _part(part, min(left, FILE_LIMIT))
            left -= len(updates[role])
    except (ValueError, AssertionError, KeyError, web.RequestPayloadError) as exc:
        raise MalformedUploadError(str(exc)) from exc
    return updates


def _file_name(headers: Mapping[str, str]) -> str:
    """The whole ``filename``: a delegation's role has slashes, which most parsers take for a path to cut off."""
    message = email.message.Message()
    message["Content-Disposition"] = headers.get("Content-Disposition", "")
    return message.get_filename() or ""


async def _part(part: BodyPartReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(1 << 16):
        data += chunk
        if len(data) > limit:
            raise UploadTooLargeError(f"more than {limit} bytes")
    return bytes(data)


def _file(data: bytes | None) -> web.Response:
    if data is None:
        raise MetadataUnknownError
    return _json(data)


def _json(data: bytes) -> web.Response:
    return web.Response(body=data, headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
