"""Blobs by digest, in an OCI image layout. See: OCI image-spec, image-layout.md.

Killing the engine at any moment leaves a blob whole or not there: blobs are written under ``ingest/`` and renamed. Loss
of power is another matter: blobs are not synced one by one; :meth:`ContentStore.sync` does all at once in the
background and :meth:`ContentStore.check` reads again, after an unclean boot, those that were newer than the last sync.
"""

import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from rundlet.errors import DigestMismatchError, InvalidParameterError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.content.ingest import Ingest, remove_unlocked
from rundlet.storage.errors import BlobNotFoundError, ContentTooLargeError, translated
from rundlet.storage.sync import boot_id, sync_filesystem
from rundlet.storage.tree import remove_path
from rundlet.util.clock import Clock
from rundlet.util.fs import write_atomic

CHUNK: Final = 1 << 20
READ_LIMIT: Final = 8 << 20
_MARGIN_NS: Final = 60 * 1_000_000_000  # file times are coarse, and clocks are set
_KEPT_NS: Final = 24 * 3600 * 1_000_000_000
_PART: Final = ".part"  # ends the name of an ingest of what is known, which the next one can go on with


class _Synced(msgspec.Struct, frozen=True):
    """The marker file: every blob older than ``ns`` is on disk; ``boot`` is when that was written."""

    boot: str
    ns: int


