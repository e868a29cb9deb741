"""Points in time as query parameters give them."""

import re
from datetime import UTC, datetime

from rundlet.errors import InvalidParameterError

_SECOND = 1_000_000_000
_EARLIEST, _LATEST = -30_610_224_000, 253_402_300_799
"""The years 1000 to 9999, in seconds since the epoch: what can be written as RFC 3339 and compared as text."""
_UNIX = re.compile(r"(-?\d+)(?:\.(\d{1,9}))?")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def parse(text: str) -> int | None:
    """``1136073600.000000001`` (seconds) or RFC 3339 to nanoseconds since the epoch; empty is None.

    Raises InvalidParameterError.
    """
    if not text:
        return None
    if unix := _UNIX.fullmatch(text):
        seconds = int(unix[1]) if len(unix[1].lstrip("-0")) < 20 else 1 << 63
        if not -1 << 63 <= seconds < 1 << 63:
            raise InvalidParameterError(f'strconv.ParseInt: parsing "{unix[1]}": value out of range')
        return min(max(seconds, _EARLIEST), _LATEST) * _SECOND + _fraction(unix[2])
    if stamp := _RFC3339.fullmatch(text):
        zone = "+00:00" if stamp[4] == "Z" else stamp[4]
        try:
            whole = datetime.fromisoformat(f"{stamp[1]}T{stamp[2]}{zone}").astimezone(UTC)
        except ValueError as exc:
            raise InvalidParameterError(f"invalid time {text!r}: {exc}") from exc
        return int(whole.timestamp()) * _SECOND + _fraction(stamp[3])
    raise InvalidParameterError(f'strconv.ParseInt: parsing "{text}": invalid syntax')


def _fraction(digits: str | None) -> int:
    return int((digits or "0").ljust(9, "0"))
