"""Files from the client and to it, by BuildKit's protocol (fsutil's DiffCopy).

The sender lists what there is, each file with the number of its turn and an empty record at the end; the receiver asks
for contents by number; data come in pieces, an empty one ends a file; FINISH goes both ways. What a client sends is
made a tar here and unpacked by the same confined worker as any build context: no name or link is followed by the
engine. At most some megabytes are asked for at a time, and no file may be longer than it was listed.
"""

import asyncio
import stat
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote_plus

import msgspec

from rundlet.api.buildkit_session import FileStat, Packet, PacketType
from rundlet.api.builds import ContextEntry
from rundlet.api.protobuf import decode, encode
from rundlet.builder.errors import BuildError
from rundlet.engine.builds.contexts import BadContextError
from rundlet.storage.layer import tar, tarwrite
from rundlet.transport.http2.connection import StreamEndedError
from rundlet.transport.http2.grpc import ClientCall

METHOD: Final = "/moby.filesync.v1.FileSync/DiffCopy"
_AHEAD: Final = 4 << 20
"""Bytes, and files, that are asked for before they are needed."""
_FILES_AHEAD: Final = 128
_FILES: Final = 2_000_000
_PIECE: Final = 256 << 10
_RECENT_NS: Final = 2_000_000_000
"""A file that changed so shortly ago may change again without another time."""

_DIRECTORY: Final = 1 << 31
_SYMLINK: Final = 1 << 27
_DEVICE: Final = 1 << 26
_FIFO: Final = 1 << 25
_SOCKET: Final = 1 << 24
_SETUID: Final = 1 << 23
_SETGID: Final = 1 << 22
_CHARACTER: Final = 1 << 21
_STICKY: Final = 1 << 20
_IRREGULAR: Final = 1 << 19
_KIND: Final = _DIRECTORY | _SYMLINK | _DEVICE | _FIFO | _SOCKET | _CHARACTER | _IRREGULAR
_KINDS: Final = (
    (_DIRECTORY, stat.S_IFDIR, tar.DIRECTORY),
    (_SYMLINK, stat.S_IFLNK, tar.SYMLINK),
    (_CHARACTER, stat.S_IFCHR, tar.CHARACTER),
    (_DEVICE, stat.S_IFBLK, tar.BLOCK_DEVICE),
    (_FIFO, stat.S_IFIFO, tar.FIFO),
)
_BITS: Final = ((_SETUID, stat.S_ISUID), (_SETGID, stat.S_ISGID), (_STICKY, stat.S_ISVTX))


def go_mode(mode: int) -> int:
    """A mode of lstat(2) with the bits of Go's."""
    found = mode & 0o777
    for ours, theirs in _BITS:
        found |= ours if mode & theirs else 0
    for ours, theirs, _ in _KINDS:
        if stat.S_IFMT(mode) == theirs:
            found |= ours | (_DEVICE if ours == _CHARACTER else 0)
    return found


def unix_mode(mode: int) -> int:
    """The other way round."""
    found = mode & 0o777
    for theirs, ours in _BITS:
        found |= ours if mode & theirs else 0
    return found | next((ours for theirs, ours, _ in _KINDS if mode & theirs), stat.S_IFREG)


def request_headers(name: str, **patterns: Iterable[str]) -> list[tuple[str, str]]:
    """What is asked of the directory ``name``: ``include_patterns``, ``exclude_patterns``, ``followpaths``."""
    headers: list[tuple[str, str]] = []
    for option, values in (("dir_name", (name,)), *patterns.items()):
        key, words = option.replace("_", "-"), list(values)
        if not all(word.isascii() and word.isprintable() for word in words):
            words = [quote_plus(word) for word in words]
            headers.append((f"{key}-encoded", "1"))
        headers += [(key, word) for word in words]
    return headers


