"""For builds: an archive's members to where COPY, ADD or WORKDIR say. Standard library and ``linux`` only."""

import errno
import os
import posixpath
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rundlet.linux import passwd, path
from rundlet.storage.files import view
from rundlet.storage.files.extract import Extractor
from rundlet.storage.layer import tar
from rundlet.storage.layer.apply import AUFS_PRIVATE, OPAQUE, WHITEOUT
from rundlet.storage.layer.tar import Entry
from rundlet.storage.tree import remove_tree

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class DestinationError(Exception):
    """Something that is no directory is in the way."""


class Target:
    """Where members go: the absolute path of a directory, and the new name of the only member, if it gets one."""

    __slots__ = ("directory", "name")

    def __init__(self, directory: str, name: bytes) -> None:
        self.directory = directory
        self.name = name


def target(root: int, destination: str, *, rename: bool) -> Target:
    """With ``rename`` a destination that is no directory (yet) is the file's new name.

    Raises: DestinationError, OSError.
    """
    where, exists = view.evaluate(root, destination)
    where = posixpath.normpath(where)
    if exists:
        fd = path.open_in_root(root, where, os.O_PATH)
        try:
            os.close(path.openat2(fd, ".", os.O_PATH | os.O_DIRECTORY))
            return Target(where, b"")
        except NotADirectoryError:
            pass
        finally:
            os.close(fd)
        if not rename:
            raise DestinationError(destination)
    if rename:
        return Target(posixpath.dirname(where), os.fsencode(posixpath.basename(where)))
    return Target(where, b"")


def make_directories(root: int, where: str, owner: tuple[int, int], mode: int = 0o755) -> int:
    """Open the directory ``where``; it and its parents are made, as ``owner``'s and with ``mode``, where they are
    missing.

    Raises: DestinationError, OSError.
    """
    fd = path.open_in_root(root, "/", _DIRECTORY)
    for word in where.split("/"):
        if word in ("", "."):
            continue
        try:
            inner = _step(fd, word, owner, mode)
        except OSError as exc:
            if exc.errno in (errno.ENOTDIR, errno.ELOOP):
                raise DestinationError(where) from exc
            raise
        finally:
            os.close(fd)
        fd = inner
    return fd


def _step(fd: int, word: str, owner: tuple[int, int], mode: int) -> int:
    flags = _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(word, flags, dir_fd=fd)
    except FileNotFoundError:
        os.mkdir(word, 0o755, dir_fd=fd)
        inner = os.open(word, flags, dir_fd=fd)
        os.fchown(inner, *owner)
        if mode != 0o755:
            os.fchmod(inner, mode)
        return inner


def owner_of(root: int, text: str, *, lenient: bool = False) -> tuple[int, int]:
    """``--chown``: a user alone means its own group, a number alone the same number as group. Raises UserError; not if
    ``lenient``: what the image does not know is root then, or as a group the user's."""
    user, colon, group = text.partition(":")
    if not colon and user.isdigit():
        text = f"{user}:{user}"
    if not lenient:
        found = passwd.resolve_user(root, text)
        return found.uid, found.gid
    uid, gid = _known(root, user) or (0, 0)
    if user.isdigit():
        gid = uid
    if group:
        known = _known(root, f"0:{group}")
        gid = known[1] if known is not None else gid
    return uid, gid


def _known(root: int, text: str) -> tuple[int, int] | None:
    try:
        found = passwd.resolve_user(root, text)
    except passwd.UserError:
        return None
    return found.uid, found.gid


_WHOSE: Final = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_SHIFT: Final = {"u": 6, "g": 3, "o": 0}
_WHAT: Final = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}
_UMASK: Final = 0o022


def changed(mode: int, changes: Iterable[Sequence[str]], *, directory: bool) -> int:
    """``mode`` after ``changes`` as chmod(1) makes them: see access.ModeChange."""
    executable = directory or bool(mode & 0o111)
    for whose, action, what in changes:
        mask = 0
        for letter in whose or "a":
            mask |= _WHOSE[letter]
        bits = _meant(mode, what, executable=executable) & mask
        if not whose:
            bits &= ~_UMASK
        if action == "=":
            mode = mode & ~mask | bits
        elif action == "+":
            mode |= bits
        else:
            mode &= ~bits
    return mode


def _meant(mode: int, what: str, *, executable: bool) -> int:
    if what in _SHIFT:
        return (mode >> _SHIFT[what] & 7) * 0o111
    bits = 0
    for letter in what:
        if letter == "X":
            bits |= _WHAT["x"] if executable else 0
        else:
            bits |= _WHAT[letter]
    return bits


class Placer(Extractor):
    """An Extractor that changes names and modes. ``request`` has ``chmod`` (a number, changes or None), ``enclosed``
    where the destination is the root of the archive's links, and ``layer`` where the archive is a layer whose whiteouts
    are to be carried out."""

    def __init__(
        self,
        root: int,
        directory: int,
        where: Target,
        reader: tar.Reader,
        request: dict[str, Any],
        owner: tuple[int, int] | None,
    ) -> None:
        enclosed = bool(request.get("enclosed"))
        super().__init__(
            directory if enclosed else root,
            directory,
            "/" if enclosed else where.directory,
            reader,
            keep_kinds=request.get("keep_kinds", True),
            owner=None if request.get("own_names") else owner,
        )
        self._name = where.name
        self._chmod: int | list[list[str]] | None = request.get("chmod")
        self._layer = bool(request.get("layer"))

    def _entry(self, entry: Entry) -> None:
        if self._layer and entry.name.rpartition(b"/")[2].startswith(WHITEOUT):
            self._carry_out(entry.name)
            return
        if self._name:
            entry.name = self._name
        if self._chmod is not None and entry.type not in (tar.SYMLINK, tar.HARDLINK):
            entry.mode = (
                self._chmod
                if isinstance(self._chmod, int)
                else changed(entry.mode, self._chmod, directory=entry.type == tar.DIRECTORY)
            )
        super()._entry(entry)

    def _carry_out(self, name: bytes) -> None:
        directory, _, base = name.rpartition(b"/")
        try:
            parent = self._existing(directory)
        except (FileNotFoundError, NotADirectoryError):
            return
        if base == OPAQUE:
            for each in os.listdir(parent):
                self._guard("remove", name, remove_tree, parent, os.fsencode(each))
        elif not base.startswith(AUFS_PRIVATE):
            self._guard("remove", name, remove_tree, parent, base[len(WHITEOUT) :])
        self._forget_open()
