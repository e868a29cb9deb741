"""Which users and groups a user namespace of an ordinary user can have: /etc/subuid, /etc/subgid. No side effects.

See: subuid(5), user_namespaces(7).
"""

import pwd
from collections.abc import Sequence
from typing import Final, NamedTuple

SUBUID: Final = "/etc/subuid"
SUBGID: Final = "/etc/subgid"


class RangeError(Exception):
    """The machine's tables of ranges can't be used; the message is one line for the user."""


class Extent(NamedTuple):
    """``length`` IDs from ``inside`` in the namespace are those from ``outside`` on the machine."""

    inside: int
    outside: int
    length: int


class Range(NamedTuple):
    """One line of subuid(5). ``owner`` is a name, or a number as text."""

    owner: str
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


def parse(text: str) -> list[Range]:
    """The lines of a table; what is no range is left out, as newuidmap does."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit() and int(fields[2]):
            found.append(Range(fields[0], int(fields[1]), int(fields[2])))
    return found


def read(path: str) -> list[Range]:
    """The table at ``path``; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse(file.read())
    except OSError:
        return []


def own(table: Sequence[Range], user: str, uid: int) -> list[Range]:
    """The ranges of one user, who may be named by name or by number."""
    return [entry for entry in table if entry.owner in (user, str(uid))]


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
