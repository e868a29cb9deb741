"""JSON bytes to wire types, as leniently as Docker decodes, and back.

Docker's decoder ignores keys it does not know, takes keys in any case, and treats ``null`` for a field as if the field
were not there. Clients depend on all three (docker-py sends ``null`` for everything that was not given).
"""

import re
import types
import typing
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeGuard, TypeVar

import msgspec

from rundlet.api import syntax
from rundlet.api.base import SINGLE
from rundlet.errors import InvalidParameterError

T = TypeVar("T")
Normalise = Callable[[Any], Any]

_NUL = b"\\u0000"
_NULS = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""Escaped in JSON, and not after an escaped backslash: the kernel's strings end there, a container's can hold none."""
_LONG = re.compile(rb"[0-9]{19}")
_BEYOND = 1 << 63

_encoder = msgspec.json.Encoder()

encode = _encoder.encode
"""Any wire type, or a list of them, as compact JSON."""


def encode_line(value: object) -> bytes:
    """One message of a JSON stream: Docker ends each with CR LF in progress streams and LF elsewhere; this is LF."""
    return _encoder.encode(value) + b"\n"


def to_builtins(value: object) -> Any:
    """The wire type as plain dicts, tuples and lists with Docker's keys, for adapting to older API versions."""
    return msgspec.to_builtins(value)


def decode(data: bytes, kind: type[T]) -> T:
    """Decode one JSON object.

    Raises InvalidParameterError: ``invalid JSON: …``, ``unexpected content after JSON`` (400).
    """
    if not data:
        raise InvalidParameterError("invalid JSON: got EOF while reading request body")
    if _NUL in data and _NULS.search(data):
        raise InvalidParameterError("invalid JSON: a string with a null byte")
    try:
        value = msgspec.json.decode(data)
        if _LONG.search(data):
            _check_integers(value)
        return convert(value, kind)
    except msgspec.ValidationError as exc:
        raise InvalidParameterError(f"invalid JSON: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise syntax.problem(data) or InvalidParameterError(f"invalid JSON: {exc}") from exc


def _check_integers(value: Any) -> None:
    """Raises InvalidParameterError: an integer has no end in JSON, but in what it is kept in, and in Go."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, int) and not -_BEYOND <= found < _BEYOND:
            raise InvalidParameterError("invalid JSON: a number that is out of range: no value of type int64")


def convert(value: Any, kind: type[T]) -> T:
    """Plain dicts and lists to a wire type. Raises msgspec.ValidationError."""
    target: Any = kind
    normalise = _plan(target)
    return msgspec.convert(value if normalise is None else normalise(value), kind)


@cache
def _plan(kind: Hashable, single: bool = False) -> Normalise | None:
    """How values of type ``kind`` are brought into the exact form; None when they are taken as they come."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        base, *metas = typing.get_args(kind)
        return _plan(base, any(isinstance(m, msgspec.Meta) and (m.extra or {}).get(SINGLE) for m in metas))
    if origin in (types.UnionType, typing.Union):
        members = [m for m in typing.get_args(kind) if m is not types.NoneType]
        inner = _plan(members[0], single) if len(members) == 1 else None
        return _optional(inner) if inner is not None else None
    if _is_struct(kind):
        return _struct(kind)
    if origin is tuple:
        return _sequence(_plan(typing.get_args(kind)[0]), single)
    if origin is dict:
        return _mapping(_plan(typing.get_args(kind)[1]), _is_struct(typing.get_args(kind)[1]))
    return None


def _is_struct(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _optional(inner: Normalise) -> Normalise:
    return lambda value: None if value is None else inner(value)


def _sequence(inner: Normalise | None, single: bool) -> Normalise | None:
    def normalise(value: Any) -> Any:
        if single and isinstance(value, str):
            return [value]
        if inner is None or not isinstance(value, list):
            return value
        return [inner(item) for item in value]

    return normalise if single or inner is not None else None


def _mapping(inner: Normalise | None, structs: bool) -> Normalise | None:
    """``null`` for a struct in a map is the zero struct; the key counts."""
    if inner is None:
        return None

    def normalise(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: inner({} if v is None and structs else v) for k, v in value.items()}

    return normalise


def _struct(kind: type[msgspec.Struct]) -> Normalise:
    fields: dict[str, tuple[str, Normalise | None]] | None = None

    def build() -> dict[str, tuple[str, Normalise | None]]:
        hints = typing.get_type_hints(kind, include_extras=True)
        return {f.encode_name.lower(): (f.encode_name, _plan(hints[f.name])) for f in msgspec.structs.fields(kind)}

    def normalise(value: Any) -> Any:
        nonlocal fields
        if not isinstance(value, dict):
            return value
        if fields is None:
            fields = build()
        result = {}
        for key, item in value.items():
            known = fields.get(key.lower())
            if known is not None and item is not None:
                name, inner = known
                result[name] = item if inner is None else inner(item)
        return result

    return normalise
