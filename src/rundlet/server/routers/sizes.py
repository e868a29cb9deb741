"""The ``h`` and ``w`` parameters of both resize endpoints."""

import re

from rundlet.api.exec import Size
from rundlet.errors import InvalidParameterError
from rundlet.server.call import Call

_NUMBER = re.compile(r"[-+]?[0-9]+")
_LONGEST = 20  # digits that are worth converting


def terminal_size(call: Call) -> Size:
    """Raises InvalidParameterError for anything but two numbers of 32 bits."""
    return Size(height=_number(call, "h", "height"), width=_number(call, "w", "width"))


def _number(call: Call, key: str, what: str) -> int:
    value = call.text(key)
    if not _NUMBER.fullmatch(value):
        raise InvalidParameterError(f'invalid resize {what} "{value}": invalid syntax')
    if value.startswith("-") or len(value) > _LONGEST or int(value) >= 1 << 32:
        raise InvalidParameterError(f'invalid resize {what} "{value}": value out of range')
    return int(value)
