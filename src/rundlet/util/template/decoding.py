"""JSON to the values of a schema's types, as Go's decoder does it: what is left out is zero, what is not known is not
there."""

from __future__ import annotations

from rundlet.util.template.times import is_time
from rundlet.util.template.values import Map, Number, Pointer, Slice, Struct, Text, Time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.util.template.schema import Type

NO_TIME = "0001-01-01T00:00:00Z"
_BASIC: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "uint": int,
    "float": (int, float),
    "string": str,
    "time": str,
}
_ZEROS: dict[str, Any] = {"bool": False, "int": 0, "uint": 0, "float": 0.0, "string": "", "time": NO_TIME}


def decode(kind: Type, value: Any) -> Any:
    """``value`` of JSON as Go would have it in a variable of this type; zero where it does not fit."""
    if kind.kind == "struct":
        return _struct(kind, value if isinstance(value, dict) else {})
    if kind.kind == "pointer" and kind.elem is not None:
        return Pointer(kind, None if value is None else decode(kind.elem, value))
    if kind.kind in ("slice", "array") and kind.elem is not None:
        return _list(kind, kind.elem, value)
    if kind.kind == "map" and kind.elem is not None:
        return _map(kind, kind.elem, value)
    if kind.kind == "interface":
        return value if kind.elem is None or value is None else decode(kind.elem, value)
    fits = isinstance(value, _BASIC[kind.kind]) and (kind.kind == "bool" or not isinstance(value, bool))
    return _basic(kind, value if fits else _ZEROS[kind.kind])


def _basic(kind: Type, value: Any) -> Any:
    if kind.kind == "time":
        made: Any = Time(value if is_time(value) else NO_TIME)
    elif kind.kind == "string" and kind.named:
        made = Text(value)
    elif kind.name in ("int", "bool", "float64", "string"):
        return value
    elif kind.kind in ("int", "uint"):
        made = Number(value)
    else:
        return value
    made.type = kind
    return made


def _struct(kind: Type, value: dict[str, Any]) -> Struct:
    values: dict[str, Any] = {}
    for field in kind.fields:
        if field.embedded:
            inner = _struct(field.struct, value)
            values[field.name] = inner if field.struct is field.type else Pointer(field.type, inner)
        else:
            values[field.name] = decode(field.type, value.get(field.key) if field.key else None)
    return Struct(kind, values)


def _list(kind: Type, elem: Type, value: Any) -> Slice:
    if isinstance(value, str) and kind.named:
        value = [value]  # strslice.StrSlice
    members = [decode(elem, member) for member in value] if isinstance(value, list) else []
    if kind.kind == "array":
        members = (members + [decode(elem, None) for _ in range(kind.length)])[: kind.length]
        return Slice(kind, members)
    return Slice(kind, members, nil=not isinstance(value, list))


def _map(kind: Type, elem: Type, value: Any) -> Map:
    if not isinstance(value, dict):
        return Map(kind, nil=True)
    key_type = kind.key
    if key_type is None or not key_type.named:
        return Map(kind, {key: decode(elem, member) for key, member in value.items()})
    return Map(kind, {_basic(key_type, key): decode(elem, member) for key, member in value.items()})


def raw_numbers(value: Any, number: Type) -> Any:
    """JSON without a schema, numbers as the texts that they are (Go's json.Number, which ``number`` describes)."""
    if isinstance(value, dict):
        return {key: raw_numbers(member, number) for key, member in value.items()}
    if isinstance(value, list):
        return [raw_numbers(member, number) for member in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = Text(value if isinstance(value, int) else repr(value))
        text.type = number
        return text
    return value
