"""Writing one blob: a file on the side that gets its name only when its digest and its size are right."""

import fcntl
import os
from collections.abc import Callable
from typing import Self

from rundlet.errors import DigestMismatchError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.errors import IngestBusyError, SizeMismatchError, translated

_CHUNK = 1 << 20


class Ingest:
    """A blob on its way in. One writer; every method may run in a thread, one at a time.

    States: open → committed | aborted. An ingest that is closed without either keeps its bytes, and the next one with
    the same key goes on at :attr:`offset`.
    """

    def __init__(
        self,
        path: str,
        key: str,
        expected: Descriptor | None,
        blob_path: Callable[[Digest], str],
        algorithm: str = "sha256",
    ) -> None:
        """``algorithm``: what the digest of a blob is made with that none is ``expected`` of."""
        self._path = path
        self._expected = expected
        self._blob_path = blob_path
        self._algorithm = expected.digest.algorithm if expected else algorithm
        self._hash = Digest(self._algorithm, "").hasher()
        self.offset = 0
        """Bytes written so far."""
        with translated("write", path):
            try:
                self._fd = _locked(path, os.O_CREAT)
            except BlockingIOError as exc:
                raise IngestBusyError(key) from exc
            try:
                self._resume()
            except BaseException:
                os.close(self._fd)
                raise

    def _resume(self) -> None:
        while data := os.read(self._fd, _CHUNK):
            self._hash.update(data)
            self.offset += len(data)
        if self._expected is not None and self.offset > self._expected.size:
            self.restart()

    def restart(self) -> None:
        """Throw away what is there and begin at 0: for a server that can't continue at :attr:`offset`."""
        with translated("write", self._path):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = Digest(self._algorithm, "").hasher()
        self.offset = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add ``data``. Raises SizeMismatchError as soon as there is more than announced, StorageError."""
        if self._expected is not None and self.offset + len(data) > self._expected.size:
            raise SizeMismatchError(self._expected.size, self.offset + len(data))
        self._hash.update(data)
        view = memoryview(data)
        with translated("write", self._path):
            while view:
                view = view[os.write(self._fd, view) :]
        self.offset += len(data)

    def digest(self) -> Digest:
        """Of what was written so far."""
        return Digest.finish(self._hash, self._algorithm)

    def commit(self, digest: Digest | None = None, size: int | None = None) -> Digest:
        """Give the blob its name, if it is what ``expected`` (and the arguments) say; the digest it has.

        A wrong blob is removed. Raises DigestMismatchError, SizeMismatchError, StorageError.
        """
        wanted_size = self._expected.size if size is None and self._expected else size
        wanted = digest or (self._expected.digest if self._expected else None)
        actual = self.digest()
        if wanted_size is not None and wanted_size != self.offset:
            self.abort()
            raise SizeMismatchError(wanted_size, self.offset)
        if wanted is not None and wanted != actual:
            self.abort()
            raise DigestMismatchError(str(wanted), str(actual))
        target = self._blob_path(actual)
        with translated("write", target):
            os.fchmod(self._fd, 0o400)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.rename(self._path, target)
        self.close()
        return actual

    def abort(self) -> None:
        """Remove what was written."""
        if self._fd >= 0:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
            self.close()

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.abort()


def remove_unlocked(path: str) -> bool:
    """Remove what an ingest left at ``path``, unless one has it open; whether it went. Raises OSError."""
    try:
        fd = _locked(path)
    except BlockingIOError:
        return False
    try:
        os.unlink(path)
    finally:
        os.close(fd)
    return True


def _locked(path: str, create: int = 0) -> int:
    """The file at ``path``, for oneself alone. Raises BlockingIOError when somebody has it, OSError.

    Who had it before may have removed it, or made a blob of it, after it was opened here: it has another name then, or
    none, and whatever is at ``path`` now is another file.
    """
    while True:
        fd = os.open(path, os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False)):
                return fd
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
