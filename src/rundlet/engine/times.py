"""Times as users write them in filters: a span before now, a Unix time, or RFC 3339."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from rundlet.errors import InvalidParameterError
from rundlet.util.clock import Clock

_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|ns|µs|m|s)")
_FRACTION = re.compile(r"[.,](\d+)")
_NANOSECONDS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}


def parse_until(values: Sequence[str], clock: Clock) -> int | None:
    """``until=…`` in nanoseconds since the epoch; None when it was not given. Raises InvalidParameterError."""
    if not values:
        return None
    if len(values) > 1:
        raise InvalidParameterError("more than one until filter specified")
    return parse_time(values[0], clock)


def parse_earliest(values: Sequence[str], clock: Clock) -> int | None:
    """Several ``until=…`` where all of them must hold; as ``parse_until`` else."""
    return min((parse_time(value, clock) for value in values), default=None)


def parse_time(text: str, clock: Clock) -> int:
    """``24h``, ``1700000000.5``, ``2026-01-02`` or ``2026-01-02T03:04:05Z`` in nanoseconds since the epoch."""
    span = _duration(text)
    if span is not None:
        return clock.now_ns() - span
    seconds, _, fraction = text.partition(".")
    if seconds.isdigit() and (not fraction or fraction.isdigit()):
        return int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0") or 0)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParameterError(f'failed to parse value as time or duration: "{text}"') from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    written = _FRACTION.search(text)  # the nine digits that images' times have: datetime knows of six
    nanoseconds = int(written[1][:9].ljust(9, "0")) if written else 0
    return int(found.replace(microsecond=0).timestamp()) * 10**9 + nanoseconds


def _duration(text: str) -> int | None:
    """Go's durations (``1h30m``) in nanoseconds; None for anything else."""
    position, total = 0, 0.0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return None
        total += float(match[1]) * _NANOSECONDS[match[2]]
        position = match.end()
    return int(total) if text else None
