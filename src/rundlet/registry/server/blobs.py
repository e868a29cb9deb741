"""Content on disk: ``blobs/<algorithm>/<hex>``, as in an OCI image layout, and uploads that are not content yet.

A blob gets its name by a rename, after its digest was found right and its bytes are on disk. Methods block and belong
in threads, but for the look whether something is there.
"""

import os
from collections.abc import Iterator
from typing import Final

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest
from rundlet.registry.server.errors import BlobUnknownError
from rundlet.util.fs import sync_directory, write_atomic

CHUNK: Final = 1 << 20


class BlobFiles:
    """The files beneath ``root``."""

    def __init__(self, root: str) -> None:
        self._blobs = f"{root}/blobs"
        self.uploads = f"{root}/uploads"
        for directory in (self._blobs, f"{self._blobs}/sha256", self.uploads):
            os.makedirs(directory, mode=0o700, exist_ok=True)

    def path(self, digest: Digest) -> str:
        return f"{self._blobs}/{digest.algorithm}/{digest.encoded}"

    def size(self, digest: Digest) -> int | None:
        """Bytes of the blob; None when it is not there."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return None

    def adopt(self, path: str, digest: Digest) -> None:
        """Make the synced file ``path``, whose digest was verified, the blob of that digest."""
        target = self.path(digest)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.chmod(path, 0o400)
        os.rename(path, target)
        sync_directory(os.path.dirname(target))

    def write(self, digest: Digest, data: bytes) -> None:
        """Store a manifest whose digest was verified."""
        target = self.path(digest)
        if not os.path.exists(target):
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            write_atomic(target, data, mode=0o400)

    def read(self, digest: Digest) -> bytes:
        """A whole, verified manifest. Raises BlobUnknownError when it is not there, or no longer what it was."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read()
        except FileNotFoundError as exc:
            raise BlobUnknownError(str(digest)) from exc
        if not digest.verifies(data):
            raise BlobUnknownError(f"{digest} is damaged on the registry's disk")
        return data

    def delete(self, digest: Digest) -> None:
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            pass

    def iterate(self) -> Iterator[Digest]:
        """Every blob there is; what a killed registry left half written goes on the way."""
        for algorithm in os.listdir(self._blobs):
            for name in os.listdir(f"{self._blobs}/{algorithm}"):
                try:
                    yield Digest.parse(f"{algorithm}:{name}")
                except InvalidParameterError:
                    if name.endswith(".tmp"):
                        os.unlink(f"{self._blobs}/{algorithm}/{name}")


def hash_file(path: str, algorithm: str) -> Digest:
    """The digest of a file. Raises OSError."""
    hasher = Digest(algorithm, "").hasher()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK):
            hasher.update(data)
    return Digest.finish(hasher, algorithm)
