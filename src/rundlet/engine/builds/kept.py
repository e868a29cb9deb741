"""Contexts that stay after their builds: the next build of the same directory sends and hashes what changed since.

A client says what its directory holds (:meth:`KeptContexts.announce`) and is told which of it is wanted; the build that
follows begins with the directory of the last one, without what is gone, and unpacks what was sent over it. One build at
a time has a kept directory; a second one of the same context at the same time is sent everything.

Kept directories are ``<root>/builds/kept-…``, of which a new engine removes all.
"""

import asyncio
import logging
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from rundlet.api.builds import ContextEntry, ContextWanted
from rundlet.builder.memo import PickMemo
from rundlet.builder.workspace import Workspace
from rundlet.errors import InvalidParameterError, NotFoundError
from rundlet.linux import path as safe_path
from rundlet.storage.tree import remove_path, remove_tree
from rundlet.util.clock import Clock
from rundlet.util.layout import Layout
from rundlet.util.tasks import settled

_log = logging.getLogger(__name__)
_COUNT: Final = 8
_BYTES: Final = 4 << 30
"""How many contexts are kept, and how much in all, if the disk has twice as much: the least recently used go first."""
_IDLE: Final = 120.0
"""Seconds that an announced context waits for its build."""
_ANNOUNCED: Final = 100
_INSIDE: Final = safe_path.RESOLVE_BENEATH | safe_path.RESOLVE_NO_SYMLINKS
_KEY: Final = 64


@dataclass(slots=True)
class _Kept:
    path: str
    index: dict[str, ContextEntry]
    memo: PickMemo
    size: int
    created_ns: int
    used_ns: int
    uses: int


class KeptContext(msgspec.Struct, frozen=True):
    """One as ``builder du`` shows it: ``size`` in bytes as the client counted them, times in nanoseconds."""

    id: str
    size: int
    created_ns: int
    used_ns: int
    uses: int


@dataclass(slots=True)
class Announced:
    """A context of which the engine knows what will be in it. ``memo`` is for its build."""

    key: str
    index: dict[str, ContextEntry]
    since: float
    kept: _Kept | None
    memo: PickMemo = field(default_factory=PickMemo)
    complete: bool = False
    """Set by the build when all of the context has arrived: it may be kept."""


