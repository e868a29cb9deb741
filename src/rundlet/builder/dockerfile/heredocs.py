"""Marks of here-documents: ``<<NAME``, ``<<-NAME``, ``<<"NAME"``, ``3<<NAME``."""

import re
from typing import Final

from rundlet.builder.dockerfile.ast import Heredoc
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander

_MARK: Final = re.compile(r"(\d*)<<(-?)([^<]+)\Z")
_LARGEST_DESCRIPTOR: Final = 9


def parse_mark(word: str) -> Heredoc | None:
    """The here-document that ``word`` announces, its text still empty; None when the word is no mark."""
    match = _MARK.match(word)
    if match is None:
        return None
    try:
        names = Expander({}, keep_unset=True).words(match[3])
        raw = Expander({}, keep_unset=True, keep_quotes=True).words(match[3])
    except DockerfileError:
        return None
    if len(names) != 1:
        return None
    # A name any part of which is quoted: what is in the document is not for us to expand.
    descriptor = min(int(match[1][:2] or "0"), _LARGEST_DESCRIPTOR)
    return Heredoc(names[0], "", names == raw, match[2] == "-", descriptor)


def marks_in(line: str) -> tuple[Heredoc, ...]:
    """Every here-document that ``line`` announces, in order."""
    if "<<" not in line:
        return ()
    try:
        words = Expander({}, keep_unset=True, keep_quotes=True).words(line)
    except DockerfileError:
        return ()
    return tuple(mark for mark in map(parse_mark, words) if mark is not None)
