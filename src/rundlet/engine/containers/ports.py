"""Ports as configurations and filters name them: ``80``, ``80/udp``, ``80-90/tcp``.

An image's configuration was written by anybody: what is no port there is passed over, as Docker does, and must cost
neither memory nor the answer about all other containers.
"""

from collections.abc import Iterator

Span = tuple[range, str]

_LAST = 65535


def span(text: str) -> Span | None:
    """The numbers, and the protocol: TCP where none is given. None for what is no port, or more than one can be."""
    numbers, _, protocol = text.partition("/")
    low, dash, high = numbers.partition("-")
    first = _number(low)
    last = _number(high) if dash else first
    return (range(first, last + 1), protocol or "tcp") if 0 <= first <= last else None


def named(text: str) -> Iterator[tuple[int, str]]:
    """(port, protocol) of each; nothing for what is no port."""
    found = span(text)
    if found is not None:
        numbers, protocol = found
        for port in numbers:
            yield port, protocol


def _number(text: str) -> int:
    """-1 for what is no port's number; other scripts' digits are none."""
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > 5:
        return -1
    value = int(text)
    return value if value <= _LAST else -1
