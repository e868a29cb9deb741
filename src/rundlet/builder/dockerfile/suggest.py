"""``(did you mean RUN?)``."""

from collections.abc import Iterable
from typing import Final

_FAR: Final = 3
"""Edits from which on two words have nothing to do with each other."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the choice nearest to ``word``; empty when none is near or one is the same."""
    nearest, distance = "", _FAR
    for choice in choices:
        if choice == word:
            return ""
        edits = _distance(word, choice, distance)
        if edits < distance:
            nearest, distance = choice, edits
    return f" (did you mean {nearest}?)" if nearest else ""


def _distance(one: str, other: str, limit: int) -> int:
    """Levenshtein's distance; ``limit`` or more when it is at least that."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    row = list(range(len(other) + 1))
    for index, left in enumerate(one, 1):
        previous, row[0] = row[0], index
        for column, right in enumerate(other, 1):
            previous, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, previous + (left != right))
    return row[-1]
