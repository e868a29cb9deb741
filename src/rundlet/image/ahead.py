"""Layers of an archive, unpacked while it is still being read: before anything says what image they belong to.

What they are is known when they are unpacked, by their diff ID. Then each gets its place on top of its parent, or goes
again. One that can't be unpacked is no error here: an image that needs it says so when it comes to it.
"""

import asyncio
import logging
from collections.abc import Container
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from rundlet.errors import RundletError
from rundlet.oci.digest import Digest
from rundlet.storage.feed import ThreadFeed, shielded
from rundlet.storage.layer.unpack import Detached, WorkerLauncher, unpack_detached
from rundlet.storage.snapshot import Snapshotter

_log = logging.getLogger(__name__)
LAYERS_LIMIT: Final = 1000
"""Of an archive; what is more is unpacked when an image turns out to need it: it may only look like layers."""


class Tap:
    """Takes a layer's bytes as they are read, from the thread that reads; compressed or not."""

    def __init__(self, *, hash_plain: bool) -> None:
        self.hash_plain = hash_plain
        self.diff_id: Digest | None = None
        self.blob: Digest | None = None
        self.feed = ThreadFeed()

    def put(self, data: bytes) -> None:
        """The next bytes; waits while the unpacking is behind."""
        self.feed.put(data)

    def end(self, blob: Digest, diff_id: Digest | None) -> None:
        """All of it was put, and is stored as ``blob``. ``diff_id`` is given where nobody was asked to find it out."""
        self.blob = blob
        self.diff_id = diff_id
        self.feed.end()


class Ahead:
    """Of one archive. :meth:`open` is called in any thread, everything else in the event loop."""

    def __init__(
        self,
        snapshots: Snapshotter,
        workers: WorkerLauncher,
        slots: AbstractAsyncContextManager[None],
        known: Container[str],
    ) -> None:
        """``slots`` bounds how many layers are unpacked at once; ``known`` has the names of those that are here."""
        self._loop = asyncio.get_running_loop()
        self._snapshots = snapshots
        self._workers = workers
        self._slots = slots
        self._known = known
        self._opened = 0
        self._taps: list[Tap] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._made: dict[Digest, Detached] = {}
        self._found: dict[Digest, Digest] = {}

    def open(self, name: str, *, hash_plain: bool) -> Tap | None:
        """A tap for the layer in the file ``name``; None where its name says that the layer is here already.

        ``hash_plain`` tells the tap to find the diff ID out.
        """
        if any(word in self._known for word in name.removesuffix(".tar").split("/")):
            return None
        self._opened += 1
        if self._opened > LAYERS_LIMIT:
            return None
        tap = Tap(hash_plain=hash_plain)
        self._loop.call_soon_threadsafe(self._begin, tap)
        return tap

    def stop(self) -> None:
        """Make everything end that is under way, also a thread that waits in a tap."""
        for tap in self._taps:
            tap.feed.close()

    async def finish(self) -> None:
        """Return when all that was read is unpacked."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def diff_id(self, blob: Digest) -> Digest | None:
        """Of the layer in ``blob``, if that was unpacked here."""
        return self._found.get(blob)

    async def place(self, chain: Digest, parent: Digest | None, diff_id: Digest) -> bool:
        """Commit the layer ``diff_id`` as ``chain`` on top of ``parent``, if it was unpacked here.

        Raises LayerNotFoundError (the parent), StorageError.
        """
        made = self._made.pop(diff_id, None)
        if made is None:
            return False

        def commit() -> None:
            try:
                preparation = self._snapshots.adopt_layer(made.preparation, parent)
                self._snapshots.commit_layer(preparation, chain, diff_id, made.size)
            except BaseException:
                self._snapshots.abort_layer(made.preparation)
                raise

        await shielded(asyncio.to_thread(commit))
        return True

    async def close(self) -> None:
        """Remove what got no place."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = [made.preparation for made in self._made.values()]
        self._made.clear()
        for preparation in left:
            await asyncio.to_thread(self._snapshots.abort_layer, preparation)

    def _begin(self, tap: Tap) -> None:
        self._taps.append(tap)
        self._tasks.append(asyncio.create_task(self._unpack(tap)))

    async def _unpack(self, tap: Tap) -> None:
        try:
            async with self._slots:
                made = await unpack_detached(tap.feed, self._snapshots, self._workers, hash_plain=tap.hash_plain)
        except RundletError as exc:
            _log.debug("not unpacked ahead: %s", exc)
            return
        finally:
            tap.feed.close()
        diff_id = made.diff_id or tap.diff_id
        if diff_id is not None and tap.blob is not None:
            self._found[tap.blob] = diff_id
        if diff_id is None or diff_id in self._made:
            await asyncio.to_thread(self._snapshots.abort_layer, made.preparation)
            return
        self._made[diff_id] = msgspec.structs.replace(made, diff_id=diff_id)
