"""Freeing disk: blobs and layers that no image, no lease and no container needs any more."""

import asyncio
from collections.abc import Iterable, Sequence

from rundlet.image.leases import Leases
from rundlet.image.ports import Blobs, Layers
from rundlet.oci.digest import Digest
from rundlet.util.database import Database

_BLOB_USED = (
    "SELECT 1 FROM image_blobs WHERE digest = :d UNION ALL SELECT 1 FROM image_layers WHERE blob = :d "
    "UNION ALL SELECT 1 FROM images WHERE id = :d OR manifest = :d "
    "UNION ALL SELECT 1 FROM image_tags WHERE target = :d LIMIT 1"
)


class Garbage:
    """Asked by removals with what an image leaves behind, and at start for everything."""

    def __init__(self, database: Database, blobs: Blobs, layers: Layers, leases: Leases) -> None:
        self._database = database
        self._blobs = blobs
        self._layers = layers
        self._leases = leases

    async def release(self, chains: Sequence[Digest], blobs: Iterable[Digest]) -> list[Digest]:
        """Delete of ``chains`` (top first) and ``blobs`` what nothing needs; the chains that went, in order.

        A chain stays as long as one above it does: a container mounts all of them.
        """
        async with self._leases.deleting():
            removed: list[Digest] = []
            for chain in chains:
                if self._chain_used(chain):
                    break
                await self._layers.remove_layer(chain)
                removed.append(chain)
            unused = [digest for digest in dict.fromkeys(blobs) if not self._blob_used(digest)]
            await asyncio.to_thread(self._delete_blobs, unused)
            return removed

    def _chain_used(self, chain: Digest) -> bool:
        if self._leases.held(chain) or self._layers.in_use(chain):
            return True
        return bool(self._database.query("SELECT 1 FROM image_layers WHERE chain = ? LIMIT 1", (str(chain),)))

    def _blob_used(self, digest: Digest) -> bool:
        if self._leases.held(digest):
            return True
        return bool(self._database.query(_BLOB_USED.replace(":d", "?"), (str(digest),) * _BLOB_USED.count(":d")))

    def _delete_blobs(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self._blobs.delete(digest)

    async def collect(self) -> None:
        """Delete every layer and blob that nothing needs: what cancelled pulls and crashes left."""
        chains = await asyncio.to_thread(lambda: list(self._layers.chains()))
        blobs = await asyncio.to_thread(lambda: list(self._blobs.iterate()))
        for chain in chains:
            await self.release([chain], [])
        await self.release([], blobs)
