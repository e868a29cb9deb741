"""How the rest of an instruction's line falls into words: flags, pairs, JSON arrays, plain words.

Nothing is expanded here; where quotes count they are kept for the expansion.
"""

import re
from typing import Final

import msgspec

from rundlet.builder.dockerfile.errors import DockerfileSyntaxError

_BLANKS: Final = re.compile(r"[\t\v\f\r ]+")


def split_keyword(line: str) -> tuple[str, tuple[str, ...], str]:
    """(keyword as written, flags without their quotes, what is left) of a logical line."""
    keyword, *rest = _BLANKS.split(line.strip(), maxsplit=1)
    flags, arguments = split_flags(rest[0]) if rest else ((), "")
    return keyword, flags, arguments.strip()


def split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """The ``--flags`` in front, and the text behind them; a bare ``--`` ends them."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if text[position : position + 2] != "--":
            return tuple(flags), text[position:]
        word, position = _flag_word(text, position)
        if word == "--":
            return tuple(flags), text[position:]
        flags.append(word)


def _flag_word(text: str, position: int) -> tuple[str, int]:
    """One flag from ``position``, unquoted; and where it ends."""
    word: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        if not quote and character.isspace():
            break
        position += 1
        if character == "\\":
            word.append(text[position : position + 1])
            position += 1
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        else:
            word.append(character)
    return "".join(word), position


def plain_words(text: str) -> tuple[str, ...]:
    """Words between blanks; quotes mean nothing."""
    return tuple(_BLANKS.split(text)) if text else ()


def quoted_words(text: str, escape: str) -> tuple[str, ...]:
    """Words between blanks outside of quotes; quotes and escapes are kept."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if not quote and character.isspace():
            if word:
                words.append("".join(word))
                word = []
            position += 1
            continue
        if character == escape and quote != "'":
            word.append(text[position : position + 2])
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        word.append(character)
        position += 1
    return (*words, "".join(word)) if word else tuple(words)


def pairs(text: str, keyword: str, escape: str) -> tuple[tuple[str, str, bool], ...]:
    """(name, value, old form) of ENV and LABEL: ``A=1 B="2 3"``, or the old form ``A all the rest``.

    Raises DockerfileSyntaxError.
    """
    words = quoted_words(text, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        parts = _BLANKS.split(text, maxsplit=1)
        if len(parts) < 2:
            raise DockerfileSyntaxError(f"{keyword} must have two arguments")
        return ((parts[0], parts[1], True),)
    found: list[tuple[str, str, bool]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileSyntaxError(
                f"Syntax error - can't find = in {_quoted(word)}. Must be of the form: name=value"
            )
        found.append((name, value, False))
    return tuple(found)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def json_words(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None when ``text`` is none. Raises DockerfileSyntaxError for other elements."""
    if not text.startswith("["):
        return None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    if not isinstance(found, list):
        return None
    if not all(isinstance(word, str) for word in found):
        raise DockerfileSyntaxError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(found)
