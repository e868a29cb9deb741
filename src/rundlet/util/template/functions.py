"""The functions of a template: text/template's own and those that Docker adds."""

from __future__ import annotations

from rundlet.util.template import values
from rundlet.util.template.errors import ArgumentError, ExecutionError
from rundlet.util.template.printf import sprintf
from rundlet.util.template.printing import go_string, string_method
from rundlet.util.template.schema import Schema
from rundlet.util.template.values import MISSING, Map, Pointer, Slice, indirect, type_name

MOST_BLANKS = 1 << 20
"""Of one ``pad``: templates of clients (log tags) are carried out in the engine's memory."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_STRINGS = Schema().type("[]string")
_HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
_JS = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


def _given(value: Any, position: int, wanted: str) -> Any:
    """An argument whose parameter has a type: what a pointer to it leads to, anything else as it is."""
    if value is MISSING or value is None:
        raise ArgumentError(f"invalid value; expected {wanted}", position, wanted)
    if isinstance(value, Pointer) and value.type.elem is not None and value.type.elem.name == wanted:
        if value.target is None:
            raise ArgumentError(f"dereference of nil pointer of type {wanted}", position, wanted)
        return value.target
    return value


def _mismatch(value: Any, position: int, wanted: str) -> ArgumentError:
    return ArgumentError(f"wrong type for value; expected {wanted}; got {type_name(value)}", position, wanted)


def text_argument(value: Any, position: int) -> str:
    """An argument that must be a string. Raises ArgumentError."""
    value = _given(value, position, "string")
    if not isinstance(value, str) or type_name(value) != "string":
        raise _mismatch(value, position, "string")
    return value


def _number(value: Any, position: int) -> int:
    value = _given(value, position, "int")
    if isinstance(value, bool) or not isinstance(value, int) or type_name(value) != "int":
        raise _mismatch(value, position, "int")
    return value


def _shown(value: Any) -> str:
    return "<nil>" if value is MISSING else go_string(value)


def sprint(*arguments: Any) -> str:
    """fmt.Sprint: a blank between two operands when neither is a string."""
    out: list[str] = []
    for position, value in enumerate(arguments):
        if position and not isinstance(value, str) and not isinstance(arguments[position - 1], str):
            out.append(" ")
        out.append(_shown(value))
    return "".join(out)


def sprintln(*arguments: Any) -> str:
    return " ".join(map(_shown, arguments)) + "\n"


def format_(form: Any, *arguments: Any) -> str:
    return sprintf(text_argument(form, 0), arguments)


def length(value: Any) -> int:
    """``len``; of a string in bytes."""
    value = indirect(value)
    if isinstance(value, str) and not string_method(value):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (list, tuple, dict)):
        return len(value)
    if isinstance(value, Pointer):
        raise ExecutionError("error calling len: len of nil pointer")
    if value is MISSING or value is None:
        raise ExecutionError("error calling len: reflect: call of reflect.Value.Type on zero Value")
    raise ExecutionError(f"error calling len: len of type {type_name(value)}")


def index(value: Any, *keys: Any) -> Any:
    """``index x 1 "a"``."""
    if value is MISSING or value is None:
        raise ExecutionError("error calling index: index of untyped nil")
    for key in keys:
        value = indirect(value)
        if value is None or isinstance(value, Pointer):
            raise ExecutionError("error calling index: index of nil pointer")
        if isinstance(value, dict):
            value = _entry(value, key)
        elif isinstance(value, (list, tuple, str)):
            items: Any = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            value = items[_position(key, len(items), "string" if isinstance(value, str) else "slice")]
        else:
            raise ExecutionError(f"error calling index: can't index item of type {type_name(value)}")
    return value


def _entry(value: dict[str, Any], key: Any) -> Any:
    """Of a map; the zero value of its elements where it has none."""
    wanted = value.type.key if isinstance(value, Map) else None
    name = wanted.name if wanted is not None else "string"
    if key is None or key is MISSING:
        raise ExecutionError(f"error calling index: value is nil; should be of type {name}")
    if type_name(key) != name:
        raise ExecutionError(f"error calling index: value has type {type_name(key)}; should be {name}")
    if key in value:
        return value[key]
    if not isinstance(value, Map) or value.type.elem is None:
        return None
    from rundlet.util.template.decoding import decode

    return decode(value.type.elem, None)


def _position(key: Any, size: int, kind: str) -> int:
    if key is None or key is MISSING:
        raise ExecutionError("error calling index: cannot index slice/array with nil")
    if isinstance(key, bool) or not isinstance(key, int):
        raise ExecutionError(f"error calling index: cannot index slice/array with type {type_name(key)}")
    if not 0 <= key <= size:
        raise ExecutionError(f"error calling index: index out of range: {key}")
    if key == size:
        # Go's own check lets this one pass, and what it asks then says it in other words.
        raise ExecutionError(f"error calling index: reflect: {kind} index out of range")
    return key


def slice_(value: Any, *bounds: Any) -> Any:
    """``slice x 1 2``."""
    if value is MISSING or value is None:
        raise ExecutionError("error calling slice: slice of untyped nil")
    if not isinstance(value, (str, list, tuple)):
        raise ExecutionError(f"error calling slice: can't slice item of type {type_name(value)}")
    if len(bounds) > (2 if isinstance(value, str) else 3):
        many = "cannot 3-index slice a string" if len(bounds) == 3 else f"too many slice indexes: {len(bounds)}"
        raise ExecutionError(f"error calling slice: {many}")
    items: Any = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    numbers = [_position_in_slice(bound) for bound in bounds]
    first = numbers[0] if numbers else 0
    last = numbers[1] if len(numbers) > 1 else len(items)
    for bound in (*numbers, first, last):
        if not 0 <= bound <= len(items):
            raise ExecutionError(f"error calling slice: index out of range: {bound}")
    if first > last:
        raise ExecutionError(f"error calling slice: invalid slice index: {first} > {last}")
    part = items[first:last]
    if isinstance(value, str):
        return part.decode("utf-8", "replace")
    return Slice(value.type, part) if isinstance(value, Slice) else part


def _position_in_slice(bound: Any) -> int:
    if isinstance(bound, bool) or not isinstance(bound, int):
        raise ExecutionError(f"error calling slice: cannot index slice/array with type {type_name(bound)}")
    return bound


def not_(value: Any) -> bool:
    return not values.truth(value)


def eq(first: Any, *others: Any) -> bool:
    """True when the first equals any of the others."""
    if not others:
        raise ExecutionError("error calling eq: missing argument for comparison")
    return any(_compared("eq", values.equal, first, other) for other in others)


def _compared(name: str, compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    try:
        return compare(left, right)
    except ExecutionError as exc:
        raise ExecutionError(f"error calling {name}: {exc}") from exc


def ne(left: Any, right: Any) -> bool:
    return not _compared("ne", values.equal, left, right)


def lt(left: Any, right: Any) -> bool:
    return _compared("lt", values.less, left, right)


def le(left: Any, right: Any, name: str = "le") -> bool:
    return _compared(name, values.less, left, right) or _compared(name, values.equal, left, right)


def gt(left: Any, right: Any) -> bool:
    return not le(left, right, "gt")


def ge(left: Any, right: Any) -> bool:
    return not _compared("ge", values.less, left, right)


def _words(arguments: tuple[Any, ...]) -> str:
    """As an action prints them, which has words for nothing."""
    return sprint(*("<no value>" if value is None or value is MISSING else value for value in arguments))


def html(*arguments: Any) -> str:
    return "".join(_HTML.get(letter, letter) for letter in _words(arguments))


def js(*arguments: Any) -> str:
    return "".join(
        _JS.get(letter) or (f"\\u{ord(letter):04X}" if ord(letter) < 0x20 else letter) for letter in _words(arguments)
    )


def urlquery(*arguments: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_words(arguments))


def call(function: Any, *arguments: Any) -> Any:
    if function is None or function is MISSING:
        raise ExecutionError("error calling call: call of nil")
    return function(*arguments)


def json(value: Any) -> str:
    """Compact JSON; keys of an object as they came."""
    from rundlet.util.template.json_text import encode

    return encode(None if value is MISSING else value)


def split(text: Any, separator: Any) -> Slice:
    """Go's strings.Split: an empty separator gives the letters."""
    text, separator = text_argument(text, 0), text_argument(separator, 1)
    return Slice(_STRINGS, text.split(separator) if separator else list(text))


