"""Freeing disk: blobs and layers that no image, no lease and no container needs any more.

An operation writes what refers to its content and then lets go of it. Here leases are asked first, therefore, and the
database afterwards: who looks the other way round finds neither when the operation ends in between.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final

from rundlet.image.leases import Leases
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore
from rundlet.storage.errors import LayerInUseError, LayerNotFoundError, StorageError
from rundlet.storage.snapshot import Snapshotter
from rundlet.util.database import Database
from rundlet.util.tasks import settled

_log = logging.getLogger(__name__)
_CLOSING: Final = 5.0

_BLOB_USED = (
    "SELECT 1 FROM image_blobs WHERE digest = :digest UNION ALL SELECT 1 FROM image_layers WHERE blob = :digest "
    "UNION ALL SELECT 1 FROM images WHERE id = :digest OR manifest = :digest "
    "UNION ALL SELECT 1 FROM image_tags WHERE target = :digest LIMIT 1"
)
_CHAIN_USED = "SELECT 1 FROM image_layers WHERE chain = ? LIMIT 1"


class Garbage:
    """Asked by removals with what an image leaves behind, and at start for everything."""

    def __init__(self, database: Database, content: ContentStore, snapshots: Snapshotter, leases: Leases) -> None:
        self._database = database
        self._content = content
        self._snapshots = snapshots
        self._leases = leases
        leases.on_free = self._look_again
        self._looking: set[asyncio.Task[object]] = set()
        self._in_use: dict[Digest, None] = {}
        """Layers that a container, or a layer above, still stood on when they were to go."""

    async def release(self, chains: Sequence[Digest], blobs: Iterable[Digest]) -> list[Digest]:
        """Delete of ``chains`` (top first) and ``blobs`` what nothing needs; the chains that went, in order.

        What is no layer, or is in use, stays and is no error. Cancelled, it is seen through: nobody may take a lease
        on what is just being deleted. Raises StorageError.
        """
        return await settled(self._release(list(chains), list(dict.fromkeys(blobs))))

    async def _release(self, chains: Sequence[Digest], blobs: Sequence[Digest]) -> list[Digest]:
        removed: dict[Digest, str] = {}
        try:
            async with self._leases.deleting():
                await asyncio.to_thread(self._delete, chains, blobs, removed)
        finally:
            # Others may go on meanwhile: a layer of many files takes long, and nobody finds its directory any more.
            await asyncio.to_thread(self._clear, list(removed.values()))
        return list(removed)

    def _clear(self, directories: Sequence[str]) -> None:
        failed: StorageError | None = None
        for name in directories:
            try:
                self._snapshots.clear(name)
            except StorageError as exc:
                failed = exc
        if failed is not None:
            raise failed

    def _delete(self, chains: Sequence[Digest], blobs: Sequence[Digest], removed: dict[Digest, str]) -> None:
        """Forget all that may go; ``removed`` gets the chains, and the directories that they leave."""
        for chain in chains:
            if self._leases.may_go(chain) and not self._database.query(_CHAIN_USED, (str(chain),)):
                try:
                    removed[chain] = self._snapshots.drop_layer(chain)
                except LayerInUseError:
                    self._in_use[chain] = None
                    continue
                except LayerNotFoundError:
                    pass
            self._in_use.pop(chain, None)
        for blob in blobs:
            if self._leases.may_go(blob) and not self._database.query(_BLOB_USED, {"digest": str(blob)}):
                self._content.delete(blob)

    def _look_again(self, freed: Sequence[Digest]) -> None:
        """What was held when it was to go, or when what it was for failed: chains and blobs, in the order of use."""
        task: asyncio.Task[object] = asyncio.create_task(self.release(freed[::-1], freed), name="garbage")
        self._looking.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, task: "asyncio.Task[object]") -> None:
        self._looking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("what nothing needs any more stays until the next start: %s", error)

    async def look_at_used(self) -> None:
        """Delete the layers that something stood on when they were to go, and nothing does any more: an image may be
        removed by force before its last container."""
        if chains := list(self._in_use):
            await self.release(chains, [])

    async def close(self) -> None:
        """The engine ends: what is being deleted is done with before the database goes, for a bounded time."""
        if self._looking:
            await asyncio.wait(self._looking, timeout=_CLOSING)

    async def collect(self) -> None:
        """Delete every layer and blob that nothing needs: what cancelled pulls, removed containers and crashes left."""
        layers = await asyncio.to_thread(self._snapshots.layers)
        parents = {layer.chain: layer.parent for layer in layers}
        tops = set(parents) - set(parents.values())
        for top in tops:
            stack: list[Digest] = []
            chain: Digest | None = top
            while chain is not None and chain in parents:
                stack.append(chain)
                chain = parents[chain]
            await self.release(stack, [])
        await self.release([], await asyncio.to_thread(lambda: list(self._content.iterate())))
