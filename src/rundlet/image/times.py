"""The config's ``created`` as a number."""

import re
from datetime import UTC, datetime, timedelta, timezone

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))\Z", re.ASCII
)


def created_ns(text: str | None) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; 0 for none, for nonsense and for Go's zero time."""
    match = _TIME.match(text or "")
    if match is None:
        return 0
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    offset = timedelta()
    if match[9]:
        offset = timedelta(hours=int(match[10]), minutes=int(match[11])) * (-1 if match[9] == "-" else 1)
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone(offset))
        seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    nanoseconds = seconds * 1_000_000_000 + fraction
    return nanoseconds if 0 <= nanoseconds < 1 << 63 else 0
