"""The body of every failed request."""

from rundlet.api.base import LowerWire, always


class ErrorResponse(LowerWire, frozen=True):
    message: str = always("")
