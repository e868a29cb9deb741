"""Sizes in ``daemon.json``: a number of bytes, or text as in "20GB", in powers of 1024 as Docker reads it."""

import re
from typing import Final

from rundlet.errors import InvalidParameterError

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)


class SizeError(InvalidParameterError):
    """A key's value is no size."""

    reason = "bad-size"


def parse(key: str, value: object) -> int:
    """``value`` in bytes. Raises SizeError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise SizeError(f'{key}: invalid size: {value!r}: want a number of bytes, or one as in "20GB"')
    factor: int = 1024 ** " kmgtp".index(match[2].lower() or " ")
    return int(float(match[1]) * factor)
