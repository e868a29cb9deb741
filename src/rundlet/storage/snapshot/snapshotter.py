"""What a snapshotter is.

A **layer** is the unpacked change set of one tar, known by its chain ID, never changed after its commit. It begins as
a **preparation**: a directory that the worker fills. ``commit_layer`` gives it its chain ID; ``abort_layer`` removes
it. Several preparations of one chain ID may be under way: the first commit wins, the others' directories are dropped.

A **container snapshot** is what a container's root file system is mounted from: the directories of its image's layers,
topmost first, and one of its own on top that takes every change.
"""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from rundlet.oci.digest import Digest


class Preparation(msgspec.Struct, frozen=True):
    """A layer in the making."""

    name: str
    """The snapshotter's own name for it."""
    path: str
    """The directory to fill; its root already has the owner, mode and attributes that it must have."""
    parent: Digest | None
    limit: int | None = None
    """Bytes that the layer's plain tar may have at most: a bomb ends there."""


class LayerInfo(msgspec.Struct, frozen=True):
    """A committed layer."""

    chain: Digest
    parent: Digest | None
    diff_id: Digest
    size: int
    """Bytes of its files."""
    path: str
    created_ns: int


class Rootfs(msgspec.Struct, frozen=True):
    """What a container's root file system is mounted from."""

    lower: list[str]
    """Directories of the image's layers, topmost first; one empty directory for an image without layers."""
    upper: str
    work: str
    merged: str
    """Where the shim mounts it."""
    tree: str = ""
    """The whole root file system, of a snapshotter that copies: nothing is mounted then."""


class Snapshotter(Protocol):
    """Keeps layers and container snapshots. Methods block on the disk: call them in threads where that matters."""

    driver: str
    """Docker's name for how it does that."""
    layer_limit: int | None
    """Bytes of a layer's tar at most, None for any size."""

    def stack(self, chain: Digest | None) -> list[str]:
        """Directories, topmost first, that together are the files of an image. Raises LayerNotFoundError."""
        ...

    def settle(self, container_id: str) -> None:
        """Have ``upper`` show what the container has changed until now. Raises SnapshotNotFoundError, StorageError."""
        ...

    def has_layer(self, chain: Digest) -> bool:
        """Whether the layer is committed."""
        ...

    def layer(self, chain: Digest) -> LayerInfo:
        """Raises LayerNotFoundError."""
        ...

    def layers(self) -> list[LayerInfo]:
        """Every committed layer."""
        ...

    def prepare_layer(self, parent: Digest | None) -> Preparation:
        """A directory for a layer on top of ``parent``, which need not be committed yet. Raises StorageError."""
        ...

    def adopt_layer(self, preparation: Preparation, parent: Digest | None) -> Preparation:
        """Put a preparation that was made without a parent on top of ``parent``. Raises LayerNotFoundError when
        the preparation is gone, StorageError.
        """
        ...

    def commit_layer(self, preparation: Preparation, chain: Digest, diff_id: Digest, size: int) -> None:
        """Make the layer usable. Its parent must be committed.

        Raises LayerNotFoundError (the parent), StorageError; the preparation is then still to be aborted.
        """
        ...

    def abort_layer(self, preparation: Preparation) -> None:
        """Remove a preparation; one that is gone already is fine. Raises StorageError."""
        ...

    def drop_layer(self, chain: Digest) -> str:
        """Forget a layer that nothing uses: the name of its directory, which nobody finds any more, for :meth:`clear`.

        Raises LayerNotFoundError, LayerInUseError, StorageError.
        """
        ...

    def clear(self, name: str) -> None:
        """Remove the directory of a layer that was dropped; may take long. Raises StorageError."""
        ...

    def prepare_container(self, container_id: str, chain: Digest | None, mounted: Iterable[Digest] = ()) -> Rootfs:
        """A snapshot on top of ``chain``. The layers of ``mounted`` stay as long as it does, too. Raises
        LayerNotFoundError (of ``chain``), SnapshotExistsError, StorageError.
        """
        ...

    def adopt(self, container_id: str, chain: Digest, diff_id: Digest, size: int) -> None:
        """Make what a container snapshot has on top a layer of its own, on what the snapshot stands on.

        Nothing may use the snapshot any more; all that can still be done with it is to remove it. Its files have to be
        what ``diff_id`` says. Raises SnapshotNotFoundError, LayerNotFoundError (the parent), StorageError.
        """
        ...

    def container(self, container_id: str) -> Rootfs:
        """The snapshot that was prepared. Raises SnapshotNotFoundError, LayerNotFoundError."""
        ...

    def containers(self) -> dict[str, Digest | None]:
        """Every container snapshot: container ID to the chain ID it stands on."""
        ...

    def remove_container(self, container_id: str) -> None:
        """Remove a snapshot; absent is fine. Raises StorageError (EBUSY, nothing removed: it is mounted)."""
        ...

    def usage(self, container_id: str) -> int:
        """Bytes of what the container has written. Raises SnapshotNotFoundError."""
        ...

    def sweep(self) -> None:
        """Remove the directories that :meth:`check` found to be nobody's; blocks for as long as that takes.

        What can't go yet is left for the next call.
        """
        ...

    def sync(self) -> None:
        """Make all that is committed durable; blocks until the disk is done. Raises StorageError."""
        ...

    def check(self) -> list[Digest]:
        """At start: finish or undo what was half done; drop layers that an unclean boot may have damaged.

        Returns the chain IDs that were dropped: they have to be unpacked again before their containers start.
        Raises StorageError.
        """
        ...
