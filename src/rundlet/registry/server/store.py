"""The registry's content as a whole: blobs, manifests and tags in and out, and what nothing needs any more deleted.

Every change is made under one lock: a blob can't be collected between being found and being linked. The long parts of
it (receiving, hashing, syncing) come before the lock is taken.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.registry.server.blobs import BlobFiles
from rundlet.registry.server.documents import Document, read_document
from rundlet.registry.server.errors import (
    BlobUnknownError,
    DigestInvalidError,
    ManifestBlobUnknownError,
    ManifestInvalidError,
    ManifestUnknownError,
)
from rundlet.registry.server.index import Index
from rundlet.registry.server.uploads import Upload, Uploads
from rundlet.util.clock import Clock
from rundlet.util.database import StateError

_log = logging.getLogger(__name__)

UNREFERENCED: Final = 24 * 3600
"""Seconds that a blob stays without a manifest that names it."""
PENDING: Final = 3600.0
"""Seconds that a blob stays for a client that was told that it is there."""
SWEEP_INTERVAL: Final = 600.0


class Store:
    """Made once for a root."""

    def __init__(self, index: Index, files: BlobFiles, clock: Clock) -> None:
        self.index = index
        self.files = files
        self.uploads = Uploads(index, files)
        self._clock = clock
        self._changes = asyncio.Lock()
        # Blobs that a pusher counts on, and since when: its manifest is yet to come.
        self._pending: dict[tuple[str, Digest], float] = {}

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────

    def blob_size(self, repository: str, digest: Digest) -> int:
        """Bytes of a blob of ``repository``. Raises BlobUnknownError."""
        size = self.files.size(digest) if self.index.has_blob(repository, digest) else None
        if size is None:
            raise BlobUnknownError(str(digest))
        return size

    async def promised(self, repository: str, digest: Digest) -> int:
        """Bytes of a blob of ``repository``, for a client that will not send it again: it stays.

        Raises BlobUnknownError.
        """
        async with self._changes:
            size = self.blob_size(repository, digest)
            self._promise(repository, digest)
            return size

    def _promise(self, repository: str, digest: Digest) -> None:
        self._pending[(repository, digest)] = time.monotonic()

    async def commit(self, upload: Upload, digest: Digest) -> None:
        """Make a blob of ``upload``; a wrong one is dropped. Raises DigestInvalidError, OSError."""
        try:
            await asyncio.to_thread(upload.finish, digest)
        except DigestInvalidError:
            await self.uploads.drop(upload)
            raise
        async with self._changes:
            await asyncio.to_thread(self._adopt, upload, digest)
            self._promise(upload.repository, digest)
        await self.uploads.drop(upload)

    def _adopt(self, upload: Upload, digest: Digest) -> None:
        self.files.adopt(upload.path, digest)
        self.index.link_blob(upload.repository, digest, self._clock.now_ns())

    async def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Link a blob that ``source`` (or, when that is empty, any repository) holds; False when it does not."""
        async with self._changes:
            there = self.index.has_blob(source, digest) if source else self.index.has_blob_anywhere(digest)
            if not there or self.files.size(digest) is None:
                return False
            await asyncio.to_thread(self.index.link_blob, repository, digest, self._clock.now_ns())
            self._promise(repository, digest)
            return True

    async def delete_blob(self, repository: str, digest: Digest) -> None:
        """Raises BlobUnknownError."""
        async with self._changes:
            self.blob_size(repository, digest)
            await asyncio.to_thread(self._unlink, [(repository, digest)])

    # ── manifests ────────────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, repository: str, reference: str | Digest) -> Descriptor:
        """What a tag or a digest stands for. Raises ManifestUnknownError, for an unknown repository too: as Docker's
        registry, whose clients tell "not there" by this code."""
        digest = reference if isinstance(reference, Digest) else self.index.tagged(repository, reference)
        found = self.index.manifest(repository, digest) if digest is not None else None
        if found is None:
            raise ManifestUnknownError(str(reference))
        return found

    async def put_manifest(
        self, repository: str, data: bytes, content_type: str, tags: Sequence[str], algorithm: str = "sha256"
    ) -> tuple[Descriptor, Document]:
        """Store a manifest whose parts are all here, with ``tags``.

        Raises ManifestInvalidError, ManifestBlobUnknownError: then no tag is changed.
        """
        document = read_document(data, content_type)
        descriptor = Descriptor(document.media_type, Digest.of(data, algorithm), len(data))
        async with self._changes:
            self._check_parts(repository, document)
            await self._record(repository, descriptor, document, data, tags)
        return descriptor, document

    async def cache_manifest(self, repository: str, descriptor: Descriptor, data: bytes, tag: str | None) -> None:
        """Store a manifest of another registry, whose parts come when they are asked for."""
        document = read_document(data, descriptor.media_type)
        async with self._changes:
            await self._record(repository, descriptor, document, data, [] if tag is None else [tag])

    async def cache_tag(self, repository: str, descriptor: Descriptor, tag: str) -> None:
        """Point ``tag`` at a manifest that is here already."""
        await self.cache_manifest(
            repository, descriptor, await asyncio.to_thread(self.files.read, descriptor.digest), tag
        )

    async def _record(
        self, repository: str, descriptor: Descriptor, document: Document, data: bytes, tags: Sequence[str]
    ) -> None:
        def write() -> None:
            self.files.write(descriptor.digest, data)
            self.index.put_manifest(repository, descriptor, document, tags, self._clock.now_ns())

        await asyncio.to_thread(write)
        for part in document.blobs:
            self._pending.pop((repository, part.digest), None)

    def _check_parts(self, repository: str, document: Document) -> None:
        for part in document.blobs:
            size = self.files.size(part.digest) if self.index.has_blob(repository, part.digest) else None
            if size is None:
                raise ManifestBlobUnknownError(str(part.digest))
            if size != part.size:
                raise ManifestInvalidError(f"{part.digest} has {size} bytes, not {part.size}")
        for part in document.manifests:
            if self.index.manifest(repository, part.digest) is None:
                raise ManifestBlobUnknownError(str(part.digest))

    async def delete_tag(self, repository: str, tag: str) -> None:
        """The manifest stays, by its digest. Raises ManifestUnknownError."""
        async with self._changes:
            self.resolve(repository, tag)
            await asyncio.to_thread(self.index.delete_tag, repository, tag)

    async def delete_manifest(self, repository: str, digest: Digest) -> None:
        """With its tags, and with the blobs that nothing else in the repository needs.

        The manifests of an index stay: each is a manifest of its own. Raises ManifestUnknownError.
        """
        async with self._changes:
            self.resolve(repository, digest)
            await asyncio.to_thread(self._delete_manifest, repository, digest)

    def _delete_manifest(self, repository: str, digest: Digest) -> None:
        parts = self.index.delete_manifest(repository, digest)
        self._delete_unneeded(digest)
        self._unlink(
            [
                (repository, part)
                for part in parts
                if not self._is_pending(repository, part) and not self.index.is_referenced(repository, part)
            ]
        )

    # ── garbage ──────────────────────────────────────────────────────────────────────────────────────────────

    def _is_pending(self, repository: str, digest: Digest) -> bool:
        since = self._pending.get((repository, digest))
        return since is not None and time.monotonic() - since < PENDING

    def _unlink(self, blobs: list[tuple[str, Digest]]) -> None:
        for repository, digest in blobs:
            self.index.unlink_blobs(repository, [digest])
            self._delete_unneeded(digest)

    def _delete_unneeded(self, digest: Digest) -> None:
        if not self.index.is_needed(digest):
            self.files.delete(digest)

    def clean(self) -> None:
        """At start, before anyone asks for anything: remove content that no row names."""
        for digest in list(self.files.iterate()):
            self._delete_unneeded(digest)

    async def sweep(self) -> None:
        """Remove uploads that were left, and blobs whose manifest never came."""
        now = time.monotonic()
        self._pending = {key: since for key, since in self._pending.items() if now - since < PENDING}
        await self.uploads.expire()
        await asyncio.to_thread(self.index.keep_reserve)
        before = self._clock.now_ns() - UNREFERENCED * 10**9
        for repository, digest in await asyncio.to_thread(self.index.unreferenced, before):
            # One at a time, so that nobody waits for all; by now somebody may count on it, or have named it.
            async with self._changes:
                if not self._is_pending(repository, digest) and self.index.is_unreferenced(repository, digest, before):
                    await asyncio.to_thread(self._unlink, [(repository, digest)])

    async def sweep_forever(self) -> None:
        """The server's background task."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            try:
                await self.sweep()
            except (OSError, StateError) as exc:
                _log.warning("sweeping failed: %s", exc)
