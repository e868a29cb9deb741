"""A document of the engine as a value of its Go type."""

from __future__ import annotations

from rundlet.cli.format.types import containers, images, methods, networks, system, volumes
from rundlet.util.template.decoding import decode, raw_numbers
from rundlet.util.template.schema import Schema
from rundlet.util.template.times import DURATION_METHODS, TIME_METHODS, duration_text, time_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = Schema(
    "time.Duration int64\njson.Number string\ndigest.Digest string\n",
    containers.TYPES,
    images.TYPES,
    networks.TYPES,
    volumes.TYPES,
    system.TYPES,
    methods={"time.Time": TIME_METHODS, "time.Duration": DURATION_METHODS, **methods.METHODS},
    texts_of={"time.Time": time_text, "time.Duration": duration_text, **methods.TEXTS},
)


def decoded(type_name: str, document: Any) -> Any:
    """``document``, of JSON, as a value of the type."""
    return decode(SCHEMA.type(type_name), document)


def raw(document: Any) -> Any:
    """``document`` as Go has JSON of which it knows no type."""
    return raw_numbers(document, SCHEMA.type("json.Number"))
