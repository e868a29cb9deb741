"""Tar archives made from local files, as a stream of bytes."""

from __future__ import annotations

import os
import stat
import tarfile

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18
BLOCK = 512


def pack(path: str, name: str, *, contents_only: bool) -> Iterator[bytes]:
    """An archive of ``path`` under ``name``; of a directory with ``contents_only``, what is in it.

    Raises CommandError when a file can't be read.
    """
    links: dict[tuple[int, int], str] = {}
    try:
        yield from _entry(path, "." if contents_only else name, links)
    except OSError as exc:
        raise CommandError(f"{exc.filename or path}: {(exc.strerror or str(exc)).lower()}") from exc
    yield b"\0" * (2 * BLOCK)


def _entry(path: str, name: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    status = os.lstat(path)
    info = _header(path, name, status, links)
    if info is None:
        return
    if info.isreg():
        yield from _file(path, info)
        return
    yield info.tobuf(tarfile.PAX_FORMAT)
    if info.isdir():
        for child in sorted(os.listdir(path)):
            yield from _entry(os.path.join(path, child), f"{name}/{child}", links)


def _header(path: str, name: str, status: os.stat_result, links: dict[tuple[int, int], str]) -> tarfile.TarInfo | None:
    """The member's header; None for what an archive can't hold (a socket)."""
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, status.st_mtime
    kind = stat.S_IFMT(status.st_mode)
    key = (status.st_dev, status.st_ino)
    if kind == stat.S_IFREG and key in links:
        info.type, info.linkname = tarfile.LNKTYPE, links[key]
    elif kind == stat.S_IFREG:
        info.size = status.st_size
        if status.st_nlink > 1:
            links[key] = name
    elif kind == stat.S_IFDIR:
        info.type = tarfile.DIRTYPE
        info.name = name + "/"
    elif kind == stat.S_IFLNK:
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif kind == stat.S_IFIFO:
        info.type = tarfile.FIFOTYPE
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        info.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    else:
        return None
    return info


def _file(path: str, info: tarfile.TarInfo) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = info.size
        while left:
            # The header has promised a size: a file that grows is cut, one that shrinks is filled with zeros.
            piece = os.read(fd, min(CHUNK, left)) or b"\0" * min(CHUNK, left)
            left -= len(piece)
            yield piece
    finally:
        os.close(fd)
    yield b"\0" * (-info.size % BLOCK)
