"""Signals by name or number, as ``docker kill -s`` and STOPSIGNAL take them."""

import signal

from rundlet.errors import InvalidParameterError


class InvalidSignalError(InvalidParameterError):
    reason = "invalid-signal"

    def __init__(self, text: str) -> None:
        super().__init__(f"invalid signal: {text}")


class UnsupportedSignalError(InvalidSignalError):
    """A number that the kernel has no signal for."""

    def __init__(self, number: int) -> None:
        super().__init__(str(number))
        self.message = f"the linux daemon does not support signal {number}"


def parse(text: str) -> int:
    """``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3`` as a number. Raises InvalidSignalError."""
    if text.isdigit():
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise UnsupportedSignalError(number) if number else InvalidSignalError(text)
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    try:
        number = int(signal.Signals[f"SIG{base}"])
        if sign:
            number += int(offset) if sign == "+" else -int(offset)
    except (KeyError, ValueError):
        raise InvalidSignalError(text) from None
    if sign and not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        raise InvalidSignalError(text)
    return number