def join(parts: Any, separator: Any) -> str:
    parts = _given(parts, 0, "[]string")
    if not isinstance(parts, Slice) or parts.type.elem is None or parts.type.elem.name != "string":
        raise _mismatch(parts, 0, "[]string")
    return text_argument(separator, 1).join(parts)


def title(text: Any) -> str:
    """Go's strings.Title: upper case at the beginning of each word, the rest left alone."""
    out = []
    previous = " "
    for letter in text_argument(text, 0):
        inside = previous.isalnum() or previous == "_" or (ord(previous) > 0x7F and not previous.isspace())
        out.append(letter if inside else letter.title())
        previous = letter
    return "".join(out)


def lower(text: Any) -> str:
    return text_argument(text, 0).lower()


def _upper_letter(letter: str) -> str:
    changed = letter.upper()
    return changed if len(changed) == 1 else letter


def upper(text: Any) -> str:
    # Letter by letter: Go has no upper case of several letters for one.
    return "".join(map(_upper_letter, text_argument(text, 0)))


def pad(text: Any, before: Any, after: Any) -> str:
    """Blanks around a text that is not empty."""
    inner = text_argument(text, 0)
    if max(_number(before, 1), _number(after, 2)) > MOST_BLANKS:
        raise ExecutionError(f"error calling pad: more than {MOST_BLANKS} blanks")
    if inner and min(before, after) < 0:
        raise ExecutionError("error calling pad: strings: negative Repeat count")
    return " " * before + inner + " " * after if inner else inner


