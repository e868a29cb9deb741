"""Durations as Go writes them: ``1h30m``, ``1.5s``, ``300ms``."""

import re
from typing import Final

_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def duration_ns(text: str) -> int | None:
    """Nanoseconds, negative ones too; None when ``text`` is no duration or too long for 64 bits."""
    sign = -1 if text.startswith("-") else 1
    text = text[1:] if text[:1] in ("+", "-") else text
    if text == "0":
        return 0
    total = 0
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or len(match[1]) > 40:
            return None
        whole, _, fraction = match[1].partition(".")
        scale = _UNITS[match[2]]
        total += int(whole or "0") * scale + int(fraction or "0") * scale // 10 ** len(fraction)
        position = match.end()
    return sign * total if text and total < 1 << 63 else None
