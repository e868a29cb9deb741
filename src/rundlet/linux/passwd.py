"""The users and groups of an image, from its own etc/passwd and etc/group.

The C library's lookup would load the image's NSS modules into a process of the host (CVE-2019-14271), so the two files
are read here, beneath the root, and numbers need no entry at all. Rules and messages are Docker's.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rundlet.linux import path, userns

_MAX_ID: Final = 2**31 - 1
_MAX_FILE: Final = 16 << 20
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")


class UserError(ValueError):
    """A user or group that the image does not know, or a number out of range; ``str()`` is what a Docker user knows."""


class User(NamedTuple):
    """Who a process runs as. ``name`` is empty for a number without an entry; ``home`` is "/" then."""

    uid: int
    gid: int
    additional_gids: tuple[int, ...]
    home: str
    name: str


class _PasswdEntry(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _GroupEntry(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(root_fd: int, spec: str, groups: Sequence[str] = ()) -> User:
    """The user that ``spec`` (``name``, ``uid``, either with ``:group`` or ``:gid``, or "" for root) means in a root.

    ``groups`` are further groups, by name or number. The groups whose members name the user are added unless ``spec``
    names a group itself. Missing files are empty ones.

    Raises: UserError; OSError when a file is there but is not a readable regular file.
    """
    wanted, _, wanted_group = spec.partition(":")
    entry = _find_user(root_fd, wanted)
    known = list(_groups(root_fd)) if wanted_group or groups or entry.name else []
    gid, additional = entry.gid, []
    if wanted_group:
        gid = _find_group(known, wanted_group)
    elif entry.name:
        additional = [group.gid for group in known if entry.name in group.members]
    additional += [_find_group(known, group) for group in groups]
    # The primary group is among the supplementary ones, or a program that drops it could get around a file's group
    # permissions (CVE-2022-36109).
    additional.insert(0, gid)
    if not userns.INITIAL:
        additional = _present(entry.uid, additional)
    return User(entry.uid, gid, tuple(dict.fromkeys(additional)), entry.home, entry.name)


def _present(uid: int, groups: list[int]) -> list[int]:
    """The groups that this user namespace has. Raises: UserError without the user, or the first group."""
    for kind, number, last in (("user", uid, userns.LAST_USER), ("group", groups[0], userns.LAST_GROUP)):
        if number > last:
            raise UserError(
                f"{kind} {number} does not exist in this engine's user namespace, which ends at {last}: it takes "
                "newuidmap and a larger range in /etc/subuid and /etc/subgid (see rundlet system doctor)"
            )
    return [group for group in groups if group <= userns.LAST_GROUP]


def _find_user(root_fd: int, wanted: str) -> _PasswdEntry:
    number = _number(wanted) if wanted else 0
    for entry in _users(root_fd):
        # What looks like a number is one, even where somebody bears it as a name.
        if entry.name == wanted if number is None else entry.uid == number:
            return entry
    if number is None:
        raise UserError(f"unable to find user {wanted}: no matching entries in passwd file")
    _check(number)
    return _PasswdEntry("", number, 0, "/")


def _find_group(known: Sequence[_GroupEntry], wanted: str) -> int:
    number = _number(wanted)
    for group in known:
        if group.name == wanted if number is None else group.gid == number:
            return group.gid
    if number is None:
        raise UserError(f"unable to find group {wanted}: no matching entries in group file")
    _check(number)
    return number


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _check(number: int) -> None:
    if not 0 <= number <= _MAX_ID:
        raise UserError(f"uids and gids must be in range 0-{_MAX_ID}")


def _users(root_fd: int) -> Iterator[_PasswdEntry]:
    for fields in _lines(root_fd, "etc/passwd"):
        name, _, uid, gid, _, home = (fields + [""] * 6)[:6]
        yield _PasswdEntry(name, _lenient(uid), _lenient(gid), home or "/")


def _groups(root_fd: int) -> Iterator[_GroupEntry]:
    for fields in _lines(root_fd, "etc/group"):
        name, _, gid, members = (fields + [""] * 4)[:4]
        yield _GroupEntry(name, _lenient(gid), tuple(member for member in members.split(",") if member))


def _lenient(text: str) -> int:
    """A field that should be a number; what isn't one counts as 0, as Docker reads it."""
    return int(text) if _NUMBER.fullmatch(text) else 0


def _lines(root_fd: int, name: str) -> Iterator[list[str]]:
    text = _read(root_fd, name).decode("utf-8", "surrogateescape")
    for line in text.split("\n"):
        line = line.strip()  # noqa: PLW2901 - the same line without its blanks
        if line and not line.startswith("#"):
            yield line.split(":")


def _read(root_fd: int, name: str) -> bytes:
    """The file's contents; a FIFO or a device in its place must not hold us up."""
    try:
        fd = path.open_in_root(root_fd, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        if status.st_size > _MAX_FILE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
        chunks: list[bytes] = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
