"""Tar archives from a container, unpacked below one local directory and never beside it.

The archive's content is the container's to choose. Every component of a member's path is opened without following
symbolic links, beneath a directory descriptor, so a link that the archive brought along leads nowhere.
"""

from __future__ import annotations

import os

from rundlet.cli import tarheader
from rundlet.cli.exit import CommandError
from rundlet.cli.tarreader import Member, Pieces, Reader, TarError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pieces", "unpack"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(source: Pieces, directory: str, rename: Callable[[str], str], *, owners: bool) -> None:
    """Unpack ``source`` below ``directory``; ``rename`` maps a member's path ("" leaves the directory itself).

    ``owners``: set user and group as the archive has them. Raises CommandError.
    """
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    later: list[tuple[list[str], Member]] = []
    try:
        archive = Reader(source)
        for member in archive:
            parts = _parts(rename(os.fsdecode(member.name)))
            if member.kind == tarheader.DIRECTORY:
                os.close(_directory(root, parts))
                later.append((parts, member))
            elif parts:
                _member(root, parts, member, archive, rename, owners=owners)
        # Modes and times of directories last: a read-only one must still take its files.
        for parts, member in reversed(later):
            fd = _directory(root, parts)
            try:
                if parts:
                    _attributes(fd, member, owners=owners)
            finally:
                os.close(fd)
    except TarError as exc:
        raise CommandError(f"invalid archive from the engine: {exc}") from exc
    except OSError as exc:
        raise CommandError(f"{exc.filename or directory}: {(exc.strerror or str(exc)).lower()}") from exc
    finally:
        os.close(root)


def _parts(name: str) -> list[str]:
    """The components of a member's path. Raises CommandError for one that climbs."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise CommandError(f"refusing an archive member outside of the destination: {name}")
    return parts


def _directory(root: int, parts: list[str]) -> int:
    """A descriptor of a directory below ``root``, made where it is missing."""
    fd = os.dup(root)
    try:
        for part in parts:
            try:
                inner = os.open(part, DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=fd)
                inner = os.open(part, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
    except BaseException:
        os.close(fd)
        raise
    return fd


def _attributes(fd: int, member: Member, *, owners: bool) -> None:
    if owners:
        os.fchown(fd, member.uid, member.gid)
    os.fchmod(fd, member.mode & 0o7777)
    os.utime(fd, (member.mtime, member.mtime))


def _member(
    root: int,
    parts: list[str],
    member: Member,
    archive: Reader,
    rename: Callable[[str], str],
    *,
    owners: bool,
) -> None:
    parent = _directory(root, parts[:-1])
    name = parts[-1]
    try:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        if member.kind == tarheader.REGULAR:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=parent)
            try:
                for piece in archive.content():
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(fd, view) :]
                _attributes(fd, member, owners=owners)
            finally:
                os.close(fd)
        elif member.kind == tarheader.SYMLINK:
            os.symlink(os.fsdecode(member.link), name, dir_fd=parent)
            if owners:
                os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        elif member.kind == tarheader.LINK:
            target = _parts(rename(os.fsdecode(member.link)))
            source = _directory(root, target[:-1])
            try:
                os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        elif member.kind == tarheader.FIFO:
            os.mkfifo(name, member.mode & 0o7777, dir_fd=parent)
        elif member.kind in (tarheader.CHARACTER, tarheader.BLOCK_DEVICE):
            raise CommandError(f"refusing to make the device {os.fsdecode(member.name)} on this machine")
    finally:
        os.close(parent)
