"""Snapshots without overlayfs: each image's files once as a whole tree, each container's as a copy of it.

For data roots where overlayfs can't write: on another overlay (an engine in a container without a volume), on NFS, in a
user namespace before Linux 5.11. Layers are kept as for overlayfs; besides, on disk: ``<name>/flat`` of a layer is the
image that ends with it, made when it is first needed; ``<name>/tree`` of a container its root file system, and
``<name>/made`` a file as old as that. What would be in ``upper`` is put there by :meth:`CopyingSnapshotter.settle`.
"""

import os
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from rundlet.oci.digest import Digest
from rundlet.storage.errors import SnapshotNotFoundError, translated
from rundlet.storage.snapshot import trees
from rundlet.storage.snapshot.overlay import OverlaySnapshotter
from rundlet.storage.snapshot.snapshotter import Rootfs
from rundlet.storage.sync import sync_filesystem
from rundlet.storage.tree import remove_path, tree_size

_TICK: Final = 0.02  # seconds: more than the kernel's steps of change times


class CopyingSnapshotter(OverlaySnapshotter):
    """Docker's name for it is vfs."""

    driver = "vfs"
    _copying: threading.Lock

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._copying = threading.Lock()

    def stack(self, chain: Digest | None) -> list[str]:
        if chain is None:
            return []
        info = self.layer(chain)
        flat = f"{os.path.dirname(info.path)}/flat"
        with self._copying:
            if not os.path.isdir(flat):
                self._flatten(super().stack(chain), flat, durable=True)
        return [flat]

    def prepare_container(self, container_id: str, chain: Digest | None, mounted: Iterable[Digest] = ()) -> Rootfs:
        below = self.stack(chain)
        rootfs = super().prepare_container(container_id, chain, mounted)
        base = os.path.dirname(rootfs.upper)
        try:
            with translated("copy", base):
                self._flatten(below or [f"{base}/empty"], f"{base}/tree")
                time.sleep(_TICK)
                os.close(os.open(f"{base}/made", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except BaseException:
            self.remove_container(container_id)
            raise
        return rootfs

    def settle(self, container_id: str) -> None:
        rootfs = self.container(container_id)
        base = os.path.dirname(rootfs.upper)
        below = self.stack(self.containers()[container_id]) or [f"{base}/empty"]
        with self._copying, translated("compare", rootfs.upper):
            made = os.stat(f"{base}/made").st_ctime_ns
            new = f"{base}/changes"
            remove_path(new)
            os.mkdir(new, 0o700)
            trees.distill(below[0], f"{base}/tree", new, made)
            remove_path(rootfs.upper)
            os.rename(new, rootfs.upper)

    def usage(self, container_id: str) -> int:
        name = self._container_name(container_id)
        if name is None:
            raise SnapshotNotFoundError(container_id)
        path = f"{self._root}/{name}/tree"
        with translated("measure", path):
            return tree_size(path)

    def _flatten(self, layers: list[str], target: str, *, durable: bool = False) -> None:
        """``layers`` (topmost first) as one tree, which is there whole or not at all."""
        with translated("copy layers", target):
            remove_path(f"{target}.new")
            os.mkdir(f"{target}.new", 0o700)
            for layer in reversed(layers):
                trees.merge(layer, f"{target}.new")
            if durable:  # a rename may be on the disk before what it names
                sync_filesystem(self._root)
            os.rename(f"{target}.new", target)

    def _rootfs(self, base: str, lower: list[str]) -> Rootfs:
        flat = f"{os.path.dirname(lower[0])}/flat" if lower else ""
        found = super()._rootfs(base, [flat] if flat else [])
        return msgspec.structs.replace(found, tree=f"{base}/tree")
