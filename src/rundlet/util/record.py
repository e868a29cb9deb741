"""Frozen values with named fields, for what the command line reads as well.

``typing.NamedTuple`` and ``dataclasses`` compile each class's methods when its module is imported, and bring ``typing``
or ``inspect`` with them: milliseconds that every command would pay which only looks at a signature. The engine's own
values are msgspec's structs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        return lambda decorated: decorated


@dataclass_transform(frozen_default=True)
class Record:
    """Subclasses annotate their fields, in order, with defaults where they have some; one level deep only.

    Equal when class and fields are; hashable when the fields are.
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._names = tuple(cls.__annotations__)

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self._names
        found = self.__dict__
        found.update(zip(names, values, strict=False))
        if len(values) > len(names) or not found.keys().isdisjoint(named) or not named.keys() <= set(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}")
        found.update(named)
        for name in names[len(values) :]:
            if name not in found:
                try:
                    found[name] = getattr(type(self), name)
                except AttributeError:
                    raise TypeError(f"{type(self).__name__} needs {name}") from None

    def replaced(self, **changes: Any) -> Self:
        """The same with other values in some fields."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__[name] for name in self._names))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._names)
        return f"{type(self).__name__}({fields})"
