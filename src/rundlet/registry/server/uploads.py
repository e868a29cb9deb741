"""Blobs on their way in. An upload survives the registry: its bytes are a file, its repository a row of the index.

States: open → committed | cancelled | expired. One request at a time may write to an upload. The hash runs along with
the bytes; an upload that an earlier process began is read again once, at its end.
"""

import asyncio
import errno
import os
import secrets
import time
from collections.abc import AsyncIterator
from typing import Final

from rundlet.oci.digest import Digest, Hash
from rundlet.registry.server.blobs import CHUNK, BlobFiles, hash_file
from rundlet.registry.server.errors import BlobUploadUnknownError, DigestInvalidError, UploadBusyError
from rundlet.registry.server.index import Index
from rundlet.util.tasks import settled

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
EXPIRY: Final = 24 * 3600.0
"""Seconds that an upload may lie without a byte being added."""


class Upload:
    """One upload; :meth:`append` and :meth:`finish` are for whoever holds :attr:`lock`."""

    def __init__(self, identifier: str, repository: str, path: str, algorithm: str | None = None) -> None:
        """``algorithm`` is that of the hash that runs along; None for an upload that has bytes already."""
        self.identifier = identifier
        self.repository = repository
        self.path = path
        self.lock = asyncio.Lock()
        self.offset = os.stat(path).st_size
        self._algorithm = algorithm
        self._hasher: Hash | None = None if algorithm is None else Digest(algorithm, "").hasher()

    async def append(self, chunks: AsyncIterator[bytes]) -> None:
        """Write ``chunks`` as they come; what came before a failure stays. Raises OSError, what ``chunks`` raises."""
        parts: list[bytes] = []
        size = 0
        try:
            async for chunk in chunks:
                parts.append(chunk)
                size += len(chunk)
                if size >= CHUNK:
                    taken, parts, size = parts, [], 0
                    await self._written(taken)
        finally:
            if parts:
                await self._written(parts)

    async def _written(self, parts: list[bytes]) -> None:
        """A cancelled request waits for its thread: nobody else may write before that is done."""
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, parts))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    def _write(self, parts: list[bytes]) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    written = os.write(fd, view)
                    if self._hasher is not None:
                        self._hasher.update(view[:written])
                    self.offset += written
                    view = view[written:]
        finally:
            os.close(fd)

    def finish(self, wanted: Digest) -> None:
        """Verify and sync; blocks. Raises DigestInvalidError, OSError."""
        if self._hasher is not None and wanted.algorithm == self._algorithm:
            actual = Digest.finish(self._hasher, wanted.algorithm)
        else:
            actual = hash_file(self.path, wanted.algorithm)
        if actual != wanted:
            raise DigestInvalidError(f"expected {wanted}, got {actual}")
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)


class Uploads:
    """All uploads that are open."""

    def __init__(self, index: Index, files: BlobFiles) -> None:
        self._index = index
        self._files = files
        self._open: dict[str, Upload] = {}
        self._starting: set[str] = set()
        """Of which there may be a file, but no row yet."""

    async def start(self, repository: str, algorithm: str) -> Upload:
        """A new upload of zero bytes, whose digest is to be of ``algorithm`` (another only costs a second reading)."""
        identifier = secrets.token_hex(16)
        path = f"{self._files.uploads}/{identifier}"

        def make() -> Upload:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            try:
                self._index.add_upload(identifier, repository)
            except BaseException:
                os.unlink(path)
                raise
            return Upload(identifier, repository, path, algorithm)

        self._starting.add(identifier)
        try:
            upload = self._open[identifier] = await settled(asyncio.to_thread(make))
        finally:
            self._starting.discard(identifier)
        return upload

    def get(self, repository: str, identifier: str) -> Upload:
        """The upload, with nobody else at it. Raises BlobUploadUnknownError, UploadBusyError."""
        upload = self._open.get(identifier) or self._resumed(repository, identifier)
        if upload.repository != repository:
            raise BlobUploadUnknownError(identifier)
        if upload.lock.locked():
            raise UploadBusyError("another request writes to this upload")
        return upload

    def _resumed(self, repository: str, identifier: str) -> Upload:
        if self._index.upload(identifier) != repository:
            raise BlobUploadUnknownError(identifier)
        try:
            upload = Upload(identifier, repository, f"{self._files.uploads}/{identifier}")
        except FileNotFoundError as exc:
            raise BlobUploadUnknownError(identifier) from exc
        self._open[identifier] = upload
        return upload

    async def add(self, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        """Write ``chunks``. When the disk is full the upload goes: what it would keep for a day would be all that there
        is. Raises OSError, what ``chunks`` raises."""
        try:
            await upload.append(chunks)
        except OSError as exc:
            if exc.errno in FULL:
                await self.drop(upload)
            raise

    async def drop(self, upload: Upload) -> None:
        """Forget the upload, and its file where that has not become a blob."""
        self._open.pop(upload.identifier, None)
        await asyncio.to_thread(self._remove, upload.identifier)

    def _remove(self, identifier: str) -> None:
        try:
            os.unlink(f"{self._files.uploads}/{identifier}")
        except FileNotFoundError:
            pass
        self._index.delete_upload(identifier)

    async def expire(self) -> None:
        """Remove uploads that nobody has written to for :data:`EXPIRY`, and files that are none."""
        for name in await asyncio.to_thread(os.listdir, self._files.uploads):
            upload = self._open.get(name)
            if name in self._starting or (upload is not None and upload.lock.locked()):
                continue
            try:
                age = time.time() - os.stat(f"{self._files.uploads}/{name}").st_mtime
            except FileNotFoundError:
                continue
            if age > EXPIRY or self._index.upload(name) is None:
                self._open.pop(name, None)
                await asyncio.to_thread(self._remove, name)
        for name in self._index.uploads():
            if name not in self._open and not os.path.exists(f"{self._files.uploads}/{name}"):
                await asyncio.to_thread(self._index.delete_upload, name)
