"""JSON and URL encoding on the hot path.

The ``json`` package imports ``re`` and with it half of what makes an interpreter slow to start; the scanner and the
string encoder beneath it are C functions that need none of that. Where the C accelerator is missing (another Python),
the package itself is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

_WHITESPACE = " \t\n\r"
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class _Scanning:
    """What the C scanner reads from its context (the options of ``json.JSONDecoder``)."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}[name]


def _scanner() -> Any:
    options: Any = _Scanning()
    try:
        from _json import make_scanner
    except ImportError:
        from json import scanner

        # Not in the stubs: what json itself falls back to.
        return scanner.py_make_scanner(options)  # type: ignore[attr-defined]
    return make_scanner(options)


def _string_encoder() -> Callable[[str], str]:
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii


class DecodeError(ValueError):
    """The text is not JSON."""


_scan = _scanner()


def skip_whitespace(text: str, index: int) -> int:
    """The index of the first character at or after ``index`` that is not JSON whitespace."""
    while index < len(text) and text[index] in _WHITESPACE:
        index += 1
    return index


def scan(text: str, index: int = 0) -> tuple[Any, int]:
    """The JSON value that starts at ``index`` and the index behind it.

    Raises StopIteration when the value is not complete or not there, ValueError when it is malformed.
    """
    try:
        value, end = _scan(text, index)
    except SystemError as exc:
        # Python 3.11's scanner takes its exception from json.decoder, and has none to raise before that is imported.
        raise ValueError("malformed JSON") from exc
    return value, end


def loads(data: bytes | str) -> Any:
    """One JSON document. Raises DecodeError."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        value, end = scan(text, skip_whitespace(text, 0))
    except (StopIteration, ValueError) as exc:
        raise DecodeError(f"invalid JSON: {text[:80]!r}") from exc
    if skip_whitespace(text, end) != len(text):
        raise DecodeError(f"invalid JSON: {text[end : end + 80]!r} after the value")
    return value


def dumps(value: Any) -> str:
    """Compact JSON (no spaces) of dicts, lists, strings, numbers, booleans and None."""
    parts: list[str] = []
    _encode(value, parts.append, _string_encoder())
    return "".join(parts)


def _encode(value: Any, put: Callable[[str], object], quoted: Callable[[str], str]) -> None:
    if isinstance(value, str):
        put(quoted(value))
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif value is None:
        put("null")
    elif isinstance(value, (int, float)):
        put(repr(value))
    elif isinstance(value, dict):
        put("{")
        for position, (key, member) in enumerate(value.items()):
            put(f"{',' if position else ''}{quoted(key)}:")
            _encode(member, put, quoted)
        put("}")
    else:
        put("[")
        for position, member in enumerate(value):
            if position:
                put(",")
            _encode(member, put, quoted)
        put("]")


def quote(text: str, safe: str = "") -> str:
    """Percent-encode everything but RFC 3986's unreserved characters and ``safe``."""
    allowed = _UNRESERVED | frozenset(safe.encode())
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def query_string(parameters: Mapping[str, Any]) -> str:
    """``?a=1&b=x``, or nothing. None is left out, booleans are ``1`` and ``0``, a list gives its key several times,
    a dict is sent as JSON (Docker's filters)."""
    pairs: list[str] = []
    for key, value in parameters.items():
        if value is None:
            continue
        values: Iterable[Any] = value if isinstance(value, (list, tuple)) else (value,)
        for one in values:
            if isinstance(one, bool):
                text = "1" if one else "0"
            elif isinstance(one, dict):
                text = dumps(one)
            else:
                text = str(one)
            pairs.append(f"{quote(key)}={quote(text)}")
    return "?" + "&".join(pairs) if pairs else ""
