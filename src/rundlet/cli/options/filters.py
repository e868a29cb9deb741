"""--filter."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def filters_query(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]] | None:
    """Filters as the API's JSON; None when there are none."""
    out: dict[str, list[str]] = {}
    for name, value in pairs:
        values = out.setdefault(name, [])
        if value not in values:
            values.append(value)
    return out or None