class ContentStore:
    """The blobs under ``root``. Methods block for the time of a few file operations; bulk work belongs in threads."""

    def __init__(self, root: str, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._blobs = f"{root}/blobs"
        self._ingests = f"{root}/ingest"
        with translated("mkdir", root):
            for directory in (root, self._blobs, f"{self._blobs}/sha256", self._ingests):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            if not os.path.exists(f"{root}/oci-layout"):
                write_atomic(f"{root}/index.json", b'{"schemaVersion":2,"manifests":[]}', durable=False)
                write_atomic(f"{root}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}', durable=False)

    def path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return f"{self._blobs}/{digest.algorithm}/{digest.encoded}"

    def has(self, digest: Digest) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Bytes of the blob. Raises BlobNotFoundError."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError as exc:
            raise BlobNotFoundError(digest) from exc

    def read(self, digest: Digest, limit: int = READ_LIMIT) -> bytes:
        """The whole blob, verified.

        Raises BlobNotFoundError, ContentTooLargeError, DigestMismatchError, StorageError.
        """
        size = self.size(digest)
        if size > limit:
            raise ContentTooLargeError(digest, size, limit)
        with self.open(digest) as file, translated("read", self.path(digest)):
            data = file.read(size + 1)
        if not digest.verifies(data):
            raise DigestMismatchError(str(digest), str(Digest.of(data, digest.algorithm)))
        return data

    def open(self, digest: Digest) -> BinaryIO:
        """The blob for reading from any place, unbuffered and unverified. Raises BlobNotFoundError."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError as exc:
            raise BlobNotFoundError(digest) from exc

    def chunks(self, digest: Digest, offset: int = 0) -> Iterator[bytes]:
        """The blob's bytes from ``offset``, in pieces of at most a mebibyte, unverified."""
        with self.open(digest) as file, translated("read", self.path(digest)):
            file.seek(offset)
            while data := file.read(CHUNK):
                yield data

    def verify(self, digest: Digest) -> bool:
        """Whether the blob is there and still has its digest; reads all of it."""
        try:
            hasher = digest.hasher()
            for chunk in self.chunks(digest):
                hasher.update(chunk)
        except BlobNotFoundError:
            return False
        return hasher.hexdigest() == digest.encoded

    def ingest(self, key: str, expected: Descriptor | None = None, algorithm: str = "sha256") -> Ingest:
        """Begin, or go on with, writing a blob. ``key`` names the attempt (any text; the digest is a good one).
        ``algorithm`` makes the digest of one that is not ``expected``.

        What is ``expected`` can be gone on with a day later, also by an engine that was started meanwhile. Raises
        IngestBusyError when another ingest of that key is open, StorageError.
        """
        name = hashlib.sha256(key.encode()).hexdigest() + (_PART if expected is not None else "")
        return Ingest(f"{self._ingests}/{name}", key, expected, self.path, algorithm)

    def write(self, data: bytes, expected: Digest | None = None) -> Digest:
        """Store ``data`` (a manifest or config) as it is. Raises DigestMismatchError, StorageError."""
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected is not None and expected != digest:
            raise DigestMismatchError(str(expected), str(digest))
        path = self.path(digest)
        if not os.path.exists(path):
            with translated("write", path):
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                write_atomic(path, data, mode=0o400, durable=False)
        return digest

    def delete(self, digest: Digest) -> int:
        """Remove the blob; absent is fine. The bytes that were freed."""
        path = self.path(digest)
        try:
            size = os.stat(path).st_size
            with translated("remove", path):
                os.unlink(path)
        except FileNotFoundError:
            return 0
        return size

    def iterate(self) -> Iterator[Digest]:
        """Every blob there is."""
        for algorithm in os.listdir(self._blobs):
            for encoded in os.listdir(f"{self._blobs}/{algorithm}"):
                try:
                    yield Digest.parse(f"{algorithm}:{encoded}")
                except InvalidParameterError:
                    continue  # a temporary file of a write that is under way

    def usage(self) -> int:
        """Bytes of all blobs."""
        total = 0
        for algorithm in os.listdir(self._blobs):
            with os.scandir(f"{self._blobs}/{algorithm}") as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # it was deleted meanwhile
        return total

    def sync(self) -> None:
        """Make all blobs durable; blocks until the disk is done, so call it in a thread. Raises StorageError.

        Nothing is done when no blob came or went since the last time.
        """
        synced = self._marker()
        if synced is not None and synced.boot == boot_id() and self._changed_ns() + _MARGIN_NS < synced.ns:
            return
        now = self._clock.now_ns()
        with translated("sync", self._root):
            sync_filesystem(self._root)
        self._mark(now)

    def check(self) -> list[Digest]:
        """At start: remove what a killed engine left half written, but for downloads that can be gone on with; after an
        unclean boot these, too, and blobs that lost bytes.

        Returns the digests of the blobs that were removed. Raises StorageError.
        """
        synced = self._marker()
        same_boot = synced is not None and synced.boot == boot_id()
        with translated("clean up", self._ingests):
            for name in os.listdir(self._ingests):
                if not (same_boot and name.endswith(_PART)):
                    remove_path(f"{self._ingests}/{name}")
            for algorithm in os.listdir(self._blobs):
                for name in os.listdir(f"{self._blobs}/{algorithm}"):
                    if name.endswith(".tmp"):
                        remove_path(f"{self._blobs}/{algorithm}/{name}")
        if same_boot:
            return []
        since = synced.ns - _MARGIN_NS if synced else 0
        suspects = [digest for digest in self.iterate() if os.stat(self.path(digest)).st_mtime_ns >= since]
        broken = [digest for digest in suspects if not self.verify(digest)]
        for digest in broken:
            self.delete(digest)
        # What was read after a boot came from the disk: no need to sync, which would hold up the engine's start.
        self._mark(self._clock.now_ns())
        return broken

    def expire(self, before: int | None = None) -> int:
        """Remove the beginnings of downloads that nobody has gone on with for a day, or since ``before`` (nanoseconds).

        The bytes that were freed. Raises StorageError.
        """
        before = self._clock.now_ns() - _KEPT_NS if before is None else before
        freed = 0
        with translated("clean up", self._ingests):
            for name in os.listdir(self._ingests):
                path = f"{self._ingests}/{name}"
                try:
                    found = os.stat(path)
                    if name.endswith(_PART) and found.st_mtime_ns <= before and remove_unlocked(path):
                        freed += found.st_size
                except FileNotFoundError:
                    continue  # it became a blob meanwhile
        return freed

    def _changed_ns(self) -> int:
        """When the last blob came or went."""
        return max(os.stat(f"{self._blobs}/{name}").st_mtime_ns for name in os.listdir(self._blobs))

    def _mark(self, now: int) -> None:
        with translated("sync", self._root):
            write_atomic(f"{self._root}/synced", msgspec.json.encode(_Synced(boot_id(), now)), durable=False)

    def _marker(self) -> _Synced | None:
        try:
            with open(f"{self._root}/synced", "rb") as file:
                return msgspec.json.decode(file.read(), type=_Synced)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
