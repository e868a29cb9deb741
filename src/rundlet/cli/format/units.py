"""Human sizes and spans of time, in go-units' words."""

from __future__ import annotations

DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
HOUR, DAY, WEEK, MONTH, YEAR = 1, 24, 24 * 7, 24 * 30, 24 * 365


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{units[index]}"


def human_size(size: float, digits: int = 3) -> str:
    """``1.09GB``: powers of 1000, three digits (images, ps) or four (pull progress, df)."""
    return _scaled(size, 1000.0, DECIMAL, digits)


def bytes_size(size: float) -> str:
    """``23.54GiB``: powers of 1024, four digits (stats, info)."""
    return _scaled(size, 1024.0, BINARY, 4)


def human_duration(seconds: float) -> str:
    """``About an hour``, ``3 weeks``."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    minutes = int(seconds / 60)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 2 * DAY:
        return f"{hours} hours"
    if hours < 2 * WEEK:
        return f"{hours // DAY} days"
    if hours < 2 * MONTH:
        return f"{hours // WEEK} weeks"
    if hours < 2 * YEAR:
        return f"{hours // MONTH} months"
    return f"{int(seconds / 3600) // YEAR} years"
