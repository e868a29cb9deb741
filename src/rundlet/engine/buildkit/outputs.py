"""Results that go to the client: archives as one stream, directories file by file."""

import asyncio
import json
import os
import posixpath
import stat
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qs, unquote, urlsplit

from rundlet.api.buildkit_session import BytesMessage, FileStat
from rundlet.api.builds import Output
from rundlet.api.protobuf import encode
from rundlet.engine.buildkit.filesync import Sent, go_mode, send_files, sending_order
from rundlet.engine.buildkit.session import Session
from rundlet.engine.buildkit.stores import ClientStore
from rundlet.engine.builds.workspaces import workspace_of
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError

METHOD: Final = "/moby.filesync.v1.FileSend/DiffCopy"
_EXPORTS: Final = "export"
"""What clients call the store of an image that goes to a directory."""
_TRUE: Final = ("true", "1")
_EXPORTER: Final = "buildkit-attachable-exporter-id"
_PIECE: Final = 1 << 20
_KINDS: Final = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


class Files(Protocol):
    """What of images can be sent."""

    async def root_files(self, image: str) -> AsyncIterator[bytes]: ...


Save = Callable[[tuple[str, ...]], Awaitable[AsyncIterator[bytes]]]


class OutputSender:
    """One per engine."""

    def __init__(self, context: Context, files: Files, save: Save) -> None:
        self._context = context
        self._files = files
        self._save = save

    async def send(self, session: Session, outputs: Sequence[Output], results: Sequence[Mapping[str, Any]]) -> None:
        """``results`` are what the build says of its ``outputs``: the index of each, and where it is to be had.

        Raises InvalidParameterError, CallError.
        """
        for index, output in enumerate(outputs):
            parts = [one for one in results if one.get("index") == index]
            if not parts:
                continue
            if output.attrs.get("tar", "true") not in _TRUE:
                # Its index is the client's to write, of what it is told about the result.
                await self._stored(ClientStore(session, _EXPORTS), parts[0]["url"], index=False)
                continue
            if not session.serves(METHOD):
                raise InvalidParameterError(f"method {METHOD} not supported by the client")
            if output.type == "local":
                await self._send_directory(session, index, parts)
            else:
                await self._send_archive(session, index, parts[0]["url"])

    async def send_caches(
        self, session: Session, targets: Sequence[str], results: Sequence[Mapping[str, Any]]
    ) -> dict[str, str]:
        """Put the build caches among ``results`` where ``targets`` say; what the client is told. Raises CallError."""
        told: dict[str, str] = {}
        for one in results:
            if "cache" not in one:
                continue
            fields = dict(field.partition("=")[::2] for field in targets[one["cache"]].split(","))
            described = await self._stored(ClientStore(session, fields["dest"]), one["url"])
            told["cache.manifest"] = json.dumps(described)
        return told

    async def _stored(self, store: ClientStore, url: str, *, index: bool = True) -> dict[str, Any]:
        """An archive's blobs, one by one, in a store of the client's."""
        async with workspace_of(self._context) as workspace, self._opened(url) as chunks:
            return await store.save(chunks, f"{workspace.path}/files/archive", index=index)

    async def _send_archive(self, session: Session, index: int, url: str) -> None:
        async with session.channel.call(METHOD, [(_EXPORTER, str(index))]) as call, self._opened(url) as chunks:
            async for chunk in chunks:
                for at in range(0, len(chunk), _PIECE):
                    await call.send(encode(BytesMessage(chunk[at : at + _PIECE])))
            await call.end()
            while await call.next() is not None:
                pass

    async def _send_directory(self, session: Session, index: int, parts: Sequence[Mapping[str, Any]]) -> None:
        async with workspace_of(self._context) as workspace:
            with open(f"{workspace.path}/files/output", "w+b") as spool:
                files: dict[str, Sent] = {}
                for part in parts:
                    begin = spool.tell()
                    async with self._opened(part["url"]) as chunks:
                        async for chunk in chunks:
                            await asyncio.to_thread(spool.write, chunk)
                    await asyncio.to_thread(_index, spool, begin, part.get("directory", ""), files)
                    spool.seek(0, os.SEEK_END)
                ordered = [files[name] for name in sorted(files, key=sending_order)]

                def read(offset: int, size: int) -> bytes:
                    return os.pread(spool.fileno(), size, offset)

                async with session.channel.call(METHOD, [(_EXPORTER, str(index))]) as call:
                    await send_files(call, ordered, read)

    @asynccontextmanager
    async def _opened(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        parsed = urlsplit(url)
        if parsed.path == "/images/get":
            chunks = await self._save(tuple(parse_qs(parsed.query)["names"]))
        else:
            chunks = await self._files.root_files(unquote(parsed.path.split("/")[3]))
        async with aclosing(cast("Any", chunks)):
            yield chunks


def _index(spool: Any, begin: int, directory: str, files: dict[str, Sent]) -> None:
    """Where each file of the archive that begins at ``begin`` is. Blocks."""
    spool.flush()
    spool.seek(begin)
    if directory:
        files[directory] = Sent(FileStat(directory, go_mode(stat.S_IFDIR | 0o755)), 0)
    with tarfile.open(fileobj=spool, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
            name = posixpath.normpath(f"{directory}/{member.name}".lstrip("/"))
            if name in (".", directory):
                continue
            files[name] = _sent(member, name, directory, files)


def _sent(member: tarfile.TarInfo, name: str, directory: str, files: Mapping[str, Sent]) -> Sent:
    modified = int(member.mtime * 10**9)
    if member.islnk():
        # Sent as a file of its own: the client's display of it is the same, and no order has to be kept.
        other = files.get(posixpath.normpath(f"{directory}/{member.linkname}".lstrip("/")))
        if other is not None:
            return Sent(
                FileStat(name, other.stat.mode, size=other.stat.size, modified=other.stat.modified), other.offset
            )
    kind = _KINDS.get(member.type, stat.S_IFREG)
    return Sent(
        FileStat(
            name,
            go_mode(kind | member.mode),
            member.uid,
            member.gid,
            member.size if kind == stat.S_IFREG else 0,
            modified,
            member.linkname if kind == stat.S_IFLNK else "",
            member.devmajor,
            member.devminor,
        ),
        member.offset_data,
    )
