"""Go's time.Time and time.Duration: how they print, and their methods that templates use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from rundlet.util.template.errors import ExecutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
# Longest first: "January" is no "Jan", "2006" no "2".
_LAYOUT = (
    "January Monday Z07:00 -07:00 2006 -0700 Z0700 Jan Mon MST 002 _2 01 02 03 04 05 06 15 PM pm -07 1 2 3 4 5"
).split()


def _parsed(text: str) -> tuple[datetime, int]:
    """Time (to the second) and nanoseconds of RFC 3339."""
    date, _, rest = text.partition("T")
    clock = rest[:8]
    digits = ""
    position = 8
    if rest[8:9] == ".":
        position = 9
        while rest[position : position + 1].isdigit():
            digits += rest[position]
            position += 1
    zone = rest[position:]
    offset = timedelta()
    if zone not in ("Z", ""):
        hours, _, minutes = zone[1:].partition(":")
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0)) * (-1 if zone[0] == "-" else 1)
    try:
        when = datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=timezone(offset))
    except ValueError as exc:
        raise ExecutionError(f"no time: {text}") from exc
    return when, int(digits.ljust(9, "0")[:9] or 0)


def is_time(text: str) -> bool:
    """Whether it is a time as JSON has it."""
    try:
        _parsed(text)
    except (ExecutionError, ValueError):
        return False
    return True


def _offset(when: datetime, colon: str = "") -> str:
    minutes = int((when.utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{colon}{abs(minutes) % 60:02d}"


def _zone(when: datetime) -> str:
    return "UTC" if not when.utcoffset() else _offset(when)


def time_text(text: str) -> str:
    """``2026-01-02 03:04:05.6 +0000 UTC``."""
    when, nanoseconds = _parsed(text)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    date = f"{when.year:04d}-{when.month:02d}-{when.day:02d} {when.hour:02d}:{when.minute:02d}:{when.second:02d}"
    return f"{date}{fraction} {_offset(when)} {_zone(when)}"


def go_date(text: str) -> str:
    """As Go writes the call that makes it."""
    when, nanoseconds = _parsed(text)
    numbers = f"{when.day}, {when.hour}, {when.minute}, {when.second}, {nanoseconds}"
    return f"time.Date({when.year}, time.{_MONTHS[when.month - 1]}, {numbers}, time.UTC)"


def format_time(text: str, layout: Any) -> str:
    """The method Format: a layout is Go's reference time, written as wanted."""
    if not isinstance(layout, str):
        raise ExecutionError("wrong type for value; expected string")
    when, nanoseconds = _parsed(text)
    out = []
    position = 0
    while position < len(layout):
        word = next((word for word in _LAYOUT if layout.startswith(word, position)), "")
        if word:
            out.append(_part(when, word))
            position += len(word)
        elif layout[position] in ".," and layout[position + 1 : position + 2] in ("0", "9"):
            end = position + 1
            while layout[end : end + 1] == layout[position + 1]:
                end += 1
            digits = f"{nanoseconds:09d}"[: end - position - 1]
            digits = digits.rstrip("0") if layout[position + 1] == "9" else digits
            out.append(f".{digits}" if digits else "")
            position = end
        else:
            out.append(layout[position])
            position += 1
    return "".join(out)


def _part(when: datetime, word: str) -> str:
    hour = when.hour % 12 or 12
    parts: dict[str, Callable[[], str]] = {
        "January": lambda: _MONTHS[when.month - 1],
        "Jan": lambda: _MONTHS[when.month - 1][:3],
        "Monday": lambda: _DAYS[when.weekday()],
        "Mon": lambda: _DAYS[when.weekday()][:3],
        "MST": lambda: _zone(when),
        "2006": lambda: f"{when.year:04d}",
        "06": lambda: f"{when.year % 100:02d}",
        "01": lambda: f"{when.month:02d}",
        "1": lambda: str(when.month),
        "02": lambda: f"{when.day:02d}",
        "_2": lambda: f"{when.day:2d}",
        "002": lambda: f"{when.timetuple().tm_yday:03d}",
        "2": lambda: str(when.day),
        "15": lambda: f"{when.hour:02d}",
        "03": lambda: f"{hour:02d}",
        "3": lambda: str(hour),
        "04": lambda: f"{when.minute:02d}",
        "4": lambda: str(when.minute),
        "05": lambda: f"{when.second:02d}",
        "5": lambda: str(when.second),
        "PM": lambda: "PM" if when.hour >= 12 else "AM",
        "pm": lambda: "pm" if when.hour >= 12 else "am",
        "-0700": lambda: _offset(when),
        "-07:00": lambda: _offset(when, ":"),
        "-07": lambda: _offset(when)[:3],
        "Z0700": lambda: _offset(when) if when.utcoffset() else "Z",
        "Z07:00": lambda: _offset(when, ":") if when.utcoffset() else "Z",
    }
    return parts[word]()


def seconds_of(text: str) -> int:
    """The method Unix."""
    when, _ = _parsed(text)
    return int((when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


TIME_METHODS: dict[str, Callable[..., Any]] = {
    "Day": lambda text: _parsed(text)[0].day,
    "Format": format_time,
    "Hour": lambda text: _parsed(text)[0].hour,
    "IsZero": lambda text: text.startswith("0001-01-01T00:00:00"),
    "Minute": lambda text: _parsed(text)[0].minute,
    "Nanosecond": lambda text: _parsed(text)[1],
    "Second": lambda text: _parsed(text)[0].second,
    "String": time_text,
    "Unix": seconds_of,
    "UnixNano": lambda text: seconds_of(text) * 10**9 + _parsed(text)[1],
    "Year": lambda text: _parsed(text)[0].year,
}


def duration_text(nanoseconds: int) -> str:
    """``1h2m3.5s``, ``1.5ms``, ``0s``."""
    if not nanoseconds:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", int(nanoseconds))
    for unit, size in (("ns", 1), ("\u00b5s", 10**3), ("ms", 10**6)):
        if rest < size * 1000:
            return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, rest = divmod(rest, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(unit)) - 1, '0')}".rstrip("0")


DURATION_METHODS: dict[str, Callable[..., Any]] = {
    "Hours": lambda value: value / 3600e9,
    "Microseconds": lambda value: value // 1000,
    "Milliseconds": lambda value: value // 10**6,
    "Minutes": lambda value: value / 60e9,
    "Nanoseconds": int,
    "Seconds": lambda value: value / 1e9,
    "String": duration_text,
}
