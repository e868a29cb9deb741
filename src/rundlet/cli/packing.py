"""Tar archives made from local files, as a stream of bytes."""

from __future__ import annotations

import os
import stat

from rundlet.cli import tarheader
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18
_KINDS = {
    stat.S_IFREG: tarheader.REGULAR,
    stat.S_IFDIR: tarheader.DIRECTORY,
    stat.S_IFLNK: tarheader.SYMLINK,
    stat.S_IFIFO: tarheader.FIFO,
    stat.S_IFCHR: tarheader.CHARACTER,
    stat.S_IFBLK: tarheader.BLOCK_DEVICE,
}


def pack(path: str, name: str, *, contents_only: bool) -> Iterator[bytes]:
    """An archive of ``path`` under ``name``; of a directory with ``contents_only``, what is in it.

    Many small files come in few large pieces. Raises CommandError when a file can't be read.
    """
    links: dict[tuple[int, int], bytes] = {}
    held: list[bytes] = []
    size = 0
    try:
        for piece in _entry(path, b"." if contents_only else os.fsencode(name), links):
            held.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield b"".join(held)
                held, size = [], 0
    except OSError as exc:
        raise CommandError(f"{exc.filename or path}: {(exc.strerror or str(exc)).lower()}") from exc
    yield b"".join((*held, tarheader.END))


def _entry(path: str, name: bytes, links: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    status = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return  # a socket: no archive can hold it
    key = (status.st_dev, status.st_ino)
    if kind == tarheader.REGULAR and key in links:
        yield _header(name, tarheader.LINK, status, link=links[key])
    elif kind == tarheader.REGULAR:
        if status.st_nlink > 1:
            links[key] = name
        yield from _file(path, name, status)
    elif kind == tarheader.DIRECTORY:
        yield _header(name + b"/", kind, status)
        for child in sorted(os.listdir(path)):
            yield from _entry(os.path.join(path, child), name + b"/" + os.fsencode(child), links)
    else:
        link = os.fsencode(os.readlink(path)) if kind == tarheader.SYMLINK else b""
        yield _header(name, kind, status, link=link)


def _header(name: bytes, kind: bytes, status: os.stat_result, *, size: int = 0, link: bytes = b"") -> bytes:
    device = (0, 0)
    if kind in (tarheader.CHARACTER, tarheader.BLOCK_DEVICE):
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return tarheader.header(
        name,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime=int(status.st_mtime),
        link=link,
        device=device,
    )


def _file(path: str, name: bytes, status: os.stat_result) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        left = status.st_size
        yield _header(name, tarheader.REGULAR, status, size=left)
        while left:
            # The header has promised a size: a file that grows is cut, one that shrinks is filled with zeros.
            piece = os.read(fd, min(CHUNK, left)) or b"\0" * min(CHUNK, left)
            left -= len(piece)
            yield piece
    finally:
        os.close(fd)
    yield b"\0" * (-status.st_size % tarheader.BLOCK)
