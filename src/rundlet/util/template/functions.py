"""The functions of a template: text/template's own and those that Docker adds."""

from __future__ import annotations

from rundlet.util.template import values
from rundlet.util.template.errors import ExecutionError
from rundlet.util.template.printf import sprintf
from rundlet.util.template.values import MISSING, go_string, type_name

MOST_BLANKS = 1 << 20
"""Of one ``pad``: templates of clients (log tags) are carried out in the engine's memory."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


def _text(value: Any, name: str, position: int) -> str:
    if not isinstance(value, str):
        raise ExecutionError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExecutionError(f"wrong type for value; expected int; got {type_name(value)}")
    return value


def sprint(*arguments: Any) -> str:
    """fmt.Sprint: a blank between two operands when neither is a string."""
    out: list[str] = []
    for position, value in enumerate(arguments):
        if position and not isinstance(value, str) and not isinstance(arguments[position - 1], str):
            out.append(" ")
        out.append("<nil>" if value is MISSING else go_string(value))
    return "".join(out)


def sprintln(*arguments: Any) -> str:
    return " ".join("<nil>" if value is MISSING else go_string(value) for value in arguments) + "\n"


def format_(form: Any, *arguments: Any) -> str:
    return sprintf(_text(form, "printf", 0), arguments)


def length(value: Any) -> int:
    """``len``; of a string in bytes."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (list, tuple, dict)):
        return len(value)
    if value is None:
        # Docker's null is a nil slice or map more often than anything else: both have length 0.
        return 0
    if value is MISSING:
        raise ExecutionError("error calling len: len of nil pointer")
    raise ExecutionError(f"error calling len: len of type {type_name(value)}")


def index(value: Any, *keys: Any) -> Any:
    """``index x 1 "a"``."""
    for key in keys:
        if value is MISSING:
            raise ExecutionError("error calling index: index of untyped nil")
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise ExecutionError(f"error calling index: value has type {type_name(key)}; should be string")
            # A map of strings gives Go's zero value, the empty string.
            default: Any = "" if all(isinstance(member, str) for member in value.values()) else MISSING
            value = value.get(key, default)
        elif value is None:
            value = "" if isinstance(key, str) else _out_of_range(key)
        elif isinstance(value, (list, tuple, str)):
            if isinstance(key, bool) or not isinstance(key, int):
                raise ExecutionError(f"error calling index: cannot index slice/array with type {type_name(key)}")
            items: Any = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            if not 0 <= key < len(items):
                _out_of_range(key)
            value = items[key]
        else:
            raise ExecutionError(f"error calling index: can't index item of type {type_name(value)}")
    return value


def _out_of_range(key: Any) -> Any:
    raise ExecutionError(f"error calling index: index out of range: {go_string(key)}")


def slice_(value: Any, *bounds: Any) -> Any:
    """``slice x 1 2``."""
    if not isinstance(value, (str, list, tuple)):
        raise ExecutionError(f"error calling slice: can't slice item of type {type_name(value)}")
    if len(bounds) > (2 if isinstance(value, str) else 3):
        raise ExecutionError(f"error calling slice: too many slice indexes: {len(bounds)}")
    items: Any = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    numbers = [_number(bound) for bound in bounds]
    first = numbers[0] if numbers else 0
    last = numbers[1] if len(numbers) > 1 else len(items)
    for bound in (*numbers, first, last):
        if not 0 <= bound <= len(items):
            raise ExecutionError(f"error calling slice: index out of range: {bound}")
    if first > last:
        raise ExecutionError(f"error calling slice: invalid slice index: {first} > {last}")
    part = items[first:last]
    return part.decode("utf-8", "replace") if isinstance(value, str) else part


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


def le(left: Any, right: Any) -> bool:
    return lt(left, right) or _compared("le", values.equal, left, right)


def gt(left: Any, right: Any) -> bool:
    return not le(left, right)


def ge(left: Any, right: Any) -> bool:
    return not lt(left, right)


def html(*arguments: Any) -> str:
    return "".join(_HTML.get(letter, letter) for letter in sprint(*arguments))


def js(*arguments: Any) -> str:
    return "".join(
        _JS.get(letter) or (f"\\u{ord(letter):04X}" if ord(letter) < 0x20 else letter) for letter in sprint(*arguments)
    )


def urlquery(*arguments: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(sprint(*arguments))


def call(function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise ExecutionError(f"error calling call: non-function of type {type_name(function)}")
    return function(*arguments)


def json(value: Any) -> str:
    """Compact JSON; keys of an object as they came."""
    from rundlet.util.template.json_text import encode

    return encode(None if value is MISSING else value)


def split(text: Any, separator: Any) -> list[str]:
    """Go's strings.Split: an empty separator gives the letters."""
    text, separator = _text(text, "split", 0), _text(separator, "split", 1)
    return text.split(separator) if separator else list(text)


def join(parts: Any, separator: Any) -> str:
    if parts is None:
        return ""
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ExecutionError(f"wrong type for value; expected []string; got {type_name(parts)}")
    return _text(separator, "join", 1).join(parts)


def title(text: Any) -> str:
    """Go's strings.Title: upper case at the beginning of each word, the rest left alone."""
    out = []
    previous = " "
    for letter in _text(text, "title", 0):
        inside = previous.isalnum() or previous == "_" or (ord(previous) > 0x7F and not previous.isspace())
        out.append(letter if inside else letter.title())
        previous = letter
    return "".join(out)


def lower(text: Any) -> str:
    return _text(text, "lower", 0).lower()


def upper(text: Any) -> str:
    return _text(text, "upper", 0).upper()


def pad(text: Any, before: Any, after: Any) -> str:
    """Blanks around a text that is not empty."""
    inner = _text(text, "pad", 0)
    if max(_number(before), _number(after)) > MOST_BLANKS:
        raise ExecutionError(f"error calling pad: more than {MOST_BLANKS} blanks")
    return " " * _number(before) + inner + " " * _number(after) if inner else inner


def truncate(text: Any, width: Any) -> str:
    return _text(text, "truncate", 0)[: _number(width)]


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
