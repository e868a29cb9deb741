"""What earlier builds came to, by what decided it: contents, modes, owners, commands; never times.

Two kinds of keys lead to images. An *exact* one names everything about a step's image, its parent included: the image
is used as it is. A *result* key names only what decides the files: its image's top layer is used under another history.
A row whose image is gone is no row. Steps that are under way in two builds at once are carried out once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from rundlet.image.records import Image, Layer
from rundlet.image.store import ImageStore
from rundlet.oci.digest import Digest
from rundlet.util.clock import Clock
from rundlet.util.database import Database

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS build_cache (
        key TEXT PRIMARY KEY, image TEXT NOT NULL, kind TEXT NOT NULL, description TEXT NOT NULL,
        size INTEGER NOT NULL, created_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL, uses INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS build_cache_image ON build_cache (image)",
)


RESULT: Final = "result"
"""The kind of what a build came to: it is an image of the user's, named or not."""


class CacheRecord(msgspec.Struct, frozen=True):
    """One row: ``size`` in bytes of the step's own layer."""

    key: str
    image: Digest
    kind: str
    description: str
    size: int
    created_ns: int
    used_ns: int
    uses: int


class BuildCache:
    """One per engine."""

    def __init__(self, database: Database, images: ImageStore, clock: Clock) -> None:
        self._database = database
        self._images = images
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._used: dict[str, int] = {}
        self.loose: dict[str, Layer] = {}
        """Layers that builds under way have made before their steps' turn, by result keys."""

    def find(self, key: str) -> Image | None:
        """The image under ``key``, if it is still here."""
        rows = self._database.query("SELECT image FROM build_cache WHERE key = ?", (key,))
        image = self._images.find(Digest.parse(rows[0][0])) if rows else None
        if image is not None:
            self._used[key] = self._clock.now_ns()
        return image

    def put(self, keys: list[str], image: Image, *, kind: str, description: str, size: int) -> None:
        """Waits for the disk. Raises StateError."""
        now = self._clock.now_ns()
        with self._database.transaction() as cursor:
            cursor.executemany(
                "INSERT OR REPLACE INTO build_cache (key, image, kind, description, size, created_ns, used_ns) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(key, str(image.id), kind, description, size, now, now) for key in keys],
            )

    def mark_result(self, image: Image) -> None:
        """Waits for the disk. Raises StateError."""
        with self._database.transaction() as cursor:
            cursor.execute("UPDATE build_cache SET kind = ? WHERE image = ?", (RESULT, str(image.id)))

    def flush(self) -> None:
        """Write down what was used. Waits for the disk. Raises StateError."""
        used, self._used = self._used, {}
        if used:
            with self._database.transaction() as cursor:
                cursor.executemany(
                    "UPDATE build_cache SET used_ns = ?, uses = uses + 1 WHERE key = ?",
                    [(when, key) for key, when in used.items()],
                )

    def records(self) -> list[CacheRecord]:
        """Every row whose image is here, one for each image, the last used first."""
        rows = self._database.query(
            "SELECT key, image, kind, description, size, created_ns, MAX(used_ns), uses FROM build_cache "
            "WHERE image IN (SELECT id FROM images) GROUP BY image ORDER BY used_ns DESC"
        )
        return [CacheRecord(row[0], Digest.parse(row[1]), *row[2:]) for row in rows]

    def forget(self, images: list[Digest]) -> None:
        """Drop the rows of ``images``, and those whose image is gone."""
        with self._database.transaction(freeing=True) as cursor:
            cursor.executemany("DELETE FROM build_cache WHERE image = ?", [(str(image),) for image in images])
            cursor.execute("DELETE FROM build_cache WHERE image NOT IN (SELECT id FROM images)")

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """While it is held nobody else works on ``key``."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            yield
