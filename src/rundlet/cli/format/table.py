"""Columns padded as Docker's (Go's tabwriter with a minimum width of 10 and 3 blanks between columns)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MINIMUM = 10
PADDING = 3


# C0 and C1 but for line ends and tabs: what moves cursors, changes titles, or types into the shell that reads it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def visible(text: str, fd: int = 1) -> str:
    """``text`` as a terminal on ``fd`` can be trusted with it: images, registries and engines wrote parts of it."""
    stream = sys.stderr if fd == 2 else sys.stdout
    return text if text.isprintable() or not stream.isatty() else text.translate(_CONTROLS)


def display_width(text: str) -> int:
    """Columns of a terminal, as Docker's tables count them: letters of East Asia are two wide."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return len(text) + sum(east_asian_width(letter) in ("W", "F") for letter in text)


def ellipsis(text: str, width: int) -> str:
    """At most ``width`` columns, the last one ``…`` when something was cut."""
    if display_width(text) <= width:
        return text
    text = text[: width - 1]
    while display_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def layout(rows: Iterable[Sequence[str]], *, minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """Lines with every column but the last padded to the widest cell of the adjoining lines that have it."""
    lines = [list(row) for row in rows]
    widths: list[list[int]] = [[0] * len(line) for line in lines]
    _measure(lines, widths, 0, len(lines), 0, minimum, padding)
    out = []
    for line, width in zip(lines, widths, strict=True):
        out.append("".join(_padded(cell, size) for cell, size in zip(line[:-1], width, strict=False)) + line[-1] + "\n")
    return "".join(out)


def _measure(
    lines: list[list[str]], widths: list[list[int]], start: int, end: int, column: int, minimum: int, padding: int
) -> None:
    """A column is a run of adjoining lines that have a cell (one followed by a tab) there; each run has its width."""
    index = start
    while index < end:
        if len(lines[index]) - 1 <= column:
            index += 1
            continue
        last = index
        width = 0
        while last < end and len(lines[last]) - 1 > column:
            width = max(width, display_width(lines[last][column]))
            last += 1
        # Go's DiscardEmptyColumns is not set for Docker's tables: an empty column keeps the minimum width.
        final = max(minimum, width + padding)
        for line in range(index, last):
            widths[line][column] = final
        _measure(lines, widths, index, last, column + 1, minimum, padding)
        index = last
