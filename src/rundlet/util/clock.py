"""Time, injectable: tests pass a clock of their own and never sleep."""

import time
from typing import Protocol


class Clock(Protocol):
    """What a service asks of time."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


ZERO_TIME = "0001-01-01T00:00:00Z"


def rfc3339_nano(ns: int) -> str:
    """``ns`` since the epoch as Docker prints times: ``2026-01-02T03:04:05.123456789Z``; 0 is Go's zero time."""
    if ns == 0:
        return ZERO_TIME
    seconds, fraction = divmod(ns, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    digits = f"{fraction:09d}".rstrip("0")
    return f"{stamp}.{digits}Z" if digits else f"{stamp}Z"
