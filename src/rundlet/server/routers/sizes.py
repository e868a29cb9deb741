"""The ``h`` and ``w`` parameters of both resize endpoints."""

from rundlet.api.exec import Size
from rundlet.errors import InvalidParameterError
from rundlet.server.call import Call


def terminal_size(call: Call) -> Size:
    """Raises InvalidParameterError for anything but two numbers of 32 bits."""
    return Size(height=_number(call, "h", "height"), width=_number(call, "w", "width"))


def _number(call: Call, key: str, what: str) -> int:
    value = call.text(key)
    if not value.isascii() or not value.isdigit() or int(value) >= 1 << 32:
        raise InvalidParameterError(f'invalid resize {what} "{value}": invalid syntax')
    return int(value)
