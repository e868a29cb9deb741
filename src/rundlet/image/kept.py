"""A tar that becomes a layer, unpacked, hashed and kept compressed as it arrives: for imports and commits.

A gzip stream is kept as it is, of anything else gzip is made on the way. A later push copies that blob.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from isal import isal_zlib

from rundlet.image.streams import chain, plain
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore, Ingest
from rundlet.storage.layer.compression import detect
from rundlet.storage.layer.unpack import UnpackResult, WorkerLauncher, unpack
from rundlet.storage.snapshot import Snapshotter

GZIP_LEVEL: Final = 1
GZIP_WINDOW: Final = 31
_MAGIC_LENGTH: Final = 6


async def unpack_kept(
    source: AsyncIterator[bytes],
    content: ContentStore,
    snapshots: Snapshotter,
    workers: WorkerLauncher,
    parent: Digest | None = None,
) -> tuple[UnpackResult, Descriptor]:
    """The layer, committed on top of chain ``parent``, and the blob. Failed or cancelled, it leaves neither.

    Raises LayerError, StorageError, and what ``source`` raises.
    """
    ingest = await asyncio.to_thread(content.ingest, f"kept-{secrets.token_hex(8)}")
    try:
        async with aclosing(_kept(source, ingest)) as chunks:
            result = await unpack(chunks, snapshots, workers, parent=parent)
        size = ingest.offset
        digest = await asyncio.to_thread(ingest.commit)
    finally:
        ingest.abort()
    return result, Descriptor(mediatype.DOCKER_LAYER_GZIP, digest, size)


async def _kept(source: AsyncIterator[bytes], ingest: Ingest) -> AsyncGenerator[bytes, None]:
    """What is to be unpacked, after a gzip stream of it has gone to ``ingest``."""
    start = b""
    async for chunk in source:
        start += chunk
        if len(start) >= _MAGIC_LENGTH:
            break
    found = detect(start)
    whole = chain(start, source)
    if found == "gzip":
        async for chunk in whole:
            await asyncio.to_thread(ingest.write, chunk)
            yield chunk
        return
    compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW)

    def keep(piece: bytes) -> None:
        ingest.write(compressor.compress(piece))

    async with aclosing(whole if found == "none" else plain(whole)) as pieces:
        async for piece in pieces:
            yield piece  # first: it is unpacked while it is compressed
            await asyncio.to_thread(keep, piece)
    await asyncio.to_thread(lambda: ingest.write(compressor.flush()))
