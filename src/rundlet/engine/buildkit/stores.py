"""Content stores of clients, reached through their sessions: images in an OCI layout, build caches in a directory.

It is containerd's content service, with the client's name of the store in each call's metadata.
"""

import asyncio
import json
import os
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import msgspec

from rundlet.api.buildkit import (
    ContentReadRequest,
    ContentReadResponse,
    ContentWrite,
    ContentWriteRequest,
    ContentWriteResponse,
)
from rundlet.api.protobuf import decode, encode
from rundlet.builder.errors import BuildError
from rundlet.engine.buildkit.session import Session
from rundlet.errors import InvalidParameterError
from rundlet.oci import mediatype
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import SIZE_LIMIT, Index, Manifest, decode_any
from rundlet.storage.layer import tar, tarwrite
from rundlet.transport.http2.grpc import CallError, ClientCall, Code

_SERVICE: Final = "/containerd.services.content.v1.Content"
_STORE: Final = "buildkit-attachable-store-id"
_PIECE: Final = 256 << 10
_DEPTH: Final = 4
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX: Final = "index.json"
_BLOBS: Final = "blobs/sha256/"


class ClientStore:
    """One of a client's."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._metadata = [(_STORE, name)]

    async def chunks(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """A blob, as the client has it: whoever uses it checks it. Raises CallError."""
        async with self._session.channel.call(f"{_SERVICE}/Read", self._metadata) as call:
            await call.send(encode(ContentReadRequest(str(digest))))
            await call.end()
            while (message := await call.next()) is not None:
                yield decode(ContentReadResponse, message).data

    async def read(self, digest: Digest) -> bytes:
        """A manifest or an index, checked. Raises CallError, BuildError."""
        data = bytearray()
        async for chunk in self.chunks(digest):
            data += chunk
            if len(data) > SIZE_LIMIT:
                raise BuildError(f"{digest}: too large for a manifest")
        if Digest.of(bytes(data)) != digest:
            raise BuildError(f"{digest}: the client's content is something else")
        return bytes(data)

    async def archive(self, root: Digest) -> AsyncGenerator[bytes, None]:
        """All that the manifest or index ``root`` is made of, as a tar of an OCI layout. Raises CallError, BuildError,
        InvalidParameterError."""
        data = await self.read(root)
        documents: dict[Digest, bytes] = {}
        blobs = await self._gather(root, data, documents, 0)
        index = data
        if isinstance(_document(data), Manifest):
            kind = msgspec.json.decode(data, type=_Kind).media_type or mediatype.OCI_MANIFEST
            entry = {"mediaType": kind, "digest": str(root), "size": len(data)}
            index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        yield _file("oci-layout", _LAYOUT) + _file(_INDEX, index)
        for directory in ("blobs", "blobs/sha256"):
            yield tarwrite.encode(_entry(directory, 0, tar.DIRECTORY))
        for digest, document in documents.items():
            yield _file(f"{_BLOBS}{digest.encoded}", document)
        for digest, size in blobs.items():
            yield tarwrite.encode(_entry(f"{_BLOBS}{digest.encoded}", size))
            arrived = 0
            async for chunk in self.chunks(digest):
                arrived += len(chunk)
                if arrived > size:
                    break
                yield chunk
            if arrived != size:
                raise BuildError(f"{digest}: the client's content has not the size that it was said to have")
            yield tarwrite.padding(size)
        yield tarwrite.END

    async def _gather(
        self, digest: Digest, data: bytes, documents: dict[Digest, bytes], depth: int
    ) -> dict[Digest, int]:
        """Sizes of the blobs; the documents on the way to them go to ``documents``."""
        if depth > _DEPTH:
            raise InvalidParameterError("an index is nested too deeply")
        documents[digest] = data
        document = _document(data)
        if isinstance(document, Manifest):
            return {one.digest: one.size for one in (document.config, *document.layers)}
        found: dict[Digest, int] = {}
        for entry in document.manifests or ():
            found |= await self._gather(entry.digest, await self.read(entry.digest), documents, depth + 1)
        return found

    async def save(self, archive: AsyncIterator[bytes], spool: str, *, index: bool = True) -> dict[str, Any]:
        """Put the blobs of an OCI layout's tar into the store, its index (if ``index``) as one of them; that one's
        descriptor.

        ``spool`` is a path for meanwhile. Raises CallError.
        """
        with open(spool, "w+b") as file:
            async for chunk in archive:
                await asyncio.to_thread(file.write, chunk)
            file.seek(0)
            members = await asyncio.to_thread(_members, file)
            begin, size = members.pop(_INDEX)
            listing = os.pread(file.fileno(), size, begin)
            for name, (offset, length) in members.items():
                await self._write(Digest.parse(f"sha256:{name}"), length, file.fileno(), offset)
            digest = Digest.of(listing)
            if index:
                await self._write(digest, size, file.fileno(), begin)
        return {"mediaType": mediatype.OCI_INDEX, "digest": str(digest), "size": size}

    async def _write(self, digest: Digest, size: int, fd: int, offset: int) -> None:
        ref = f"cache-{digest}"
        asked = ContentWriteRequest(ContentWrite.STAT, ref, size, str(digest))
        try:
            async with self._session.channel.call(f"{_SERVICE}/Write", self._metadata) as call:
                at = (await _answered(call, asked)).offset
                while at < size:
                    data = await asyncio.to_thread(os.pread, fd, min(_PIECE, size - at), offset + at)
                    await _answered(call, ContentWriteRequest(ContentWrite.WRITE, ref, offset=at, data=data))
                    at += len(data)
                await _answered(call, ContentWriteRequest(ContentWrite.COMMIT, ref, size, str(digest), at))
                # With that the client ends the call: it has no end of ours any more.
                await call.next()
        except CallError as exc:
            if exc.code != Code.ALREADY_EXISTS:
                raise


async def _answered(call: ClientCall, request: ContentWriteRequest) -> ContentWriteResponse:
    await call.send(encode(request))
    message = await call.next()
    if message is None:
        raise BuildError("the client stopped taking its build cache")
    return decode(ContentWriteResponse, message)


def _document(data: bytes) -> Manifest | Index:
    """Raises ManifestError: it is neither."""
    try:
        kind = msgspec.json.decode(data, type=_Kind)
    except msgspec.MsgspecError as exc:
        raise BuildError("the client's content is no manifest") from exc
    return decode_any(data, kind.media_type or (mediatype.OCI_INDEX if kind.manifests else mediatype.OCI_MANIFEST))


class _Kind(msgspec.Struct, rename="camel"):
    media_type: str = ""
    manifests: list[msgspec.Raw] | None = None


def _members(file: Any) -> dict[str, tuple[int, int]]:
    """Where the index and each blob (by its hexadecimal digest) of an archive are. Blocks."""
    found: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isreg() and (name == _INDEX or name.startswith(_BLOBS)):
                found[name.removeprefix(_BLOBS)] = (member.offset_data, member.size)
    return found


def _entry(name: str, size: int, kind: bytes = tar.REGULAR) -> tar.Entry:
    entry = tar.Entry()
    entry.name = name.encode()
    entry.link = b""
    entry.type = kind
    entry.mode = 0o755 if kind == tar.DIRECTORY else 0o644
    entry.uid = entry.gid = entry.mtime_ns = entry.major = entry.minor = 0
    entry.size = size
    entry.xattrs = None
    return entry


def _file(name: str, data: bytes) -> bytes:
    return tarwrite.encode(_entry(name, len(data))) + data + tarwrite.padding(len(data))
