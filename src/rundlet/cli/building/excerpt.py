"""The lines of a Dockerfile around the ones that something is said about, as Docker prints them."""

from __future__ import annotations

_RULE = "--------------------\n"


def excerpt(source: str, shown: str, line: int, end: int) -> str:
    """``Dockerfile:3`` and the lines, those meant marked; empty when the file has no such line."""
    lines = [text.rstrip("\r") for text in source.split("\n")]
    if not 1 <= line <= len(lines):
        return ""
    end = min(max(end, line), len(lines))
    first, last = _padded(line, end, len(lines))
    rows = [
        f" {number:3d} | {'>>>' if line <= number <= end else '   '} {lines[number - 1]}\n"
        for number in range(first, last + 1)
    ]
    return f"{shown}:{line}\n{_RULE}{''.join(rows)}{_RULE}"


def _padded(first: int, last: int, count: int) -> tuple[int, int]:
    """Docker's choice of context: two lines on each side of a single one, one of several; more where a side ends."""
    budget = 4 if first == last else 2
    used = 0
    while used < budget:
        if first > 1:
            first -= 1
            used += 1
        if last < count:
            last += 1
            used += 1
        used += 1
    return first, last
