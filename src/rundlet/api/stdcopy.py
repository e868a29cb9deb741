"""Docker's framing of stdout and stderr on one stream: ``[stream, 0, 0, 0, size (4 bytes, big endian)]``, payload."""

import struct
from collections.abc import Iterator
from typing import Final

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
SYSTEM_ERROR: Final = 3
HEADER_SIZE: Final = 8

_HEADER = struct.Struct(">BxxxI")


def frame(stream: int, payload: bytes) -> bytes:
    """``payload`` as one frame of ``stream``."""
    return _HEADER.pack(stream, len(payload)) + payload


def header(stream: int, size: int) -> bytes:
    """The header alone, for writers that send the payload without copying it."""
    return _HEADER.pack(stream, size)


class Splitter:
    """Takes a framed stream apart, however its pieces were cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Add bytes; yield every frame that is complete as ``(stream, payload)``."""
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            stream, size = _HEADER.unpack_from(self._buffer)
            end = HEADER_SIZE + size
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[HEADER_SIZE:end])
            del self._buffer[:end]
            yield stream, payload

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)
