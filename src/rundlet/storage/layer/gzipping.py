"""Gzip of a layer by several threads: one member, as one thread would write it.

Blocks are deflated apart from each other, each with the end of the one before as its dictionary, and end on a byte
(a sync flush), so that one after another they are one stream. Blocks are of one size however the bytes come: the same
layer gives the same gzip each time. See: RFC 1951 and 1952; pigz does the same.
"""

import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from isal import isal_zlib

from rundlet.storage.layer.aside import ALONE

LEVEL: Final = 1
BLOCK: Final = 512 << 10
"""Plain bytes that a thread takes at once."""
THREADS: Final = 2
_WAITING: Final = THREADS + 1
_DICTIONARY: Final = 32 << 10
_RAW: Final = -15
_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST: Final = b"\x03\0"
"""An empty block that says that it is the last one."""


class Gzipper:
    """Takes plain bytes, gives gzip to ``write`` in the thread that calls, which compresses a little all by itself.

    To be closed at the end, whatever comes of it.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._block: list[memoryview] = []
        self._filled = 0
        self._size = 0
        self._begun = 0
        self._sum = 0
        self._dictionary = b""
        self._threads: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[bytes]] = deque()
        write(_HEADER)

    def put(self, data: bytes) -> None:
        """Add ``data``. Raises what ``write`` does."""
        self._sum = isal_zlib.crc32(data, self._sum)
        self._size += len(data)
        view = memoryview(data)
        while view:
            part = view[: BLOCK - self._filled]
            view = view[len(part) :]
            self._block.append(part)
            self._filled += len(part)
            if self._filled == BLOCK:
                self._hand_out()

    def finish(self) -> None:
        """Write all that is left. Raises what ``write`` does."""
        if self._block:
            self._hand_out()
        while self._waiting:
            self._write(self._waiting.popleft().result())
        self._write(_LAST + struct.pack("<II", self._sum, self._size & 0xFFFF_FFFF))
        self.close()

    def close(self) -> None:
        """End the threads, if there are any; twice is fine."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def _hand_out(self) -> None:
        block, dictionary = b"".join(self._block), self._dictionary
        self._dictionary = block[-_DICTIONARY:]
        self._block, self._filled = [], 0
        self._begun += len(block)
        if self._begun <= ALONE:
            self._write(_deflated(block, dictionary))
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gzip")
        self._waiting.append(self._threads.submit(_deflated, block, dictionary))
        if len(self._waiting) > _WAITING:
            self._write(self._waiting.popleft().result())


def _deflated(block: bytes, dictionary: bytes) -> bytes:
    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _RAW, zdict=dictionary)
    return compressor.compress(block) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)
