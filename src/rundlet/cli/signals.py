"""Signals as file events, without importing ``signal`` (and with it ``enum``)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any
else:
    import _signal

WINCH = int(_signal.SIGWINCH)

# Everything a user or a service manager may send to be passed on. Not CHLD, URG (runtime internals), PIPE (our own
# output), WINCH (a resize), TSTP, TTIN, TTOU and CONT (job control of this process).
FORWARDED: tuple[int, ...] = tuple(
    int(getattr(_signal, name))
    for name in (
        "SIGHUP SIGINT SIGQUIT SIGTERM SIGUSR1 SIGUSR2 SIGALRM SIGTRAP SIGABRT SIGVTALRM SIGPROF SIGXCPU"
    ).split()
)


def name_of(number: int) -> str:
    """``TERM`` for 15, as the API's kill takes it."""
    for name in dir(_signal):
        if name.startswith("SIG") and not name.startswith("SIG_") and int(getattr(_signal, name)) == number:
            return name.removeprefix("SIG")
    return str(number)


def _ignore(number: int, frame: object) -> None:
    """A handler that exists only so that the wakeup descriptor gets the signal's number."""


class SignalPipe:
    """A context in which the given signals arrive as bytes on :meth:`fileno` instead of ending the process."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = tuple(numbers)
        self._saved: dict[int, Any] = {}
        self._reader = self._writer = -1

    def __enter__(self) -> SignalPipe:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._saved[number] = _signal.signal(number, _ignore)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _signal.set_wakeup_fd(-1)
        for number, handler in self._saved.items():
            _signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        return self._reader

    def read(self) -> Iterator[int]:
        """The signals that came since the last call."""
        try:
            data = os.read(self._reader, 4096)
        except BlockingIOError:
            return
        yield from (number for number in data if number in self._saved)
