"""The machine's tables of subordinate users and groups: /etc/subuid, /etc/subgid. See: subuid(5)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

SUBUID: Final = "/etc/subuid"
SUBGID: Final = "/etc/subgid"


class Range(NamedTuple):
    """One line. ``owner`` is a name, or a number as text."""

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
