"""From the framing that a process's streams have to the one that a client asked for.

A process with a terminal gives plain bytes, one without gives frames (``api/stdcopy``). Docker lets the client choose:
the ``Tty`` of an exec's *start* decides, whatever the exec was created with, and a WebSocket never carries frames.
"""

from collections.abc import Callable

from rundlet.api import stdcopy

Translate = Callable[[bytes], bytes]


def translator(*, framed: bool, wanted: bool) -> Translate | None:
    """For one stream, to be called with its pieces in their order; None: the pieces are right as they are."""
    if framed == wanted:
        return None
    return _unframe() if framed else _frame


def _frame(data: bytes) -> bytes:
    return stdcopy.frame(stdcopy.STDOUT, data)


def _unframe() -> Translate:
    splitter = stdcopy.Splitter()
    return lambda data: b"".join(payload for _, payload in splitter.feed(data))
