"""What every wire type is made of.

Docker's JSON follows Go's ``encoding/json``: a field either is always there (even as ``null``) or has ``omitempty``.
Here a plain default (``= ""``, ``= ()``, ``= None``) means *omitempty*, and :func:`always` means *always there*:

    class Port(Wire):
        ip: str = field(name="IP", default="")   # left out when empty
        private_port: int = always(0)            # always there

Lists are tuples, so that the empty one is a singleton and is left out by identity; a list that Docker prints as
``null`` is ``tuple[...] | None``.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, overload

import msgspec

T = TypeVar("T")

SINGLE = "single"
"""Key in a field's ``extra`` metadata: one string stands for a list of one (Go's ``strslice.StrSlice``)."""

StrSlice = Annotated[tuple[str, ...] | None, msgspec.Meta(extra={SINGLE: True})]
"""A command: a list of words, one string (one word), or null."""

MAX_LABELS: Final = 1 << 16
"""Of one object: no tool sets as many, and each is copied, stored and compared while other clients wait."""

Labels = Annotated[dict[str, str], msgspec.Meta(max_length=MAX_LABELS)]

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
"""Go's zero time: every client parses it, an empty string only some."""


class Wire(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Base of a JSON object whose keys are written ``LikeThis``."""


class LowerWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of a JSON object whose keys are written ``like_this``."""


class Options(msgspec.Struct, frozen=True):
    """Base of what a request says outside its JSON body (query parameters, headers); never encoded."""


class Empty(msgspec.Struct, frozen=True):
    """Go's ``struct{}``: the value of a map that is a set."""


EMPTY = Empty()


@overload
def always(default: T) -> T: ...
@overload
def always(default: T, *, name: str) -> T: ...
def always(default: Any, *, name: str | None = None) -> Any:
    """A field that is encoded even when it holds ``default`` (msgspec only leaves out *plain* defaults)."""
    return msgspec.field(default_factory=_constant(default), name=name)


def always_map(*, name: str | None = None) -> Any:
    """A map that is encoded as ``{}`` when it is empty."""
    return msgspec.field(default_factory=_new_map, name=name)


def optional_map(*, name: str | None = None) -> Any:
    """A map that is left out when it is empty."""
    return msgspec.field(default_factory=dict, name=name)


def _constant(value: T) -> Callable[[], T]:
    return lambda: value


def _new_map() -> dict[str, Any]:
    return {}
