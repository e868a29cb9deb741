"""Go's fmt.Sprintf for JSON-like values."""

from __future__ import annotations

from rundlet.util.template.lexer import go_quote
from rundlet.util.template.printing import address, go_float, go_string, go_syntax, string_method
from rundlet.util.template.values import MISSING, Object, Pointer, Struct, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FLAGS = "+-# 0"
WIDEST = 1_000_000
_INTEGER_FORMATS = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}


class Directive:
    """One ``%…`` of a format: flags, width, precision (-1: none)."""

    __slots__ = ("flags", "precision", "width")

    def __init__(self) -> None:
        self.flags = ""
        self.width = -1
        self.precision = -1

    def pad(self, text: str, *, numeric: bool = False) -> str:
        if "-" in self.flags:
            return text.ljust(self.width)
        if "0" in self.flags and self.width > len(text):
            if numeric and text[:1] in ("+", "-", " "):
                return text[0] + text[1:].rjust(self.width - 1, "0")
            return text.rjust(self.width, "0")
        return text.rjust(self.width)


def sprintf(form: str, arguments: Sequence[Any]) -> str:
    """Bad verbs and missing or superfluous arguments come out in Go's words (``%!d(string=x)``), never as errors."""
    out: list[str] = []
    used = 0
    index = 0
    reordered = False
    while index < len(form):
        percent = form.find("%", index)
        if percent < 0:
            out.append(form[index:])
            break
        out.append(form[index:percent])
        directive, index, used, notes = _parse(form, percent + 1, arguments, used)
        reordered = reordered or form[index - 1] == "]"
        out.append(notes)
        if index >= len(form):
            out.append("%!(NOVERB)")
            break
        verb = form[index]
        index += 1
        if verb == "%":
            out.append("%")
        elif used >= len(arguments):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_one(directive, verb, arguments[used]))
            used += 1
    if used < len(arguments) and not reordered:
        extra = ", ".join(_described(value) for value in arguments[used:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _described(value: Any) -> str:
    if value is None or value is MISSING:
        return "<nil>"
    return f"{type_name(value)}={go_string(value)}"


def _parse(form: str, index: int, arguments: Sequence[Any], used: int) -> tuple[Directive, int, int, str]:
    directive, notes = Directive(), ""
    while index < len(form) and form[index] in FLAGS:
        directive.flags += form[index]
        index += 1
    directive.width, index, used, bad = _number(form, index, arguments, used)
    if bad:
        notes += "%!(BADWIDTH)"
    elif directive.width < -1:
        directive.flags += "-"
        directive.width = -directive.width
    if form[index : index + 1] == ".":
        directive.precision, index, used, bad = _number(form, index + 1, arguments, used)
        if bad:
            notes += "%!(BADPREC)"
        directive.precision = max(directive.precision, 0)
    if form[index : index + 1] == "[":
        index, used = _indexed(form, index, used)
    return directive, index, used, notes


def _indexed(form: str, index: int, used: int) -> tuple[int, int]:
    """``[2]`` before a verb: the argument that comes next (from 1)."""
    end = form.find("]", index)
    number = form[index + 1 : end]
    return (end + 1, int(number) - 1) if end > 0 and number.isdigit() and number != "0" else (index, used)


def _number(form: str, index: int, arguments: Sequence[Any], used: int) -> tuple[int, int, int, bool]:
    """A width or precision, or ``*``; (value or -1, next index, arguments used, bad)."""
    if form[index : index + 1] == "*":
        if used >= len(arguments):
            return -1, index + 1, used, True
        value = arguments[used]
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > WIDEST:
            return -1, index + 1, used + 1, True
        return value, index + 1, used + 1, False
    end = index
    while end < len(form) and form[end].isdigit():
        end += 1
    if end == index:
        return -1, index, used, False
    number = int(form[index:end])
    return (number, end, used, False) if number <= WIDEST else (-1, end, used, True)


def _one(directive: Directive, verb: str, value: Any, depth: int = 0) -> str:
    if verb == "T":
        return directive.pad(type_name(value) if value is not None else "<nil>")
    if value is None or value is MISSING:
        return directive.pad("<nil>") if verb == "v" or depth else f"%!{verb}(<nil>)"
    if verb == "v" and "#" in directive.flags:
        return directive.pad(go_syntax(value))
    if verb in "vs" and (string_method(value) is not None):
        return directive.pad(go_string(value))
    if verb == "p" and isinstance(value, Pointer):
        return directive.pad(address(value) if value.target is not None else "%!p(<nil>)")
    if verb == "v" and isinstance(value, (list, tuple, dict, Object, Pointer)):
        return directive.pad(go_string(value, names="+" in directive.flags))
    text = _members(directive, verb, value, depth + 1)
    if text is None:
        text = _scalar(directive, verb, value)
    return f"%!{verb}({_described(value)})" if text is None else text


def _members(directive: Directive, verb: str, value: Any, depth: int) -> str | None:
    """A verb that is carried out on what a value is made of; None for a value of no members."""
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_one(directive, verb, member, depth) for member in value) + "]"
    if isinstance(value, dict):
        members = (f"{_one(directive, verb, key)}:{_one(directive, verb, value[key], depth)}" for key in sorted(value))
        return "map[" + " ".join(members) + "]"
    if isinstance(value, Struct):
        return "{" + " ".join(_one(directive, verb, member, depth) for member in value.values.values()) + "}"
    if isinstance(value, Pointer) and value.target is not None and depth == 1:
        return "&" + _one(directive, verb, value.target, depth)
    return None


def _scalar(directive: Directive, verb: str, value: Any) -> str | None:
    """The value through one verb; None when the verb is not for its type."""
    if isinstance(value, bool):
        return directive.pad(go_string(value)) if verb in "vt" else None
    if isinstance(value, int):
        return _integer(directive, verb, int(value))
    if isinstance(value, float):
        return _float(directive, verb, value)
    if isinstance(value, str):
        return _string(directive, verb, str(value))
    return directive.pad(go_string(value)) if verb == "v" else None


def _sign(directive: Directive, text: str) -> str:
    if text.startswith("-"):
        return text
    if "+" in directive.flags:
        return "+" + text
    return " " + text if " " in directive.flags else text


def _integer(directive: Directive, verb: str, value: int) -> str | None:
    if verb == "c":
        return directive.pad(chr(value) if 0 <= value < 0x110000 else "\ufffd")
    if verb == "q":
        letter = chr(value) if 0 <= value < 0x110000 else "\ufffd"
        return directive.pad("'" + go_quote(letter)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'")
    if verb == "U":
        letter = f" '{chr(value)}'" if "#" in directive.flags and 0 <= value < 0x110000 else ""
        return directive.pad(f"U+{value:04X}{letter}")
    base = "d" if verb == "v" else verb
    if base == "O":
        return directive.pad(_sign(directive, f"{'-' if value < 0 else ''}0o{abs(value):o}"), numeric=True)
    if base not in _INTEGER_FORMATS:
        return None
    digits = format(abs(value), _INTEGER_FORMATS[base])
    if directive.precision >= 0:
        digits = digits.rjust(directive.precision, "0")
    if "#" in directive.flags:
        digits = _PREFIXES.get(base, "") + digits
    return directive.pad(_sign(directive, ("-" if value < 0 else "") + digits), numeric=True)


def _float(directive: Directive, verb: str, value: float) -> str | None:
    if verb not in "veEfFgG":
        return None
    kind = "g" if verb == "v" else verb
    if directive.precision < 0 and kind in "gG":
        text = go_float(value)
        text = text.upper() if kind == "G" else text
    else:
        text = go_float(value, kind.lower(), directive.precision)
        text = text.upper() if kind in "EG" else text
    return directive.pad(_sign(directive, text), numeric=True)


def _string(directive: Directive, verb: str, value: str) -> str | None:
    if verb in "xX":
        data = value.encode("utf-8", "surrogateescape")
        if directive.precision >= 0:
            data = data[: directive.precision]
        text = data.hex(" ") if " " in directive.flags else data.hex()
        return directive.pad(text.upper() if verb == "X" else text)
    if verb not in "vsq":
        return None
    if directive.precision >= 0:
        value = value[: directive.precision]
    if verb == "q":
        value = f"`{value}`" if "#" in directive.flags and "`" not in value else go_quote(value)
    elif verb == "v" and "#" in directive.flags:
        value = go_quote(value)
    return directive.pad(value)
