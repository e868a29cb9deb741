"""Memory that long work leaves behind, given back to the machine.

What a transfer of hundreds of megabytes used in between is free at its end, but the C library keeps it for the next
one, which may never come.
"""

import asyncio
from typing import Final
from weakref import WeakSet

from rundlet.linux import heap

DELAY: Final = 1.0
"""Seconds: several transfers that end together are one, and none waits for it."""
_waiting: Final[WeakSet[asyncio.AbstractEventLoop]] = WeakSet()


def give_back_soon() -> None:
    """Called at the end of long work, in the event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _waiting:
        _waiting.add(loop)
        loop.call_later(DELAY, _give_back, loop)


def _give_back(loop: asyncio.AbstractEventLoop) -> None:
    _waiting.discard(loop)
    loop.run_in_executor(None, heap.trim)
