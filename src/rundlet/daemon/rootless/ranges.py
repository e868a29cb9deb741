"""Which users and groups a user namespace of an ordinary user can have: /etc/subuid, /etc/subgid. No side effects.

See: subuid(5), user_namespaces(7).
"""

import pwd
from collections.abc import Sequence
from typing import NamedTuple

from rundlet.linux.subids import SUBGID, SUBUID, Range, own, parse, read

__all__ = ["Extent", "Range", "RangeError", "check_overlap", "extents", "for_user", "own", "parse", "read", "user_name"]


class RangeError(Exception):
    """The machine's tables of ranges can't be used; the message is one line for the user."""


class Extent(NamedTuple):
    """``length`` IDs from ``inside`` in the namespace are those from ``outside`` on the machine."""

    inside: int
    outside: int
    length: int


def check_overlap(table: Sequence[Range], mine: Sequence[Range], path: str) -> None:
    """Raises RangeError when somebody else has a part of ``mine``: their containers could read each other's files."""
    for entry in table:
        for range_ in mine:
            if entry.owner != range_.owner and entry.start < range_.end and range_.start < entry.end:
                raise RangeError(
                    f"{path}: the range {range_.owner}:{range_.start}:{range_.length} overlaps "
                    f"{entry.owner}:{entry.start}:{entry.length}: have an administrator give each user a range of "
                    "their own (usermod --add-subuids, --add-subgids)"
                )


def extents(ids: Sequence[Range], own_id: int) -> list[Extent]:
    """Root inside is the user; 1 and up are the ranges, one behind the other."""
    result = [Extent(0, own_id, 1)]
    inside = 1
    for entry in ids:
        result.append(Extent(inside, entry.start, entry.length))
        inside += entry.length
    return result


def user_name(uid: int) -> str:
    """The login name; the number where the user has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def for_user(uid: int, gid: int) -> tuple[list[Extent], list[Extent]]:
    """The extents of users and of groups; of one ID each where there are no ranges. Raises RangeError."""
    name = user_name(uid)
    tables = [(path, read(path)) for path in (SUBUID, SUBGID)]
    mine = [own(table, name, uid) for _path, table in tables]
    if not all(mine):
        return [Extent(0, uid, 1)], [Extent(0, gid, 1)]
    for (path, table), ranges in zip(tables, mine, strict=True):
        same = [entry._replace(owner=name) if entry.owner in (name, str(uid)) else entry for entry in table]
        check_overlap(same, [entry._replace(owner=name) for entry in ranges], path)
    return extents(mine[0], uid), extents(mine[1], gid)
