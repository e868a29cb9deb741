"""The key ``gc`` of ``daemon.json``, Rundlet's own: which images go by themselves.

    "gc": {"keep-storage": "20GB", "unused-for": "168h", "tagged": false}

Without the key nothing goes by itself; images with a tag go only with ``"tagged": true``. See ``engine.images.policy``.
"""

import re
from typing import Any

from rundlet.engine.images.policy import ImagePolicy
from rundlet.errors import InvalidParameterError
from rundlet.image.words import duration_ns

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_KEYS = frozenset({"keep-storage", "unused-for", "tagged"})


class GcError(InvalidParameterError):
    """The key can't be used."""

    reason = "bad-gc"


def parse(document: dict[str, Any]) -> ImagePolicy:
    """The policy. Raises GcError."""
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        raise GcError(f"gc: the following directives don't match any configuration option: {', '.join(unknown)}")
    if "keep-storage" not in document and "unused-for" not in document:
        raise GcError('gc: want "keep-storage", "unused-for" or both')
    tagged = document.get("tagged", False)
    if not isinstance(tagged, bool):
        raise GcError("gc: tagged: want true or false")
    storage = document.get("keep-storage")
    return ImagePolicy(None if storage is None else _bytes(storage), _seconds(document.get("unused-for", "0")), tagged)


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise GcError(f'gc: keep-storage: invalid size: {value!r}: want a number of bytes, or one as in "20GB"')
    factor: int = 1024 ** " kmgtp".index(match[2].lower() or " ")
    return int(float(match[1]) * factor)


def _seconds(value: object) -> float:
    span = duration_ns(value) if isinstance(value, str) else None
    if span is None:
        raise GcError(f'gc: unused-for: invalid duration {value!r}: want one as in "168h" or "90m"')
    return span / 1e9
