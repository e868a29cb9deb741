"""A tar that becomes a layer, unpacked, hashed and kept compressed as it arrives: for imports and commits.

A gzip stream is kept as it is, of anything else gzip is made on the way. A later push copies that blob.
"""

import asyncio
import secrets
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

GZIP_LEVEL: Final = 1
GZIP_WINDOW: Final = 31
_MAGIC_LENGTH: Final = 6


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
    ingest = await made(lambda: content.ingest(f"kept-{secrets.token_hex(8)}"), Ingest.abort)
    try:
        result = await unpack(source, snapshots, workers, parent=parent, keeper=_Keeper(ingest))
        size = ingest.offset
        await lease.hold(result.chain, ingest.digest())
        digest = await asyncio.to_thread(ingest.commit)
    finally:
        ingest.abort()
    return result, Descriptor(mediatype.DOCKER_LAYER_GZIP, digest, size)


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
