"""Compact JSON for ``{{json .}}``: Unicode left as it is, as Go's encoder writes it with HTML escaping off."""

from __future__ import annotations

from json.encoder import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def encode(value: Any) -> str:
    """JSON of dicts, lists, strings, numbers, booleans and None; anything else as its text."""
    if isinstance(value, str):
        return encode_basestring(value).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        from rundlet.util.template.values import go_string

        return go_string(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode(str(key))}:{encode(member)}" for key, member in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(encode(member) for member in value) + "]"
    return encode(str(value))
