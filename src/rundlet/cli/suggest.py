"""``Did you mean …?`` for a misspelt word."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(left: str, right: str) -> int:
    """Edits (insert, delete, replace, swap of neighbours) between two words."""
    rows = [list(range(len(right) + 1))]
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that was probably meant, or nothing."""
    limit = 1 if len(word) < 4 else 2
    ranked = sorted((distance(word, choice), choice) for choice in choices)
    return ranked[0][1] if ranked and ranked[0][0] <= limit else ""


def did_you_mean(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """The line to print behind an error, with a newline before it; empty when nothing is near."""
    found = nearest(word, choices)
    return f"\nDid you mean '{prefix}{found}'?" if found else ""
