"""Compact JSON for ``{{json .}}``, as Go's encoder writes it with HTML escaping off: Unicode left as it is, the fields
of a struct in their order, the keys of a map sorted."""

from __future__ import annotations

from json.encoder import encode_basestring

from rundlet.util.template.values import MISSING, Map, Object, Pointer, Slice, Text, sorted_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JSON_NUMBER = "json.Number"


def encode(value: Any) -> str:
    """JSON of dicts, lists, strings, numbers, booleans, None and decoded values; anything else as its text."""
    if isinstance(value, Text) and value.type.name == JSON_NUMBER:
        return str(value)
    if isinstance(value, str):
        return encode_basestring(value).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value is MISSING or (isinstance(value, (Slice, Map)) and value.nil):
        return "null"
    if isinstance(value, (int, float)):
        from rundlet.util.template.printing import json_float

        return str(int(value)) if isinstance(value, int) else json_float(value)
    if isinstance(value, Pointer):
        return encode(value.target)
    if isinstance(value, Object):
        members = value.document().items()
        return "{" + ",".join(f"{encode(key)}:{encode(member)}" for key, member in members) + "}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode(str(key))}:{encode(member)}" for key, member in sorted_items(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(encode(member) for member in value) + "]"
    return encode(str(value))
