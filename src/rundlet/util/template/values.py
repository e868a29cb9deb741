"""Go's view of data: typed values, type names, truth, indirection, comparison.

Data that was decoded by a schema are the classes below; strings, ints, floats and booleans without one of these
classes have Go's basic types, and dicts and lists are what Go makes of JSON that it knows nothing of: maps of strings
to anything. None is a nil interface, MISSING Go's invalid value.
"""

from __future__ import annotations

from rundlet.util.template.errors import ExecutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rundlet.util.template.schema import FieldType, Type


class Missing:
    """Go's invalid value: what a map gives for a key that it has not. Prints as ``<no value>``."""

    def __repr__(self) -> str:
        return "<no value>"

    def __bool__(self) -> bool:
        return False


MISSING = Missing()


class Object:
    """What has fields and is no map."""

    __slots__ = ()

    type_name = ""

    def field(self, name: str) -> Any:
        """A field's value, a Method, or MISSING."""
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """What ``{{json .}}`` shows of it."""
        raise NotImplementedError


class Method:
    """A field that is a method, with the number of its parameters."""

    __slots__ = ("function", "parameters")

    def __init__(self, function: Callable[..., Any], parameters: int = 1) -> None:
        self.function = function
        self.parameters = parameters


class Struct(Object):
    """A decoded struct; ``values`` are by the fields' names in Go."""

    __slots__ = ("type", "values")

    def __init__(self, kind: Type, values: dict[str, Any]) -> None:
        self.type = kind
        self.values = values

    def field(self, name: str) -> Any:
        """Also of the structs that it embeds, the outer ones first."""
        if name in self.values:
            return self.values[name]
        for one in self.type.fields:
            if one.embedded:
                inner = indirect(self.values[one.name])
                found = inner.field(name) if isinstance(inner, Struct) else MISSING
                if found is not MISSING:
                    return found
        return MISSING

    def document(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for one in self.type.fields:
            value = self.values[one.name]
            if one.embedded:
                inner = indirect(value)
                out.update(inner.document() if isinstance(inner, Struct) else {})
            elif one.key and not (one.omit_empty and _empty(one, value)):
                out[one.key] = value
        return dict(sorted(out.items())) if self.type.sorted else out


def _empty(field: FieldType, value: Any) -> bool:
    """What omitempty leaves out: no structs."""
    return field.type.kind not in ("struct", "time") and not truth(value)


class Pointer:
    """A pointer; ``target`` is None for nil."""

    __slots__ = ("target", "type")

    def __init__(self, kind: Type, target: Any) -> None:
        self.type = kind
        self.target = target


class Slice(list["Any"]):
    """A slice or an array."""

    __slots__ = ("nil", "type")

    def __init__(self, kind: Type, members: Any = (), *, nil: bool = False) -> None:
        super().__init__(members)
        self.type = kind
        self.nil = nil


class Map(dict[str, "Any"]):
    """A map."""

    __slots__ = ("nil", "type")

    def __init__(self, kind: Type, members: Any = (), *, nil: bool = False) -> None:
        super().__init__(members)
        self.type = kind
        self.nil = nil


class Text(str):
    """A string of a type with a name, as container.NetworkMode."""

    __slots__ = ("type",)
    type: Type


class Number(int):
    """A whole number of another type than int."""

    type: Type


class Time(str):
    """A time.Time, as it was in JSON."""

    __slots__ = ("type",)
    type: Type


class Boxed:
    """A value as an element of a map or list of anything: the same, but Go calls its type interface {}."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def unboxed(value: Any) -> Any:
    return value.value if isinstance(value, Boxed) else value


def indirect(value: Any) -> Any:
    """What a pointer leads to; a nil pointer itself."""
    while isinstance(value, Pointer) and value.target is not None:
        value = value.target
    return value


def is_nil(value: Any) -> bool:
    return value is None or (isinstance(value, Pointer) and value.target is None)


def type_name(value: Any) -> str:
    """As Go writes it."""
    kind = getattr(value, "type", None)
    if kind is not None:
        return str(kind.name)
    if isinstance(value, Boxed):
        return "interface {}"
    if isinstance(value, Object):
        return value.type_name
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, (list, tuple)):
        return "[]interface {}"
    return "nil"


def method_of(value: Any, name: str) -> Callable[..., Any] | None:
    """The method that a value has by its type."""
    kind = getattr(value, "type", None)
    return None if kind is None else kind.methods.get(name)


def truth(value: Any) -> bool:
    """False for zero values, nil and empty collections; a struct is always true."""
    value = unboxed(value)
    if isinstance(value, (Struct, Time)):
        return True
    if isinstance(value, Pointer):
        return value.target is not None
    return value is not MISSING and bool(value)


def sorted_items(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Entries in the order in which Go prints and ranges over a map."""
    return sorted(value.items())


def basic_kind(value: Any) -> str:
    """bool, int, float, string, or other. A struct's time is no string."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "int" if isinstance(value, int) else "float"
    return "string" if isinstance(value, str) and not isinstance(value, Time) else "other"


def _reflect_kind(value: Any) -> str:
    if isinstance(value, Pointer):
        return "pointer"
    if isinstance(value, (Object, Time)):
        return "struct"
    if isinstance(value, dict):
        return "map"
    return "slice" if isinstance(value, (list, tuple)) else basic_kind(value)


def equal(left: Any, right: Any) -> bool:
    """``eq``. Raises ExecutionError for what Go refuses to compare."""
    left, right = (None if unboxed(value) is MISSING else unboxed(value) for value in (left, right))
    kinds = basic_kind(left), basic_kind(right)
    if kinds[0] != kinds[1]:
        if left is not None and right is not None:
            raise ExecutionError("incompatible types for comparison")
        return False
    if kinds[0] != "other":
        return bool(left == right)
    return _equal_others(left, right)


def _equal_others(left: Any, right: Any) -> bool:
    from rundlet.util.template.printing import go_string

    if left is None or right is None:
        return _is_null(left) == _is_null(right)
    if _reflect_kind(left) != _reflect_kind(right):
        shown = f"{go_string(left)}: {type_name(left)}, {type_name(right)}: {go_string(right)}"
        raise ExecutionError(f"non-comparable types {shown}")
    if _is_null(left) or _is_null(right):
        return _is_null(left) == _is_null(right)
    if isinstance(left, Pointer):
        return left is right
    if isinstance(right, (dict, list, tuple)):
        raise ExecutionError(f"non-comparable type {go_string(right)}: {type_name(right)}")
    return bool(left == right)


def _is_null(value: Any) -> bool:
    return is_nil(value) or (isinstance(value, (Slice, Map)) and value.nil)


def less(left: Any, right: Any) -> bool:
    """``lt``. Raises ExecutionError."""
    kinds = basic_kind(unboxed(left)), basic_kind(unboxed(right))
    if "other" in kinds:
        raise ExecutionError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise ExecutionError("incompatible types for comparison")
    if kinds[0] == "bool":
        raise ExecutionError("invalid type for comparison")
    return bool(unboxed(left) < unboxed(right))
