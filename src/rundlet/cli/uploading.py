"""Files on their way to the engine."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 256 << 10


def file_chunks(fd: int) -> Iterator[bytes]:
    """What is in ``fd``, piece by piece; it is closed at the end."""
    try:
        while piece := os.read(fd, CHUNK):
            yield piece
    finally:
        os.close(fd)
