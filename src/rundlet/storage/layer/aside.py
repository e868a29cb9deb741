"""Work beside the thread that moves a layer: handing it on, hashing it, compressing it."""

import queue
import threading
from collections.abc import Callable
from typing import Final

ALONE: Final = 4 << 20
"""Bytes that are worked on by the moving thread itself: about the time that handing them to another one costs."""
PLACES: Final = 8


class Aside:
    """Gives pieces to ``work``, in their order: at once in the beginning, in a thread as soon as there are many.

    A small layer is over before a second thread would be of use: threads of one interpreter wait for each other.
    ``places`` is how many pieces may wait for the thread.
    """

    def __init__(self, name: str, work: Callable[[bytes], object], places: int = PLACES) -> None:
        self._name = name
        self._work = work
        self._alone = ALONE
        self._pieces = _Handover(places)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def put(self, piece: bytes) -> None:
        """Have ``piece`` worked on, when there is a place for it. Raises what an earlier one, or this one, came to."""
        if self._error is not None:
            raise self._error
        if self._alone > 0:
            self._alone -= len(piece)
            self._work(piece)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._pieces.put(piece)

    def finish(self) -> None:
        """Wait until all pieces are worked on. Raises what one of them came to."""
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread, if there is one, after what it has; twice is fine."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._error is None:
                try:
                    self._work(piece)
                except BaseException as exc:
                    self._error = exc  # raised by the thread that hands over, which goes on emptying its places


class _Handover:
    """Pieces from one thread to another, at most ``places`` on their way.

    Of two queues without a bound, which cost a tenth of one with a bound: the second has the places that are free.
    """

    def __init__(self, places: int) -> None:
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(places):
            self._free.put(None)

    def put(self, piece: bytes | None) -> None:
        """Hand over ``piece`` when there is a place for it; None is the end."""
        self._free.get()
        self._pieces.put(piece)

    def get(self) -> bytes | None:
        """The next piece; its place is free again."""
        piece = self._pieces.get()
        self._free.put(None)
        return piece
