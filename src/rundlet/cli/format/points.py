"""Points in time that users write for ``--since`` and ``--until``, read and refused as Docker's command line does.

A span before now, seconds since the epoch, or a date and a time in one of Go's layouts; without a zone it is the local
one's.
"""

from __future__ import annotations

import time

from rundlet.cli.format.times import days_since_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DATE = "2006-01-02"
_CLOCKS = ("15", "15:04", "15:04:05")
_FRACTION = ".999999999"
_ZONE = "Z07:00"
_LIMITS = {"01": ("month", 1, 12), "15": ("hour", 0, 23), "04": ("minute", 0, 59), "05": ("second", 0, 59)}


def timestamp(text: str) -> str:
    """What the API takes: seconds since the epoch, with nanoseconds where a date was given; empty for none.

    Raises ValueError in Go's words.
    """
    from rundlet.cli.values import duration_ns

    if not text:
        return ""
    if text != "0":
        try:
            return str(int(time.time() - duration_ns(text) / 1e9))
        except ValueError:
            pass
    zoned = any(mark in text for mark in "zZ+") or text.count("-") == 3
    try:
        seconds, fraction = _Parser(text, _layout(text, zoned=zoned)).parse(local=not zoned)
    except ValueError:
        if "-" in text:
            raise
        _check_seconds(text)
        return text
    return f"{seconds}.{fraction[:9].ljust(9, '0')}"


def _check_seconds(text: str) -> None:
    seconds, dot, fraction = text.partition(".")
    numbers = (seconds.removeprefix("+"), fraction if dot else "0")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None


def _layout(text: str, *, zoned: bool) -> str:
    zone = _ZONE if zoned else ""
    if "." in text:
        return f"{_DATE}T{_CLOCKS[2]}{_FRACTION}{zone}"
    if "T" not in text:
        return _DATE + zone
    colons = text.count(":")
    if zoned and colons and not any(mark in text for mark in "zZ"):
        colons -= 1  # that of the offset
    return f"{_DATE}T{_CLOCKS[min(colons, 2)]}{zone}"


class _Parser:
    """Go's ``time.Parse`` for such layouts, with its messages."""

    def __init__(self, text: str, layout: str) -> None:
        self._text = self._rest = text
        self._layout = layout
        self._found: dict[str, int] = {}
        self._fraction = ""
        self._offset = 0

    def parse(self, *, local: bool) -> tuple[int, str]:
        """Seconds since the epoch, and the digits of their fraction. Raises ValueError."""
        for element in self._elements():
            if element == _ZONE:
                self._zone()
            elif element == _FRACTION:
                self._take_fraction()
            elif element.isdigit():
                self._number(element)
            elif self._rest.startswith(element):
                self._rest = self._rest[len(element) :]
            else:
                raise self._unfit(element)
        if self._rest:
            raise ValueError(f'parsing time "{self._text}": extra text: "{self._rest}"')
        return self._seconds(local=local), self._fraction

    def _elements(self) -> Iterator[str]:
        layout = self._layout
        while layout:
            known = (_ZONE, _FRACTION, "2006", "01", "02", "15", "04", "05")
            element = next((one for one in known if layout.startswith(one)), layout[0])
            yield element
            layout = layout[len(element) :]

    def _unfit(self, element: str, rest: str | None = None) -> ValueError:
        rest = self._rest if rest is None else rest
        return ValueError(f'parsing time "{self._text}" as "{self._layout}": cannot parse "{rest}" as "{element}"')

    def _number(self, element: str) -> None:
        width = len(element)
        digits = self._rest[:width]
        if not (digits.isascii() and digits.isdigit() and len(digits) == width):
            if element != "15" or not (digits[:1].isascii() and digits[:1].isdigit()):
                raise self._unfit(element)
            digits = digits[:1]  # Go takes an hour of one digit
        value = int(digits)
        name, least, most = _LIMITS.get(element, ("", 0, 9999))
        self._rest = self._rest[len(digits) :]
        if not least <= value <= most:
            raise ValueError(f'parsing time "{self._text}": {name} out of range')
        self._found[element] = value
        if element == "05" and _FRACTION not in self._layout:
            self._take_fraction()

    def _take_fraction(self) -> None:
        """It may be missing."""
        if self._rest[:1] in (".", ",") and self._rest[1:2].isdigit():
            after = self._rest[1:]
            self._rest = after.lstrip("0123456789")
            self._fraction = after[: len(after) - len(self._rest)]

    def _zone(self) -> None:
        if self._rest.startswith("Z"):
            self._rest = self._rest[1:]
            return
        zone = self._rest[:6]
        hours, minutes = zone[1:3], zone[4:6]
        if len(zone) < 6 or zone[0] not in "+-" or zone[3] != ":" or not (hours + minutes).isdigit():
            raise self._unfit(_ZONE)
        for name, value, most in (("hour", hours, 24), ("minute", minutes, 60)):
            if int(value) > most:
                raise ValueError(f'parsing time "{self._text}": time zone offset {name} out of range')
        self._offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if zone[0] == "-" else 1)
        self._rest = self._rest[6:]

    def _seconds(self, *, local: bool) -> int:
        year, month, day = self._found["2006"], self._found["01"], self._found["02"]
        following = (year + month // 12, month % 12 + 1)
        if not 1 <= day <= days_since_epoch(*following, 1) - days_since_epoch(year, month, 1):
            raise ValueError(f'parsing time "{self._text}": day out of range')
        hour, minute, second = (self._found.get(name, 0) for name in ("15", "04", "05"))
        if local:
            return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
        days = days_since_epoch(year, month, day)
        return days * 86400 + hour * 3600 + minute * 60 + second - self._offset
