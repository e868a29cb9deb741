"""The YAML that CDI specifications are written in: block mappings and sequences of scalars, JSON inside.

Not the whole language: anchors, tags, folded texts and several documents in a file are refused, never misread.
See: YAML 1.2, chapters 7 and 8.
"""

import json
import re
from typing import Any, Final, NamedTuple

_KEY: Final = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#\-?:,\[\]{}&*!|>'"%@`][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+(.*)|$)"""
)
_INTEGER: Final = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL: Final = re.compile(r"0o[0-7]+\Z")
_CONSTANTS: Final[dict[str, Any]] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INDICATORS: Final = tuple("&*!|>%@`")


class YamlError(ValueError):
    """The text is not YAML, or YAML that we don't read."""


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def parse(text: str) -> Any:
    """The document's value. Raises: YamlError."""
    lines = _lines(text)
    if not lines:
        return None
    value, rest = _block(lines, 0, lines[0].indent)
    if rest < len(lines):
        raise YamlError(f"line {lines[rest].number}: unexpected indentation")
    return value


def _lines(text: str) -> list[_Line]:
    found: list[_Line] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        content = line.lstrip(" ")
        if not content or content.startswith("#") or (line == "---" and not found):
            continue
        if content.startswith("\t") or line in ("---", "..."):
            raise YamlError(f"line {number}: not supported: {content!r}")
        found.append(_Line(number, len(line) - len(content), content))
    return found


def _block(lines: list[_Line], at: int, indent: int) -> tuple[Any, int]:
    """The collection (or scalar) whose lines begin at ``indent``; and the line after it."""
    if lines[at].text == "-" or lines[at].text.startswith("- "):
        return _sequence(lines, at, indent)
    if _KEY.fullmatch(lines[at].text):
        return _mapping(lines, at, indent)
    return _scalar(lines[at].text, lines[at].number), at + 1


def _sequence(lines: list[_Line], at: int, indent: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while at < len(lines) and lines[at].indent == indent and lines[at].text[:2] in ("-", "- "):
        number, _, text = lines[at]
        content = text[1:].lstrip(" ")
        if not content or content.startswith("#"):
            at += 1
            if at < len(lines) and lines[at].indent > indent:
                value, at = _block(lines, at, lines[at].indent)
                items.append(value)
            else:
                items.append(None)
            continue
        # What follows the dash is a block of its own, indented by where it begins.
        inner = indent + len(text) - len(content)
        lines[at] = _Line(number, inner, content)
        value, at = _block(lines, at, inner)
        items.append(value)
    return items, at


def _mapping(lines: list[_Line], at: int, indent: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at].indent == indent:
        match = _KEY.fullmatch(lines[at].text)
        if match is None:
            raise YamlError(f"line {lines[at].number}: want a key: {lines[at].text!r}")
        key = str(_scalar(match[1], lines[at].number, plain=True))
        if key in found:
            raise YamlError(f"line {lines[at].number}: key {key!r} is there twice")
        number, content = lines[at].number, match[2] or ""
        at += 1
        if content and not content.startswith("#"):
            found[key] = _scalar(content, number)
            continue
        nested = at < len(lines) and (
            lines[at].indent > indent or (lines[at].indent == indent and lines[at].text[:2] in ("-", "- "))
        )
        found[key] = None
        if nested:
            found[key], at = _block(lines, at, lines[at].indent)
    return found, at


def _scalar(text: str, number: int, *, plain: bool = False) -> Any:
    """One value on one line. ``plain``: a key, which is a text whatever it looks like."""
    if text.startswith(('"', "[", "{")):
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except ValueError as error:
            raise YamlError(f"line {number}: not supported: {text!r}") from error
        return _ended(value, text[end:], number)
    if text.startswith("'"):
        end = 1
        while (end := text.find("'", end)) >= 0 and text[end : end + 2] == "''":
            end += 2
        if end < 0:
            raise YamlError(f"line {number}: a quote that does not end")
        return _ended(text[1:end].replace("''", "'"), text[end + 1 :], number)
    if text.startswith(_INDICATORS):
        raise YamlError(f"line {number}: not supported: {text!r}")
    text = re.sub(r"\s+#.*", "", text)
    if plain:
        return text
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if _OCTAL.match(text):
        return int(text, 8)
    return int(text) if _INTEGER.match(text) else text


def _ended(value: Any, rest: str, number: int) -> Any:
    if rest.strip() and not rest.lstrip().startswith("#"):
        raise YamlError(f"line {number}: unexpected {rest.strip()!r}")
    return value
