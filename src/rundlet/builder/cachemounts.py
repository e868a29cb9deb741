"""``RUN --mount=type=cache``: directories that outlive builds, by identifier.

``<root>/<name>/`` holds ``id`` (text) and ``data``, ``data-1`` … (private mounts at the same time have one each).
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from rundlet.storage.tree import remove_path, tree_size
from rundlet.util import fs
from rundlet.util.tasks import settled

_NAME: Final = 24
DEFAULT_OWNER: Final = (0o755, 0, 0)
"""Mode, uid and gid of a directory that nothing else is said of."""


class CacheDirectory(msgspec.Struct, frozen=True):
    """One that is kept: size in bytes, times in nanoseconds."""

    name: str
    id: str
    size: int
    created_ns: int
    used_ns: int
    in_use: bool


class CacheMounts:
    """One per engine."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._using: dict[str, int] = {}

    @asynccontextmanager
    async def use(
        self,
        identifier: str,
        sharing: str,
        owner: tuple[int, int, int],
        fill: Callable[[str], Awaitable[None]] | None,
        origin: str = "",
    ) -> AsyncIterator[str]:
        """The directory for one step. ``sharing`` is shared, private or locked; ``owner`` (mode, uid, gid) and ``fill``
        are for a new one; ``origin`` says what ``fill`` brings. As with BuildKit, other owners and other origins mean
        other directories. Raises OSError, and what ``fill`` raises."""
        variant = "" if owner == DEFAULT_OWNER and not origin else f"\0{owner} {origin}"
        name = hashlib.sha256(f"{identifier}{variant}".encode()).hexdigest()[:_NAME]
        lock = self._locks.setdefault(name, asyncio.Lock())
        if sharing != "locked":
            path = self._free(name) if sharing == "private" else f"{self._root}/{name}/data"
            async with self._counted(path):
                async with lock:
                    await self._make(name, identifier, path, owner, fill)
                yield path
            return
        async with lock:
            path = f"{self._root}/{name}/data"
            async with self._counted(path):
                await self._make(name, identifier, path, owner, fill)
                yield path

    def _free(self, name: str) -> str:
        number = 0
        while self._using.get(path := f"{self._root}/{name}/data" + (f"-{number}" if number else "")):
            number += 1
        return path

    @asynccontextmanager
    async def _counted(self, path: str) -> AsyncIterator[None]:
        self._using[path] = self._using.get(path, 0) + 1
        try:
            yield
        finally:
            self._using[path] -= 1
            if not self._using[path]:
                del self._using[path]

    async def _make(
        self,
        name: str,
        identifier: str,
        path: str,
        owner: tuple[int, int, int],
        fill: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        base = f"{self._root}/{name}"
        if os.path.isdir(path):
            os.utime(f"{base}/id")
            return
        os.makedirs(base, 0o700, exist_ok=True)
        fs.write_atomic(f"{base}/id", identifier.encode())
        temporary = f"{path}.new"
        remove_path(temporary)
        os.mkdir(temporary)
        if fill is not None:
            await fill(temporary)
        mode, uid, gid = owner
        os.chown(temporary, uid, gid)
        os.chmod(temporary, mode)
        os.rename(temporary, path)

    def all(self) -> list[CacheDirectory]:
        """Every directory; blocks for as long as measuring takes."""
        found = []
        for name in sorted(os.listdir(self._root)):
            base = f"{self._root}/{name}"
            try:
                with open(f"{base}/id", encoding="utf-8", errors="replace") as file:
                    identifier = file.read()
                used = os.stat(f"{base}/id").st_mtime_ns
                created = os.stat(base).st_ctime_ns
            except OSError:
                continue
            in_use = any(path.startswith(f"{base}/") for path in self._using)
            found.append(CacheDirectory(name, identifier, tree_size(base), min(created, used), used, in_use))
        return found

    async def remove(self, name: str) -> bool:
        """Remove one that no step uses; whoever wants it meanwhile gets a new one, after that. Raises OSError."""
        base = f"{self._root}/{name}"
        lock = self._locks.setdefault(name, asyncio.Lock())
        if lock.locked() or any(path.startswith(f"{base}/") for path in self._using):
            return False
        async with lock:
            await settled(asyncio.to_thread(remove_path, base))
        return True