class KeptContexts:
    """One per engine."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._announced: dict[str, Announced] = {}

    async def announce(self, key: str, entries: Sequence[ContextEntry]) -> ContextWanted:
        """Which entries the build must bring; None for all. Raises InvalidParameterError."""
        if not key.isalnum() or not key.isascii() or len(key) > _KEY:
            raise InvalidParameterError(f"invalid build context: {key[:_KEY]}")
        await self._expire()
        if len(self._announced) >= _ANNOUNCED:
            raise InvalidParameterError("too many build contexts")
        index = {entry.name: entry for entry in entries}
        for name in index:
            if not name or any(part in ("", ".", "..") for part in name.split("/")):
                raise InvalidParameterError(f"invalid path in a build context: {name!r}")
        kept = self._kept.pop(key, None)
        token = secrets.token_hex(16)
        self._announced[token] = Announced(key, index, time.monotonic(), kept)
        if kept is None:
            return ContextWanted(token)
        wanted = tuple(number for number, entry in enumerate(entries) if not _same(kept.index.get(entry.name), entry))
        return ContextWanted(token, wanted)

    @asynccontextmanager
    async def using(self, token: str, workspace: Workspace) -> AsyncIterator[Announced | None]:
        """The workspace's context begins as what is there of the announced one, and is kept afterwards if complete.

        None for no token. Raises NotFoundError, OSError.
        """
        if not token:
            yield None
            return
        announced = self._announced.pop(token, None)
        if announced is None:
            raise NotFoundError(f"no such build context: {token}")
        if announced.kept is not None:
            announced.memo = announced.kept.memo
            await settled(asyncio.to_thread(_begin, announced, announced.kept, workspace.context))
        try:
            yield announced
        finally:
            if announced.complete:
                # Whoever has it removes the workspace next: nothing of it may be missing in what is kept.
                await settled(self._keep(announced, workspace.context))

    def all(self) -> list[KeptContext]:
        """Those that no build uses now."""
        return [
            KeptContext(_name(one.path), one.size, one.created_ns, one.used_ns, one.uses) for one in self._kept.values()
        ]

    async def remove(self, name: str) -> bool:
        """Forget one of :meth:`all`; false when a build has it now. Raises OSError."""
        for key, one in self._kept.items():
            if _name(one.path) == name:
                del self._kept[key]
                await asyncio.to_thread(remove_path, one.path)
                return True
        return False

    async def _keep(self, announced: Announced, context: str) -> None:
        size = sum(entry.size for entry in announced.index.values() if stat.S_ISREG(entry.mode))
        if size > _BYTES:
            return
        path = f"{self._layout.builds}/kept-{secrets.token_hex(8)}"
        try:
            await asyncio.to_thread(os.rename, context, path)
        except OSError as error:
            _log.warning("a build's context: %s", error)
            return
        gone = [self._kept.pop(announced.key, None)]
        now, before = self._clock.now_ns(), announced.kept
        created, uses = (before.created_ns, before.uses) if before is not None else (now, 0)
        self._kept[announced.key] = _Kept(path, announced.index, announced.memo, size, created, now, uses + 1)
        limit = min(_BYTES, (await asyncio.to_thread(free_bytes, self._layout.root) + self._total()) // 2)
        while len(self._kept) > _COUNT or self._total() > limit:
            gone.append(self._kept.pop(next(iter(self._kept))))
        for one in gone:
            if one is not None:
                await asyncio.to_thread(remove_path, one.path)

    def _total(self) -> int:
        return sum(one.size for one in self._kept.values())

    async def _expire(self) -> None:
        now = time.monotonic()
        for token, announced in list(self._announced.items()):
            if now - announced.since <= _IDLE:
                continue
            del self._announced[token]
            if announced.kept is not None:
                await asyncio.to_thread(remove_path, announced.kept.path)


def free_bytes(path: str) -> int:
    """What its disk has left. Blocks."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _name(path: str) -> str:
    return path.rpartition("-")[2]


def _same(old: ContextEntry | None, new: ContextEntry) -> bool:
    """Whether the file is for sure what it was: a change time of 0 is one that tells nothing."""
    return old == new and new.changed != 0


def _begin(announced: Announced, kept: _Kept, context: str) -> None:
    """Make the kept directory the context, without what is gone and what will come anew. Blocks. Raises OSError."""
    os.rmdir(context)
    os.rename(kept.path, context)
    changed = [name for name, entry in kept.index.items() if not _same(entry, announced.index.get(name, _NONE))]
    changed += [name for name in announced.index if name not in kept.index]
    links = any(stat.S_ISLNK(entry.mode) for index in (kept.index, announced.index) for entry in index.values())
    if links and changed:
        announced.memo.clear()
    else:
        announced.memo.forget(changed)
    root = os.open(context, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in changed:
            old, new = kept.index.get(name), announced.index.get(name)
            if old is None:
                continue
            if new is not None and stat.S_ISDIR(old.mode) and stat.S_ISDIR(new.mode):
                # Only its mode or time: what is in it speaks for itself.
                continue
            _remove(root, name)
    finally:
        os.close(root)


def _remove(root: int, name: str) -> None:
    directory, _, base = name.rpartition("/")
    try:
        parent = safe_path.openat2(root, directory or ".", os.O_PATH | os.O_DIRECTORY, 0, _INSIDE)
    except (FileNotFoundError, NotADirectoryError):
        # Went with a directory above it.
        return
    try:
        remove_tree(parent, os.fsencode(base))
    except FileNotFoundError:
        return
    finally:
        os.close(parent)


_NONE: Final = ContextEntry("", 0, 0, 0, 0, 0, 0)
