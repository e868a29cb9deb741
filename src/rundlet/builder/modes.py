"""``--chmod``: octal, or chmod(1)'s words such as ``u=rwX,go=rX``."""

import re
from typing import Final

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.storage.files.access import ModeChange

_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION: Final = re.compile(r"([-+=])([ugo](?![rwxXst])|[rwxXst]*)")


def parse_chmod(text: str) -> int | tuple[ModeChange, ...]:
    """The mode that ``text`` says, or what it changes. Raises DockerfileError."""
    if text.isascii() and text.isdigit():
        if set(text) & {"8", "9"} or int(text, 8) > 0o7777:
            raise _bad(text)
        return int(text, 8)
    changes: list[ModeChange] = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise _bad(text)
        changes += [(found[1], action, what) for action, what in _ACTION.findall(found[2])]
    return tuple(changes)


def _bad(text: str) -> DockerfileError:
    return DockerfileError(
        f'invalid chmod parameter: "{text}". it should be octal string and between 0 and 07777, or symbolic '
        "(as u=rwX,go=rX)"
    )
