"""Protocol buffers, as much of them as BuildKit's messages need: frozen structs to bytes and back.

A message is a frozen struct whose fields say their number: ``name: Annotated[str, 1] = ""``. Kinds: ``str``, ``bytes``,
``int`` (a varint, negative ones in two's complement), ``bool``, another message (or ``Message | None``), a tuple of
these, and ``Mapping[str, …]`` or ``Mapping[int, …]``. What is not known is skipped, as the encoding wants it. Bytes
from outside are never trusted: every length is checked, nesting has a limit, and whatever is wrong is a MessageError.

See: https://protobuf.dev/programming-guides/encoding/
"""

import types
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from rundlet.errors import InvalidParameterError

M = TypeVar("M", bound="Message")
_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_DEPTH: Final = 32
_WORD: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63
_LONGEST_VARINT: Final = 10


class MessageError(InvalidParameterError):
    """Bytes that are no such message."""

    reason = "bad-message"


class Message(msgspec.Struct, frozen=True):
    """Base of all messages."""


class _Field(NamedTuple):
    number: int
    name: str
    kind: Any
    many: bool
    mapped: bool
    key: Any = str


class Timestamp(Message, frozen=True):
    """A time: seconds since the epoch, and nanoseconds of the second."""

    seconds: Annotated[int, 1] = 0
    nanos: Annotated[int, 2] = 0


# ── what a message is made of ────────────────────────────────────────────────────────────────────────────────────


@cache
def _fields(kind: type[Message]) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(name, hint) for name, hint in hints.items() if get_origin(hint) is Annotated)


def _field(name: str, hint: Any) -> _Field:
    inner, number = get_args(hint)
    origin = get_origin(inner)
    if origin is tuple:
        return _Field(number, name, get_args(inner)[0], True, False)
    if origin is Mapping:
        key, value = get_args(inner)
        return _Field(number, name, value, False, True, key)
    if origin in (Union, types.UnionType):
        inner = next(one for one in get_args(inner) if one is not type(None))
    return _Field(number, name, inner, False, False)


@cache
def _by_number(kind: type[Message]) -> Mapping[int, _Field]:
    return {field.number: field for field in _fields(kind)}


# ── to bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def encode(message: Message) -> bytes:
    """``message`` as bytes; what has its default is left out."""
    out = bytearray()
    for field in _fields(type(message)):
        value = getattr(message, field.name)
        if field.mapped:
            for key, one in value.items():
                entry = _entry(1, field.key, key) + _entry(2, field.kind, one)
                out += _tag(field.number, _BYTES) + varint(len(entry)) + entry
        elif field.many:
            for one in value:
                out += _entry(field.number, field.kind, one)
        elif value or (value is not None and isinstance(value, Message)):
            out += _entry(field.number, field.kind, value)
    return bytes(out)


def varint(number: int) -> bytes:
    """A number of 64 bits, seven to a byte."""
    number &= _WORD
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def _entry(number: int, kind: Any, value: Any) -> bytes:
    if kind is int or kind is bool:
        return _tag(number, _VARINT) + varint(int(value))
    data: bytes
    if kind is str:
        data = value.encode()
    elif kind is bytes:
        data = bytes(value)
    else:
        data = encode(value)
    return _tag(number, _BYTES) + varint(len(data)) + data


# ── from bytes ───────────────────────────────────────────────────────────────────────────────────────────────────


def decode(kind: type[M], data: bytes) -> M:
    """The message in ``data``. Raises MessageError."""
    return _decode(kind, memoryview(data), 0)


def _decode(kind: type[M], data: memoryview, depth: int) -> M:
    if depth > _DEPTH:
        raise MessageError("a message is nested too deeply")
    known = _by_number(kind)
    values: dict[str, Any] = {}
    for number, wire, raw in _records(data):
        field = known.get(number)
        if field is None:
            continue
        if field.mapped:
            key, value = _pair(field, raw, wire, depth)
            values.setdefault(field.name, {})[key] = value
        elif field.many and wire == _BYTES and field.kind in (int, bool):
            values.setdefault(field.name, []).extend(_packed(field.kind, raw))
        elif field.many:
            values.setdefault(field.name, []).append(_value(field.kind, wire, raw, depth))
        else:
            values[field.name] = _value(field.kind, wire, raw, depth)
    for field in known.values():
        if field.many and field.name in values:
            values[field.name] = tuple(values[field.name])
    return kind(**values)


def _records(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(number, wire type, value) of each record."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise MessageError("a field of a message has no number")
        value: int | memoryview
        if wire == _VARINT:
            value, at = _read_varint(data, at)
        else:
            if wire == _BYTES:
                size, at = _read_varint(data, at)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise MessageError(f"a message has a field of an unknown wire type: {wire}")
            if size > end - at:
                raise MessageError("a message ends in the middle of a field")
            value, at = data[at : at + size], at + size
        yield number, wire, value


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= len(data):
            raise MessageError("a message ends in the middle of a number")
        byte = data[at + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number & _WORD, at + index + 1
    raise MessageError("a number in a message is too long")


def _value(kind: Any, wire: int, raw: int | memoryview, depth: int) -> Any:
    if kind is int or kind is bool:
        if not isinstance(raw, int):
            raise MessageError(f"a message has a field of the wrong wire type: {wire}")
        return _number(kind, raw)
    if isinstance(raw, int) or wire != _BYTES:
        raise MessageError(f"a message has a field of the wrong wire type: {wire}")
    if kind is bytes:
        return bytes(raw)
    if kind is str:
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as exc:
            raise MessageError("a text in a message is not UTF-8") from exc
    return _decode(kind, raw, depth + 1)


def _number(kind: Callable[[int], Any], raw: int) -> Any:
    return kind(raw - (1 << 64) if raw & _SIGN else raw)


def _packed(kind: Callable[[int], Any], raw: int | memoryview) -> Iterator[Any]:
    assert isinstance(raw, memoryview)
    at = 0
    while at < len(raw):
        number, at = _read_varint(raw, at)
        yield _number(kind, number)


_ZERO: Final[Mapping[Any, Any]] = {str: "", bytes: b"", int: 0, bool: False}


def _pair(field: _Field, raw: int | memoryview, wire: int, depth: int) -> tuple[Any, Any]:
    """One entry of a map."""
    if isinstance(raw, int) or wire != _BYTES:
        raise MessageError(f"a message has a field of the wrong wire type: {wire}")
    key, value = _ZERO[field.key], _ZERO[field.kind] if field.kind in _ZERO else field.kind()
    for number, inner, one in _records(raw):
        if number == 1:
            key = _value(field.key, inner, one, depth)
        elif number == 2:
            value = _value(field.kind, inner, one, depth)
    return key, value
