"""RFC 3339 times of the API, as programs and as people read them."""

from __future__ import annotations

import time

_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def days_since_epoch(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar."""
    before = year - 1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719162
    return days + _DAYS_BEFORE_MONTH[month - 1] + (1 if leap and month > 2 else 0) + day - 1


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch of ``2026-01-02T03:04:05.678Z`` or with an offset. Raises ValueError."""
    date, mark, clock = text.replace(" ", "T", 1).partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    if not mark:
        raise ValueError(f"not a time: {text}")
    offset = 0
    if clock.endswith("Z"):
        clock = clock[:-1]
    elif len(clock) > 6 and clock[-6] in "+-" and clock[-3] == ":":
        sign = -1 if clock[-6] == "-" else 1
        offset = sign * (int(clock[-5:-3]) * 3600 + int(clock[-2:]) * 60)
        clock = clock[:-6]
    hour, minute, second = clock.split(":")
    return days_since_epoch(year, month, day) * 86400 + int(hour) * 3600 + int(minute) * 60 + float(second) - offset


def go_time(seconds: float) -> str:
    """``2026-01-02 03:04:05 +0000 UTC`` in the local zone, as Go prints a time."""
    local = time.localtime(seconds)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", local)


def go_timestamp(text: str) -> str:
    """An RFC 3339 time of the API as Go prints it, in its own zone: ``2026-01-02 03:04:05.678 +0000 UTC``."""
    day, _, clock = text.partition("T")
    if not clock:
        return text
    if clock.endswith("Z"):
        return f"{day} {_fraction(clock[:-1])} +0000 UTC"
    zone = clock[-6:].replace(":", "")
    return f"{day} {_fraction(clock[:-6])} {zone} {zone}"


def _fraction(clock: str) -> str:
    return clock.rstrip("0").rstrip(".") if "." in clock else clock


def rfc3339(seconds: float) -> str:
    """``2026-01-02T03:04:05Z`` in the local zone."""
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")