def truncate(text: Any, width: Any) -> str:
    """The first bytes of a text."""
    encoded, most = text_argument(text, 0).encode("utf-8", "surrogateescape"), _number(width, 1)
    if most < 0:
        raise ExecutionError(f"error calling truncate: runtime error: slice bounds out of range [:{most}]")
    return encoded[:most].decode("utf-8", "surrogateescape")


# name: (function, fewest arguments, most arguments; -1 for any number). "and" and "or" are the evaluator's.
FUNCTIONS: dict[str, tuple[Callable[..., Any] | None, int, int]] = {
    "and": (None, 1, -1),
    "or": (None, 1, -1),
    "call": (call, 1, -1),
    "eq": (eq, 1, -1),
    "ge": (ge, 2, 2),
    "gt": (gt, 2, 2),
    "html": (html, 0, -1),
    "index": (index, 1, -1),
    "join": (join, 2, 2),
    "js": (js, 0, -1),
    "json": (json, 1, 1),
    "le": (le, 2, 2),
    "len": (length, 1, 1),
    "lower": (lower, 1, 1),
    "lt": (lt, 2, 2),
    "ne": (ne, 2, 2),
    "not": (not_, 1, 1),
    "pad": (pad, 3, 3),
    "print": (sprint, 0, -1),
    "printf": (format_, 1, -1),
    "println": (sprintln, 0, -1),
    "slice": (slice_, 1, -1),
    "split": (split, 2, 2),
    "title": (title, 1, 1),
    "truncate": (truncate, 2, 2),
    "upper": (upper, 1, 1),
    "urlquery": (urlquery, 0, -1),
}
