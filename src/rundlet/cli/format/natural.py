"""The order of names in lists."""

from __future__ import annotations

import re


def natural(text: str) -> list[tuple[bool, int | str]]:
    """A sort key: numbers within text by their value."""
    return [(not part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", text) if part]
