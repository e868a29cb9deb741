"""Canonical JSON as Notary has it: the one text of a value, over which signatures and key IDs are made.

Keys sorted by their bytes, no white space, only ``"`` and ``\\`` escaped (and U+2028 and U+2029, which Go escapes
always), integers only.
"""

from __future__ import annotations

from rundlet.trust.errors import MalformedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEPTH = 32
_WHITESPACE = " \t\n\r"
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def encode(value: Any) -> bytes:
    """Raises MalformedError for what has no canonical form (fractions, other types than JSON's)."""
    parts: list[str] = []
    _write(value, parts, 0)
    try:
        return "".join(parts).encode()
    except UnicodeEncodeError as exc:
        raise MalformedError(f"text that is no Unicode: {exc.reason}") from exc


def _write(value: Any, parts: list[str], depth: int) -> None:
    if depth > DEPTH:
        raise MalformedError("nested too deeply")
    if value is None:
        parts.append("null")
    elif value is True or value is False:
        parts.append("true" if value else "false")
    elif isinstance(value, int):
        parts.append(str(value))
    elif isinstance(value, str):
        parts.append(f'"{value.translate(_ESCAPES)}"')
    elif isinstance(value, dict):
        _write_object(value, parts, depth)
    elif isinstance(value, (list, tuple)):
        parts.append("[")
        for position, item in enumerate(value):
            parts.append("," if position else "")
            _write(item, parts, depth + 1)
        parts.append("]")
    else:
        raise MalformedError(f"{type(value).__name__} has no canonical form")


def _write_object(value: dict[Any, Any], parts: list[str], depth: int) -> None:
    parts.append("{")
    for position, key in enumerate(sorted(value, key=lambda name: str(name).encode("utf-8", "surrogatepass"))):
        if not isinstance(key, str):
            raise MalformedError("a key that is no text")
        parts.append("," if position else "")
        parts.append(f'"{key.translate(_ESCAPES)}":')
        _write(value[key], parts, depth + 1)
    parts.append("}")


class _Options:
    """What the C scanner reads from its context (as ``json.JSONDecoder`` has them)."""

    strict = True
    object_hook = None

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}

    @staticmethod
    def object_pairs_hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key appears twice")
        return found

    @staticmethod
    def parse_constant(text: str) -> Any:
        raise ValueError(f"{text} is no integer")

    @staticmethod
    def parse_float(text: str) -> int:
        """Go writes large numbers as 1.5e+06 in places."""
        number = float(text)
        if not number.is_integer() or abs(number) >= 2**53:
            raise ValueError(f"{text} is no integer")
        return int(number)

    @staticmethod
    def parse_int(text: str) -> int:
        if len(text) > 20:
            raise ValueError(f"{text[:20]}… is too large")
        return int(text)


def _scanner() -> Any:
    options: Any = _Options()
    try:
        # The package json brings re along, which takes longer to import than all metadata take to be read.
        from _json import make_scanner
    except ImportError:
        from json import scanner

        # Not in the stubs: what json itself falls back to.
        return scanner.py_make_scanner(options)  # type: ignore[attr-defined]
    return make_scanner(options)


_scan = _scanner()


def _scanned(text: str, start: int) -> tuple[Any, int]:
    """A value and where it ends. Raises ValueError, StopIteration, RecursionError."""
    try:
        found: tuple[Any, int] = _scan(text, start)
    except SystemError:
        # Python 3.11's scanner takes its exception from json.decoder, and has none to raise before that is imported.
        import json.decoder  # noqa: F401

        found = _scan(text, start)
    return found


def decode(data: bytes, what: str) -> Any:
    """Strict JSON: no duplicate keys, no NaN, no fractions. Raises MalformedError naming ``what``."""
    try:
        text = data.decode()
        value, end = _scanned(text, len(text) - len(text.lstrip(_WHITESPACE)))
        if text[end:].strip(_WHITESPACE):
            raise ValueError(f"extra data at {end}")
    except StopIteration as exc:
        raise MalformedError(f"{what} is no valid JSON: a value is missing at {exc.value}") from exc
    except (ValueError, RecursionError) as exc:
        raise MalformedError(f"{what} is no valid JSON: {exc}") from exc
    return value
