"""What ``ADD URL`` found last time: an address whose server says that nothing has changed isn't downloaded again.

Kept are the digest of its contents and its server's validator (RFC 9110, 13); the contents themselves are in the layers
that were made of them. An address is known by what it had last, and by each checksum that it ever had: what a checksum
names doesn't change, so nobody has to be asked for that. A row is told by a hash of both, as an address may hold a
password.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from rundlet.builder.downloads import Download, Seen, fetch_changed
from rundlet.builder.errors import BuildError
from rundlet.image.records import OnProgress
from rundlet.transport import HttpClient
from rundlet.util.database import Database

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS build_urls (
        address TEXT PRIMARY KEY, etag TEXT NOT NULL, modified TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL
    ) STRICT""",
)
_ROWS: Final = 2000
"""What is remembered, two rows for an address; the oldest go first."""


class UrlMemory:
    """One per engine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def find(self, url: str, checksum: str) -> Seen | None:
        """What ``url`` had last; or with the ``checksum``, if it ever had that."""
        rows = self._database.query(
            "SELECT etag, modified, name, digest FROM build_urls WHERE address = ?", (_hidden(url, checksum),)
        )
        return Seen(*rows[0]) if rows else None

    def put(self, url: str, seen: Seen) -> None:
        """Waits for the disk. Raises StateError."""
        with self._database.transaction(durable=False) as cursor:
            # Replaced, a row is numbered anew: it is the youngest then.
            cursor.executemany(
                "INSERT OR REPLACE INTO build_urls VALUES (?, ?, ?, ?, ?)",
                [
                    (_hidden(url, checksum), seen.etag, seen.modified, seen.name, seen.digest)
                    for checksum in ("", f"sha256:{seen.digest}")
                ],
            )
            # By how many there are, not by their numbers: what changes often would push all others out.
            cursor.execute(
                "DELETE FROM build_urls WHERE rowid <= "
                "(SELECT rowid FROM build_urls ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
                (_ROWS,),
            )

    def clear(self) -> None:
        """Waits for the disk. Raises StateError."""
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM build_urls")

    @asynccontextmanager
    async def alone(self, url: str) -> AsyncIterator[None]:
        """While it is held nobody else asks for ``url``."""
        async with self._locks.setdefault(url, asyncio.Lock()):
            yield


def _hidden(url: str, checksum: str) -> str:
    known_as = f"{url}\0{checksum}" if checksum else url
    return hashlib.sha256(known_as.encode("utf-8", "surrogateescape")).hexdigest()


class RemoteFile(msgspec.Struct, frozen=True):
    """A file at an address, known by its digest. :attr:`here` brings it, and raises BuildError and TransportError."""

    name: str
    digest: str
    here: Callable[[], Awaitable[Download]]


class Downloads:
    """Of one build, all its platforms: no address is asked twice for the same."""

    def __init__(self, http: HttpClient, memory: UrlMemory, new_directory: Callable[[], str]) -> None:
        self._http = http
        self._memory = memory
        self._new_directory = new_directory
        self._known: dict[tuple[str, str], Seen] = {}
        self._brought: dict[tuple[str, str], Download] = {}

    async def find(self, url: str, checksum: str, progress: OnProgress) -> RemoteFile:
        """The file at ``url``: brought, unless what was seen there before had the ``checksum`` ("" for none), or its
        server says that it is the same still. Raises BuildError, TransportError.
        """
        async with self._memory.alone(url):
            # What a checksum has found says nothing of what the address has now.
            seen = self._known.get((url, checksum))
            if seen is None:
                seen = self._known[url, checksum] = await self._asked(url, checksum, progress)

        async def here() -> Download:
            return await self._again(url, seen.digest)

        return RemoteFile(seen.name, seen.digest, here)

    async def _asked(self, url: str, checksum: str, progress: OnProgress) -> Seen:
        before = await asyncio.to_thread(self._memory.find, url, checksum)
        if before is not None and checksum:
            return before
        found = await self._fetched(url, checksum, progress, before)
        if found is not None:
            return found.seen
        assert before is not None
        return before

    async def _fetched(
        self, url: str, checksum: str, progress: OnProgress, before: Seen | None = None
    ) -> Download | None:
        directory = await asyncio.to_thread(self._new_directory)
        found = await fetch_changed(self._http, url, directory, checksum, progress, before)
        if found is not None:
            self._brought[url, found.digest] = found
            self._known.setdefault((url, ""), found.seen)
            await asyncio.to_thread(self._memory.put, url, found.seen)
        return found

    async def _again(self, url: str, digest: str) -> Download:
        async with self._memory.alone(url):
            found = self._brought.get((url, digest)) or await self._fetched(url, "", lambda _state: None)
        assert found is not None
        if found.digest != digest:
            raise BuildError(f"digest mismatch sha256:{found.digest}: sha256:{digest}")
        return found
