"""Canonical JSON as Notary has it: the one text of a value, over which signatures and key IDs are made.

Keys sorted by their bytes, no white space, only ``"`` and ``\\`` escaped (and U+2028 and U+2029, which Go escapes
always), integers only.
"""

import json
from typing import Any

from rundlet.trust.errors import MalformedError

DEPTH = 32
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


def decode(data: bytes, what: str) -> Any:
    """Strict JSON: no duplicate keys, no NaN, no fractions. Raises MalformedError naming ``what``."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key appears twice")
        return found

    def refuse(text: str) -> Any:
        raise ValueError(f"{text} is no integer")

    try:
        return json.loads(
            data.decode(), object_pairs_hook=once, parse_constant=refuse, parse_float=_whole, parse_int=_integer
        )
    except (ValueError, RecursionError) as exc:
        raise MalformedError(f"{what} is no valid JSON: {exc}") from exc


def _whole(text: str) -> int:
    """Go writes large numbers as 1.5e+06 in places."""
    number = float(text)
    if not number.is_integer() or abs(number) >= 2**53:
        raise ValueError(f"{text} is no integer")
    return int(number)


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"{text[:20]}… is too large")
    return int(text)
