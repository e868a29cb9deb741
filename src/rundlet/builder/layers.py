"""A step's files become a layer: the upper directory itself, and a gzip stream of it for later pushes."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec
from isal import isal_zlib

from rundlet.image.kept import GZIP_LEVEL, GZIP_WINDOW, begun, keep
from rundlet.image.leases import Lease
from rundlet.image.records import Layer
from rundlet.linux import path as safe_path
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import extend_chain
from rundlet.storage.content import ContentStore, Ingest
from rundlet.storage.feed import in_thread
from rundlet.storage.layer.changes import Changes
from rundlet.storage.layer.unpack import WorkerLauncher, unpack
from rundlet.storage.snapshot import Snapshotter
from rundlet.storage.tree import remove_tree
from rundlet.util.tasks import settled

_EMPTY: Final = 1024
_INSIDE: Final = safe_path.RESOLVE_BENEATH | safe_path.RESOLVE_NO_SYMLINKS
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY


class LayerMaker:
    """Made by the wiring."""

    def __init__(self, content: ContentStore, snapshots: Snapshotter, workers: WorkerLauncher) -> None:
        self._content = content
        self._snapshots = snapshots
        self._workers = workers

    async def capture(
        self,
        container_id: str,
        parent: Digest | None,
        lease: Lease,
        *,
        left_out: Iterable[str] = (),
        latest: int | None = None,
        loose: bool = False,
    ) -> Layer | None:
        """What snapshot ``container_id`` has on top, as a layer on ``parent``; None when that is nothing.

        Of a ``loose`` one there is the archive only, for :meth:`moved`. ``left_out`` (absolute paths) is the runtime's
        doing. ``latest`` is the time (nanoseconds) that no file may be younger than. The snapshot is only to be removed
        after this. Raises LayerError, StorageError.
        """
        rootfs = self._snapshots.container(container_id)
        await asyncio.to_thread(self._snapshots.settle, container_id)
        names = [name.lstrip("/") for name in left_out]
        quiet = await asyncio.to_thread(_quiet_parents, rootfs.upper, rootfs.lower, names)
        changes = Changes(rootfs.upper, self._workers, names, quiet=quiet, latest=latest)
        async with begun(self._content, "build") as ingest:
            async with changes.opened() as tar:
                diff_id, size = await in_thread(changes.stop, _compress, tar, ingest)
            if size <= _EMPTY:
                return None
            chain = extend_chain(parent, diff_id)
            await lease.hold(chain)
            digest = await keep(ingest, lease)
        blob = Descriptor(mediatype.DOCKER_LAYER_GZIP, digest, ingest.offset)
        if loose:
            return Layer(diff_id, chain, changes.size, blob)
        if self._snapshots.has_layer(chain):
            return Layer(diff_id, chain, self._snapshots.layer(chain).size, blob)
        if changes.skipped or latest is not None:
            # The directory holds what the archive does not say: the layer is made of the archive.
            result = await unpack(self._content.chunks(digest), self._snapshots, self._workers, parent=parent)
            return Layer(diff_id, chain, result.size, blob)

        def adopt() -> None:
            _clean(rootfs.upper, names, quiet)
            self._snapshots.adopt(container_id, chain, diff_id, changes.size)

        await settled(asyncio.to_thread(adopt))
        return Layer(diff_id, chain, changes.size, blob)

    async def moved(self, layer: Layer, parent: Digest | None, lease: Lease) -> Layer:
        """``layer`` once more, on top of ``parent``. Raises BlobNotFoundError, LayerError, StorageError."""
        chain = extend_chain(parent, layer.diff_id)
        await lease.hold(chain, layer.blob.digest)
        if not self._snapshots.has_layer(chain):
            await unpack(
                self._content.chunks(layer.blob.digest),
                self._snapshots,
                self._workers,
                parent=parent,
                diff_id=layer.diff_id,
            )
        return msgspec.structs.replace(layer, chain=chain)


def _compress(tar: Iterable[bytes], ingest: Ingest) -> tuple[Digest, int]:
    """Digest and size of the plain tar, of which gzip goes to ``ingest``."""
    compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW)
    plain = hashlib.sha256()
    size = 0
    for piece in tar:
        size += len(piece)
        plain.update(piece)
        ingest.write(compressor.compress(piece))
    ingest.write(compressor.flush())
    return Digest.finish(plain), size


def _parents(names: Iterable[str]) -> list[str]:
    """Every directory above ``names``, deepest first."""
    found = set()
    for name in names:
        words = name.split("/")
        found |= {"/".join(words[:count]) for count in range(1, len(words))}
    return sorted(found, key=lambda item: -item.count("/"))


def _quiet_parents(upper: str, lowers: list[str], names: list[str]) -> list[str]:
    """Directories above ``names`` that are in ``upper`` only because something was mounted in them: new ones, or ones
    that are as they were below."""
    quiet = []
    above = os.open(upper, _DIRECTORY | os.O_CLOEXEC)
    try:
        for name in _parents(names):
            found = _attributes(above, name)
            if found is not None and _was(lowers, name) in (None, found):
                quiet.append(name)
    finally:
        os.close(above)
    return quiet


def _was(lowers: list[str], name: str) -> tuple[int, int, int] | None:
    for lower in lowers:
        fd = os.open(lower, _DIRECTORY | os.O_CLOEXEC)
        try:
            found = _attributes(fd, name)
        finally:
            os.close(fd)
        if found is not None:
            return found
    return None


def _attributes(root: int, name: str) -> tuple[int, int, int] | None:
    try:
        fd = safe_path.openat2(root, name, _DIRECTORY | os.O_NOFOLLOW, 0, _INSIDE)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        return status.st_mode, status.st_uid, status.st_gid
    finally:
        os.close(fd)


def _clean(upper: str, names: list[str], quiet: list[str]) -> None:
    """Remove from ``upper`` what is not in its archive. Raises OSError."""
    root = os.open(upper, _DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            _in_parent(root, name, remove_tree)
        for name in quiet:
            _in_parent(root, name, _remove_empty)
    finally:
        os.close(root)


def _in_parent(root: int, name: str, action: Callable[[int, bytes], None]) -> None:
    directory, _, base = name.rpartition("/")
    try:
        parent = safe_path.openat2(root, directory or ".", _DIRECTORY, 0, _INSIDE)
    except OSError:
        return  # the upper directory has no such directory
    try:
        action(parent, os.fsencode(base))
    finally:
        os.close(parent)


def _remove_empty(parent: int, base: bytes) -> None:
    with suppress(OSError):
        os.rmdir(base, dir_fd=parent)
