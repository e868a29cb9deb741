"""``diff``: what a container changed, and ``export``: all that it has."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from rundlet.api.containers import FilesystemChange
from rundlet.container.record import Record
from rundlet.engine.containers import documents, hostroot
from rundlet.engine.containers.archive import chunks_of
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.files import ContainerFiles, still_there
from rundlet.engine.context import Context
from rundlet.engine.mounts import tmpfs_of

RUNTIME_PATHS = (
    "/.dockerenv",
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
)
"""What the runtime needs in every root file system, and makes where an image lacks it."""


def mount_points(record: Record) -> list[str]:
    """Everything in the upper directory that is not the container's own doing."""
    own = [point.destination for point in record.mounts]
    return [*RUNTIME_PATHS, *own, *tmpfs_of(documents.host(record)), *hostroot.mount_points(record)]


class ChangesService:
    """Reads the upper directory, or the whole root."""

    def __init__(self, context: Context, files: ContainerFiles) -> None:
        self._context = context
        self._files = files

    async def changes(self, reference: str) -> Sequence[FilesystemChange]:
        """Sorted by path. Raises NoSuchContainerError, FileAccessError."""
        record = self._context.containers.find(reference)
        left_out = mount_points(record)
        await asyncio.to_thread(self._context.snapshots.settle, record.id)
        found: list[tuple[str, int]] = []
        for place, access in self._files.upper_readers(record):
            try:
                inside = [path[len(place) :] for path in left_out if path.startswith(f"{place}/")]
                found += [(place + path, kind) for path, kind in await access.changes(inside)]
            finally:
                await access.close()
        return [FilesystemChange(path=path, kind=kind) for path, kind in sorted(found)]

    async def export(self, reference: str) -> AsyncIterator[bytes]:
        """The root file system as a tar, without what is mounted in it. Raises NoSuchContainerError."""
        record = self._context.containers.find(reference)
        return self._exported(record)

    async def _exported(self, record: Record) -> AsyncGenerator[bytes, None]:
        access = self._files.reader(record)
        try:
            await access.open_root()
        except BaseException:
            await access.close()
            raise
        self._context.events.publish("container", "export", record.id, event_attributes(record))
        async with aclosing(chunks_of(access)) as chunks:
            async for chunk in chunks:
                yield chunk
        still_there(self._context, record)
