"""Patterns of COPY and ADD, as Go's ``filepath.Match`` has them, to what the worker for files looks with."""

import re
from typing import Final

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.storage.files.access import ANY_DEPTH, Source

_SPECIAL: Final = frozenset("*?[\\")


def has_pattern(text: str) -> bool:
    return any(character in _SPECIAL for character in text)


def source_of(text: str, *, deep: bool = False) -> Source:
    """The path or pattern ``text`` from the root; ``..`` stops there. ``/./`` marks where names with parents begin.
    With ``deep`` a ``**/`` is any number of directories, else it is as ``*/``.

    Raises DockerfileError: a pattern that is none.
    """
    words: list[str] = []
    pivot = 0
    pieces = text.split("/")
    for position, word in enumerate(pieces):
        if word == "." and 0 < position < len(pieces) - 1 and not pivot:
            pivot = len(words)
        if word in ("", "."):
            continue
        if word == "..":
            words = words[:-1]
            continue
        words.append(word)
    last = len(words) - 1
    parts = tuple(
        (True, ANY_DEPTH) if deep and word == "**" and number < last else _part(word, text)
        for number, word in enumerate(words)
    )
    return Source(parts, min(pivot, len(words)))


def _part(word: str, whole: str) -> tuple[bool, str]:
    return (True, expression(word, whole)) if has_pattern(word) else (False, word)


def expression(pattern: str, whole: str) -> str:
    """A regular expression for one component. Raises DockerfileError."""
    result: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            result.append("[^/]*")
        elif character == "?":
            result.append("[^/]")
        elif character == "\\":
            if position == len(pattern):
                raise _bad(whole)
            result.append(re.escape(pattern[position]))
            position += 1
        elif character == "[":
            text, position = _range(pattern, position, whole)
            result.append(text)
        else:
            result.append(re.escape(character))
    return "".join(result)


def _range(pattern: str, position: int, whole: str) -> tuple[str, int]:
    negated = pattern[position : position + 1] == "^"
    position += negated
    members: list[str] = []
    while pattern[position : position + 1] != "]" or not members:
        low, position = _character(pattern, position, whole)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _character(pattern, position + 1, whole)
        if high >= low:
            members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append("")
    chosen = "".join(members)
    if not chosen:
        return ("[^/]" if negated else "(?!)"), position + 1
    return f"[{'^/' if negated else ''}{chosen}]", position + 1


def _character(pattern: str, position: int, whole: str) -> tuple[str, int]:
    character = pattern[position : position + 1]
    if character in ("", "-", "]"):
        raise _bad(whole)
    if character == "\\":
        position += 1
        character = pattern[position : position + 1]
        if not character:
            raise _bad(whole)
    return character, position + 1


def _bad(whole: str) -> DockerfileError:
    return DockerfileError(f"syntax error in pattern: {whole}")
