"""Blobs that are made here: how they are kept, and a tar that becomes a layer and a blob as it arrives.

Of such a tar, for imports and commits, a gzip stream is kept as it is; of anything else gzip is made on the way. A
later push copies that blob.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from isal import isal_zlib

from rundlet.image.leases import Lease
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore, Ingest
from rundlet.storage.feed import Source, made
from rundlet.storage.layer.aside import Aside
from rundlet.storage.layer.compression import detect
from rundlet.storage.layer.unpack import UnpackResult, WorkerLauncher, unpack
from rundlet.storage.snapshot import Snapshotter
from rundlet.util.tasks import settled

GZIP_LEVEL: Final = 1
GZIP_WINDOW: Final = 31
_MAGIC_LENGTH: Final = 6


@asynccontextmanager
async def begun(content: ContentStore, what: str) -> AsyncIterator[Ingest]:
    """Something new to be written; what was not kept in the end goes. Raises StorageError."""
    ingest = await made(lambda: content.ingest(f"{what}-{secrets.token_hex(8)}"), Ingest.abort)
    try:
        yield ingest
    finally:
        ingest.abort()


async def keep(ingest: Ingest, lease: Lease) -> Digest:
    """Make a blob of what was written: held before it has its name, so that nobody deletes it then.

    Raises StorageError.
    """
    digest = await settled(asyncio.to_thread(ingest.digest))
    await lease.hold(digest)
    return await settled(asyncio.to_thread(ingest.commit))


async def unpack_kept(
    source: Source,
    content: ContentStore,
    snapshots: Snapshotter,
    workers: WorkerLauncher,
    lease: Lease,
    parent: Digest | None = None,
) -> tuple[UnpackResult, Descriptor]:
    """The layer, committed on top of chain ``parent``, and the blob; ``lease`` holds both. Failed, neither.

    Raises LayerError, StorageError, and what ``source`` raises.
    """
    async with begun(content, "kept") as ingest:
        result = await unpack(source, snapshots, workers, parent=parent, keeper=_Keeper(ingest), hold=lease.hold)
        digest = await keep(ingest, lease)
        return result, Descriptor(mediatype.DOCKER_LAYER_GZIP, digest, ingest.offset)


class _Keeper:
    """Writes a gzip stream of the layer to ``ingest``: its own, or one made of what is in it."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._start = b""
        self._gzip: bool | None = None
        """Whether the source is gzip; known after the first bytes."""
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW)
        self._writing = Aside("layer-keep", self._write)

    def came(self, chunk: bytes) -> None:
        if self._gzip is None:
            self._start += chunk
            if len(self._start) < _MAGIC_LENGTH:
                return
            chunk, self._start = self._start, b""
            self._gzip = detect(chunk) == "gzip"
        if self._gzip:
            self._writing.put(chunk)

    def plain(self, piece: bytes) -> None:
        if not self._gzip:
            self._writing.put(piece)

    def _write(self, data: bytes) -> None:
        self._ingest.write(data if self._gzip else self._compressor.compress(data))

    def finish(self) -> None:
        self._writing.finish()
        if not self._gzip:
            self._ingest.write(self._compressor.flush())

    def close(self) -> None:
        self._writing.close()
