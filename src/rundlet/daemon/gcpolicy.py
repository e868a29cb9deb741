"""The key ``gc`` of ``daemon.json``, Rundlet's own: which images go by themselves.

    "gc": {"keep-storage": "20GB", "unused-for": "168h", "tagged": false}

Without the key nothing goes by itself; images with a tag go only with ``"tagged": true``. See ``engine.images.policy``.
"""

from typing import Any

from rundlet.daemon import sizes
from rundlet.engine.images.policy import ImagePolicy
from rundlet.errors import InvalidParameterError
from rundlet.image.words import duration_ns

_KEYS = frozenset({"keep-storage", "unused-for", "tagged"})


class GcError(InvalidParameterError):
    """The key can't be used; a size raises ``sizes.SizeError``."""

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
    return ImagePolicy(
        None if storage is None else sizes.parse("gc: keep-storage", storage),
        _seconds(document.get("unused-for", "0")),
        tagged,
    )


def _seconds(value: object) -> float:
    span = duration_ns(value) if isinstance(value, str) else None
    if span is None:
        raise GcError(f'gc: unused-for: invalid duration {value!r}: want one as in "168h" or "90m"')
    return span / 1e9