class _File:
    """One whose contents are on their way."""

    __slots__ = ("arrived", "done", "pieces", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.arrived = 0
        self.done = False
        self.pieces: deque[bytes] = deque()


class Receiver:
    """Of one call: :meth:`listing`, then :meth:`archive`. ``progress`` is told the bytes so far."""

    def __init__(self, call: ClientCall, progress: Callable[[int], None]) -> None:
        self._call = call
        self._progress = progress
        self._total = 0
        self._files: dict[int, _File] = {}
        self._waiting: deque[tuple[int, int]] = deque()
        self._ahead = 0

    async def listing(self) -> list[FileStat]:
        """All there is. Raises BadContextError, BuildError, CallError."""
        found: list[FileStat] = []
        while (packet := await self._packet()).stat is not None:
            _check(packet.stat)
            found.append(packet.stat)
            if len(found) > _FILES:
                raise BadContextError(f"it has more than {_FILES} files")
        return found

    async def archive(self, stats: Sequence[FileStat], wanted: Collection[int] | None) -> AsyncGenerator[bytes, None]:
        """A tar of the ``wanted`` ones (None: all). Raises BadContextError, BuildError, CallError."""
        chosen = [number for number in range(len(stats)) if wanted is None or number in wanted]
        self._waiting.extend((number, stats[number].size) for number in chosen if _has_data(stats[number]))
        out = bytearray()
        for number in chosen:
            file = stats[number]
            if file.mode & (_SOCKET | _IRREGULAR):
                continue
            out += tarwrite.encode(_entry(file))
            if _has_data(file):
                async for piece in self._contents(number, file):
                    out += piece
                    if len(out) >= _PIECE:
                        yield bytes(out)
                        out.clear()
                out += tarwrite.padding(file.size)
        yield bytes(out) + tarwrite.END

    async def finish(self) -> None:
        """All that was wanted is here. Raises BuildError, CallError."""
        await self._send(Packet(PacketType.FINISH))
        while (message := await self._call.next()) is not None:
            packet = decode(Packet, message)
            if packet.type == PacketType.FINISH:
                # The client may have ended the call with it.
                with suppress(StreamEndedError):
                    await self._call.end()
            elif packet.type == PacketType.ERROR:
                raise BuildError(packet.data.decode("utf-8", "replace"))

    async def _contents(self, number: int, stat: FileStat) -> AsyncGenerator[bytes, None]:
        await self._ask()
        file = self._files[number]
        while not file.done or file.pieces:
            while file.pieces:
                yield file.pieces.popleft()
            if not file.done:
                await self._data(stat.path)
        del self._files[number]
        self._ahead -= file.size

    async def _ask(self) -> None:
        while self._waiting:
            number, size = self._waiting[0]
            if self._files and (self._ahead + size > _AHEAD or len(self._files) >= _FILES_AHEAD):
                return
            self._waiting.popleft()
            self._files[number] = _File(size)
            self._ahead += size
            await self._send(Packet(PacketType.REQUEST, id=number))

    async def _data(self, wanted: str) -> None:
        packet = await self._packet()
        file = self._files.get(packet.id)
        if packet.type != PacketType.DATA or file is None or file.done:
            raise BadContextError(f"{wanted}: unexpected data")
        file.arrived += len(packet.data)
        file.done = not packet.data
        if file.arrived > file.size or (file.done and file.arrived < file.size):
            raise BadContextError("a file changed while it was sent")
        if packet.data:
            file.pieces.append(packet.data)
            self._total += len(packet.data)
            self._progress(self._total)

    async def _packet(self) -> Packet:
        message = await self._call.next()
        if message is None:
            raise BadContextError("the client stopped sending it")
        packet = decode(Packet, message)
        if packet.type == PacketType.ERROR:
            raise BuildError(packet.data.decode("utf-8", "replace"))
        return packet

    async def _send(self, packet: Packet) -> None:
        await self._call.send(encode(packet))


def _has_data(file: FileStat) -> bool:
    return not file.mode & _KIND and not file.link and file.size > 0


def _check(file: FileStat) -> None:
    parts = file.path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in file.path + file.link:
        raise BadContextError(f"invalid path {file.path!r}")
    if file.size < 0 or len(file.path.encode()) > tar.PATH_LIMIT:
        raise BadContextError(f"invalid file {file.path[:100]!r}")


def _entry(file: FileStat) -> tar.Entry:
    entry = tar.Entry()
    entry.name = file.path.encode()
    entry.link = file.link.encode()
    kind = next((kind for bit, _, kind in _KINDS if file.mode & bit), tar.REGULAR)
    entry.type = tar.HARDLINK if kind == tar.REGULAR and file.link else kind
    entry.mode = stat.S_IMODE(unix_mode(file.mode))
    entry.uid = entry.gid = 0
    entry.size = file.size if _has_data(file) else 0
    entry.mtime_ns = file.modified
    entry.major, entry.minor = file.major, file.minor
    entry.xattrs = [(name.encode(), value) for name, value in sorted(file.xattrs.items())] or None
    return entry


def context_entry(file: FileStat) -> ContextEntry:
    """``file`` as kept contexts remember it. BuildKit's clients tell no inode and no change time: what else there is
    to tell files apart goes into their places."""
    settled = file.modified < time.time_ns() - _RECENT_NS
    extra = repr((file.link, file.major, file.minor, sorted(file.xattrs.items()))).encode()
    return ContextEntry(
        file.path,
        unix_mode(file.mode),
        file.size,
        (file.modified or 1) if settled else 0,
        file.modified,
        zlib.crc32(extra),
        0,
    )


class Sent(msgspec.Struct, frozen=True):
    """A file to send: where its contents begin in the spooled archive."""

    stat: FileStat
    offset: int


async def send_files(call: ClientCall, files: Sequence[Sent], read: Callable[[int, int], bytes]) -> None:
    """Send ``files``, in the protocol's order (see :func:`sending_order`); ``read`` (offset, size) blocks.

    Raises BuildError, CallError.
    """
    asked: asyncio.Queue[int | None] = asyncio.Queue()

    async def listen() -> None:
        try:
            while (message := await call.next()) is not None:
                packet = decode(Packet, message)
                if packet.type == PacketType.REQUEST:
                    asked.put_nowait(packet.id)
                elif packet.type == PacketType.FINISH:
                    asked.put_nowait(None)
                elif packet.type == PacketType.ERROR:
                    raise BuildError(packet.data.decode("utf-8", "replace"))
        finally:
            asked.put_nowait(None)

    listening = asyncio.create_task(listen())
    try:
        for file in files:
            await call.send(encode(Packet(PacketType.STAT, file.stat)))
        await call.send(encode(Packet(PacketType.STAT)))
        while (number := await asked.get()) is not None:
            if not 0 <= number < len(files):
                raise BuildError(f"invalid file id {number}")
            await _send_contents(call, number, files[number], read)
        with suppress(StreamEndedError):
            await call.send(encode(Packet(PacketType.FINISH)))
            await call.end()
        await listening
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def _send_contents(call: ClientCall, number: int, file: Sent, read: Callable[[int, int], bytes]) -> None:
    at, end = file.offset, file.offset + (file.stat.size if not file.stat.mode & _KIND else 0)
    while at < end:
        data = await asyncio.to_thread(read, at, min(_PIECE, end - at))
        if not data:
            raise BuildError(f"{file.stat.path}: its contents are gone")
        await call.send(encode(Packet(PacketType.DATA, id=number, data=data)))
        at += len(data)
    await call.send(encode(Packet(PacketType.DATA, id=number)))


def sending_order(path: str) -> str:
    """Sorts paths as the protocol wants them: what is in a directory directly after it."""
    return path.replace("/", "\0")
