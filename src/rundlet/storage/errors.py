"""What goes wrong with storage, and the one place where OSError becomes it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rundlet.errors import ConflictError, InternalError, NotFoundError
from rundlet.oci.digest import Digest


class StorageError(InternalError):
    """The kernel refused to read or write something of ours; ``errno`` says why."""

    reason = "storage"

    def __init__(self, operation: str, path: str, error: OSError) -> None:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        super().__init__(f"{operation} {path}: {why}")
        self.errno = error.errno or 0


class BlobNotFoundError(NotFoundError):
    """The content store has no such blob."""

    reason = "blob-not-found"

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"blob {digest} not found")
        self.digest = digest


class SizeMismatchError(InternalError):
    """Content is longer or shorter than announced; nothing of it is kept."""

    reason = "size-mismatch"

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"content verification failed: expected {expected} bytes, got {actual}")
        self.expected = expected
        self.actual = actual


class ContentTooLargeError(InternalError):
    """A document is larger than the most that is ever read of its kind."""

    reason = "content-too-large"

    def __init__(self, digest: Digest, size: int, limit: int) -> None:
        super().__init__(f"{digest} has {size} bytes, at most {limit} are read")


class IngestBusyError(ConflictError):
    """Somebody else is writing under this key."""

    reason = "ingest-busy"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is being written already")


class LayerError(InternalError):
    """A layer that can't be read or applied. The message says what is wrong with it."""

    reason = "bad-layer"


class LayerTooLargeError(LayerError):
    """The layer inflates to more than is allowed: key ``max-layer-size`` of ``daemon.json``."""

    reason = "layer-too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the layer inflates to more than {limit} bytes (max-layer-size in daemon.json)")
        self.limit = limit


class NoRoomForLayerError(LayerError):
    """The disk is full, or a quota is reached: that says nothing about the layer."""

    reason = "no-room-for-layer"


class LayerNotFoundError(NotFoundError):
    """No committed layer has this chain ID."""

    reason = "layer-not-found"

    def __init__(self, chain: Digest) -> None:
        super().__init__(f"layer {chain} does not exist")
        self.chain = chain


class LayerInUseError(ConflictError):
    """A layer above it, or a container, still needs the layer."""

    reason = "layer-in-use"

    def __init__(self, chain: Digest, user: str) -> None:
        super().__init__(f"layer {chain} is in use by {user}")
        self.chain = chain


class SnapshotExistsError(ConflictError):
    """The container has a snapshot already."""

    reason = "snapshot-exists"

    def __init__(self, container_id: str) -> None:
        super().__init__(f"snapshot of container {container_id} exists already")


class SnapshotNotFoundError(NotFoundError):
    """The container has no snapshot."""

    reason = "snapshot-not-found"

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} has no snapshot")


@contextmanager
def translated(operation: str, path: str) -> Iterator[None]:
    """Turn an OSError of the body into a StorageError naming ``operation`` and ``path``."""
    try:
        yield
    except OSError as exc:
        raise StorageError(operation, path, exc) from exc
