"""What COPY and ADD bring: each piece is a digest (of names, kinds, modes, owners, contents; never times) and a way to
get its archive, again and again."""

import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec

from rundlet.builder.dockerfile.ast import InlineFile
from rundlet.builder.memo import PickMemo
from rundlet.storage.files.access import FileAccess, Picked, PickRequest
from rundlet.storage.layer import tar, tarwrite

Archive = AsyncGenerator[bytes, None]


class Piece(msgspec.Struct, frozen=True):
    """``single`` is set for one thing that is no directory: the destination may be its new name. ``plain``: there is no
    directory in it, however many things there are. ``owned``: its own
    owners count (a stage's files, an archive's), else they are root's. ``keep_kinds`` and ``enclosed`` are as in
    PlaceRequest."""

    digest: str
    open: Callable[[], Archive]
    single: bool = False
    plain: bool = False
    directory: bool = False
    owned: bool = False
    keep_kinds: bool = True
    enclosed: bool = False
    label: str = "file"


async def picked(
    reader: Callable[[], FileAccess], request: PickRequest, *, owned: bool, memo: PickMemo | None = None
) -> tuple[Piece, list[Picked]]:
    """What ``request`` finds, hashed unless ``memo`` knows, and what that is. Raises FileAccessError."""
    known = memo.get(request) if memo is not None else None
    digest, found = known or await _hashed(reader, request)
    if memo is not None and known is None:
        memo.put(request, digest, found)

    async def opened() -> Archive:
        access = reader()
        try:
            await access.pick(request)
            async for chunk in access.chunks():
                yield chunk
        finally:
            await access.close()

    single = len(found) == 1 and not found[0].directory and not request.parents
    directory = len(found) == 1 and found[0].directory
    label = "multi" if len(found) > 1 else "dir" if directory else "file"
    plain = not request.parents and not any(item.directory for item in found)
    return Piece(digest, opened, single, plain, directory, owned, label=label), found


async def _hashed(reader: Callable[[], FileAccess], request: PickRequest) -> tuple[str, list[Picked]]:
    hasher = hashlib.sha256()
    access = reader()
    try:
        found = await access.pick(msgspec.structs.replace(request, still=True))
        async for chunk in access.chunks():
            hasher.update(chunk)
    finally:
        await access.close()
    return hasher.hexdigest(), list(found)


async def contents(reader: Callable[[], FileAccess], request: PickRequest) -> Archive:
    """The bytes of the one file that ``request`` finds."""
    access = reader()
    try:
        await access.pick(msgspec.structs.replace(request, raw=True))
        async with aclosing(access.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        await access.close()


def inline(files: Sequence[InlineFile], time_ns: int) -> Piece:
    """Here-documents as files."""
    data = b"".join(file_member(file.name, file.text.encode(), time_ns) for file in files) + tarwrite.END
    still = b"".join(file_member(file.name, file.text.encode(), 0) for file in files)

    async def opened() -> Archive:
        yield data

    return Piece(hashlib.sha256(still).hexdigest(), opened, single=len(files) == 1)


def file_member(name: str, data: bytes, time_ns: int, mode: int = 0o644) -> bytes:
    """A member of a tar, root's."""
    return file_header(name, len(data), time_ns, mode) + data + tarwrite.padding(len(data))


def file_header(name: str, size: int, time_ns: int, mode: int) -> bytes:
    entry = tar.Entry()
    entry.name, entry.type, entry.link = name.encode(), tar.REGULAR, b""
    entry.mode, entry.uid, entry.gid = mode, 0, 0
    entry.size, entry.mtime_ns, entry.major, entry.minor, entry.xattrs = size, time_ns, 0, 0, None
    return tarwrite.encode(entry)
