"""Detach keys: what a user types to leave a container running."""

import string
from typing import Final

from rundlet.errors import InvalidParameterError

DEFAULT: Final = "ctrl-p,ctrl-q"

_CONTROL: Final = {f"ctrl-{letter}": bytes([code]) for code, letter in enumerate(string.ascii_lowercase, 1)} | {
    "ctrl-@": b"\x00",
    "ctrl-[": b"\x1b",
    "ctrl-\\": b"\x1c",
    "ctrl-]": b"\x1d",
    "ctrl-^": b"\x1e",
    "ctrl-_": b"\x1f",
    "DEL": b"\x7f",
}


class InvalidDetachKeysError(InvalidParameterError):
    reason = "invalid-detach-keys"

    def __init__(self, keys: str) -> None:
        super().__init__(f"Invalid detach keys ({keys}) provided")
        self.keys = keys


def parse(keys: str) -> bytes:
    """``ctrl-p,ctrl-q`` to the bytes that a terminal sends; empty is the default.

    Raises InvalidDetachKeysError.
    """
    result = b""
    for key in (keys or DEFAULT).split(","):
        byte = _CONTROL.get(key)
        if byte is None:
            if len(key) != 1 or not key.isascii():
                raise InvalidDetachKeysError(keys)
            byte = key.encode()
        result += byte
    return result


class DetachScanner:
    """Finds the detach keys in what is typed, however it is cut into pieces.

    What may become the sequence is held back until it is known; a program never sees a completed sequence.
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete (what follows it is dropped)."""
        data = self._held + data
        at = data.find(self._sequence)
        if at >= 0:
            self._held = b""
            return data[:at], True
        keep = self._partial(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep], False

    def flush(self) -> bytes:
        """What is held back, when nothing more will come."""
        held, self._held = self._held, b""
        return held

    def _partial(self, data: bytes) -> int:
        """How many last bytes may be the beginning of the sequence."""
        for size in range(min(len(self._sequence) - 1, len(data)), 0, -1):
            if self._sequence.startswith(data[-size:]):
                return size
        return 0
