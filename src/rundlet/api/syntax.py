"""What is wrong with a document that is not JSON, in the words of Docker's decoder (Go's ``encoding/json``).

Clients' tests and scripts compare these words. Only called for a body that was refused already.

See: RFC 8259, section 2.
"""

import json

from rundlet.errors import InvalidParameterError

_SPACE = " \t\r\n"
_PLACES: tuple[tuple[str, str, str], ...] = (
    ("Expecting property name enclosed in double quotes", _SPACE, "looking for beginning of object key string"),
    ("Expecting ':' delimiter", _SPACE, "after object key"),
    ("Expecting value", _SPACE, "looking for beginning of value"),
    ("Illegal trailing comma before end of object", "," + _SPACE, "looking for beginning of object key string"),
    ("Illegal trailing comma before end of array", "," + _SPACE, "looking for beginning of value"),
    ("Invalid control character at", "", "in string literal"),
    ("Invalid \\escape", "\\", "in string escape code"),
    ("Invalid \\uXXXX escape", "", "in \\u hexadecimal character escape"),
)
"""What Python says, what lies between the place that it names and the character that Go names, and Go's words."""


def problem(data: bytes) -> InvalidParameterError | None:
    """The refusal in Docker's words, or None for what this reader finds nothing wrong with."""
    text = data.decode("utf-8", "replace")
    try:
        start = len(text) - len(text.lstrip(_SPACE))
        _, end = json.JSONDecoder(strict=True).raw_decode(text, start)
    except json.JSONDecodeError as exc:
        return InvalidParameterError(f"invalid JSON: {_words(exc)}")
    except (RecursionError, ValueError):
        return None
    rest = text[end:].lstrip(_SPACE)
    # As Docker's: a closing bracket after the document is not "more".
    return InvalidParameterError("unexpected content after JSON") if rest and rest[0] not in "]}" else None


def _words(exc: json.JSONDecodeError) -> str:
    for message, before, place in _PLACES:
        if exc.msg.startswith(message):
            rest = exc.doc[exc.pos :]
            return _at(exc.doc, len(exc.doc) - len(rest.lstrip(before) if before else rest), place)
    if exc.msg.startswith("Expecting ',' delimiter"):
        return _at(exc.doc, exc.pos, _container(exc.doc, exc.pos))
    return "unexpected EOF"  # an unterminated string


def _at(text: str, where: int, place: str) -> str:
    if where >= len(text):
        return "unexpected EOF"
    return f"invalid character {_quoted(text[where])} {place}"


def _quoted(character: str) -> str:
    special = {"'": r"'\''", '"': "'\"'", "\n": r"'\n'", "\r": r"'\r'", "\t": r"'\t'", "\\": r"'\\'"}
    if character in special:
        return special[character]
    return f"'{character}'" if character.isprintable() else f"'\\x{ord(character):02x}'"


def _container(text: str, where: int) -> str:
    """Whether a missing comma was one of an object or of an array: the innermost bracket that is open there."""
    opened: list[str] = []
    quoted = False
    skip = False
    for character in text[:where]:
        if skip:
            skip = False
        elif quoted:
            skip, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        elif character in "[{":
            opened.append(character)
        elif character in "]}" and opened:
            opened.pop()
    return "after array element" if opened and opened[-1] == "[" else "after object key:value pair"
