"""Digests of what COPY found in a context before, so that what has not changed need not be read again.

Lives with a context that the engine keeps between builds (see ``engine.builds.kept``), which says what changed.
"""

from collections.abc import Iterable

import msgspec

from rundlet.storage.files.access import Picked, PickRequest

_MOST = 1000
"""Answers remembered of one context."""


class PickMemo:
    """Of one context. Not to be used by two builds at a time."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[tuple[str, ...], str, list[Picked]]] = {}

    def get(self, request: PickRequest) -> tuple[str, list[Picked]] | None:
        """The digest that ``request`` led to, and what it found; None when that isn't known."""
        found = self._known.get(_key(request))
        return None if found is None else (found[1], list(found[2]))

    def put(self, request: PickRequest, digest: str, found: list[Picked]) -> None:
        if len(self._known) < _MOST:
            self._known[_key(request)] = (_paths(request), digest, list(found))

    def forget(self, changed: Iterable[str]) -> None:
        """Drop the answers that any of these paths (in the context, without a slash in front) has a part in.

        Right only where no symbolic link leads from one place of the context to another: see :meth:`clear`.
        """
        paths = set(changed)
        if not paths:
            return
        near = {part for path in paths for part in _parents(path)}
        self._known = {
            key: value for key, value in self._known.items() if not any(_meets(path, near, paths) for path in value[0])
        }

    def clear(self) -> None:
        """Drop every answer."""
        self._known = {}


def _key(request: PickRequest) -> bytes:
    return msgspec.json.encode(request)


def _paths(request: PickRequest) -> tuple[str, ...]:
    """The paths at or below which the request reads; a pattern may fit anything in its directory."""
    return tuple("/".join(_plain(source.parts)) for source in request.sources)


def _plain(parts: Iterable[tuple[bool, str]]) -> list[str]:
    names: list[str] = []
    for is_pattern, text in parts:
        if is_pattern:
            break
        names.append(text)
    return names


def _parents(path: str) -> list[str]:
    """What is above ``path``, and itself."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _meets(path: str, near: set[str], changed: set[str]) -> bool:
    """Whether something changed is ``path``, below it (it is ``near`` then), or above it."""
    return not path or path in near or not changed.isdisjoint(_parents(path))
