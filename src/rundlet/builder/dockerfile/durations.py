"""Durations as Go writes them: ``1h30m``, ``1.5s``, ``300ms``."""

from typing import Final

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
_NUMBER: Final = frozenset("0123456789.")
_LONGEST: Final = 100
"""Characters; what is longer is no duration that anybody means."""


def duration_ns(text: str) -> int:
    """Nanoseconds, negative ones too. Raises ValueError with Go's sentence."""
    invalid = ValueError(f'time: invalid duration "{text}"')
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest or len(rest) > _LONGEST:
        raise invalid
    total = 0
    while rest:
        number = rest[: _span(rest, inside=True)]
        rest = rest[len(number) :]
        unit = rest[: _span(rest, inside=False)]
        rest = rest[len(unit) :]
        whole, _, fraction = number.partition(".")
        if not (whole or fraction) or "." in fraction:
            raise invalid
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += int(whole or "0") * _UNITS[unit] + int(fraction or "0") * _UNITS[unit] // 10 ** len(fraction)
    if total >= 1 << 63:
        raise invalid
    return sign * total


def _span(text: str, *, inside: bool) -> int:
    """How many characters at the start belong to a number, or to no number."""
    return next((index for index, letter in enumerate(text) if (letter in _NUMBER) != inside), len(text))
