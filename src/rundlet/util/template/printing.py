"""How Go's fmt prints values with %v, %+v and %#v."""

from __future__ import annotations

from math import isnan

from rundlet.util.template.lexer import go_quote
from rundlet.util.template.values import (
    MISSING,
    Map,
    Number,
    Object,
    Pointer,
    Slice,
    Struct,
    Time,
    sorted_items,
    type_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def go_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """A float as %v and %g print it: the shortest digits that read back the same, with an exponent below 1e-04 and
    from 1e+06 on."""
    if isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0 or verb != "g":
        return _exponent(f"{value:.{6 if precision < 0 else precision}{verb}}")
    return _exponent(_shortest(value, -4, 6))


def json_float(value: float) -> str:
    """A float as it is in JSON."""
    return _shortest(value, -6, 21)


def _shortest(value: float, least: int, most: int) -> str:
    """With an exponent below 1e``least`` and from 1e``most`` on."""
    from decimal import Decimal

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int) or not value:
        return "-0" if sign else "0"
    first = exponent + len(digits) - 1
    written = "".join(map(str, digits))
    if least <= first < most:
        text = f"{Decimal((0, digits, exponent)):f}"
    else:
        text = written[0] + ("." + written[1:] if written[1:] else "") + f"e{first:+}"
    return f"-{text}" if sign else text


def _exponent(text: str) -> str:
    """Two digits at least in an exponent, with its sign."""
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    number = int(exponent)
    return f"{mantissa}e{'-' if number < 0 else '+'}{abs(number):02d}"


def address(value: Any) -> str:
    """Where a pointer leads: a number that says no more than that it is not nil."""
    return f"0xc{id(value) & 0xFFFFFFF:09x}"


def string_method(value: Any) -> str | None:
    """What its String method says, for a value whose type has one."""
    kind = getattr(value, "type", None)
    if kind is None or kind.text is None or (isinstance(value, Pointer) and value.target is None):
        return None
    return str(kind.text(value.target if isinstance(value, Pointer) else value))


def go_string(value: Any, *, names: bool = False, depth: int = 0) -> str:
    """A value as %v prints it, with ``names`` as %+v (structs with their fields' names)."""
    said = string_method(value)
    if said is not None:
        return said
    if isinstance(value, str):
        return str(value)
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, Pointer):
        return _pointer(value, names=names, depth=depth)
    return _composite(value, names=names, depth=depth + 1)


def _pointer(value: Pointer, *, names: bool, depth: int) -> str:
    if value.target is None:
        return "<nil>"
    if depth == 0 and isinstance(value.target, (Struct, Slice, Map)):
        return "&" + go_string(value.target, names=names, depth=1)
    return address(value)


def _composite(value: Any, *, names: bool, depth: int) -> str:
    if isinstance(value, Struct):
        return "{" + " ".join(
            (f"{name}:" if names else "") + go_string(member, names=names, depth=depth)
            for name, member in value.values.items()
        ) + "}"  # fmt: skip
    if isinstance(value, dict):
        members = (
            f"{go_string(key, depth=depth)}:{go_string(member, names=names, depth=depth)}"
            for key, member in sorted_items(value)
        )
        return "map[" + " ".join(members) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_string(member, names=names, depth=depth) for member in value) + "]"
    if isinstance(value, Object):
        return _composite(value.document(), names=names, depth=depth)
    return str(value)


def go_syntax(value: Any, depth: int = 0) -> str:
    """A value as %#v prints it: as it is written in Go."""
    if isinstance(value, Time):
        from rundlet.util.template.times import go_date

        return go_date(value)
    if isinstance(value, str):
        return go_quote(value)
    if value is None or value is MISSING:
        return "interface {}(nil)" if depth else "<nil>"
    if isinstance(value, Number) and value.type.kind == "uint":
        return f"0x{value:x}"
    if isinstance(value, Pointer):
        return _pointer_syntax(value, depth)
    if isinstance(value, (Slice, Map)) and value.nil:
        return f"{type_name(value)}(nil)"
    if isinstance(value, Struct):
        inner = ", ".join(f"{name}:{go_syntax(member, depth + 1)}" for name, member in value.values.items())
        return f"{type_name(value)}{{{inner}}}"
    if isinstance(value, dict):
        inner = ", ".join(f"{go_quote(key)}:{go_syntax(member, depth + 1)}" for key, member in sorted_items(value))
        return f"{type_name(value)}{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"{type_name(value)}{{{', '.join(go_syntax(member, depth + 1) for member in value)}}}"
    if isinstance(value, Object):
        return type_name(value)
    return go_string(value)


def _pointer_syntax(value: Pointer, depth: int) -> str:
    if value.target is None:
        return f"({type_name(value)})(nil)"
    if depth == 0 and isinstance(value.target, (Struct, Slice, Map)):
        return "&" + go_syntax(value.target, 1)
    return f"({type_name(value)})({address(value)})"
