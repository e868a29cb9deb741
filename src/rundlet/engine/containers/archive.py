"""``cp``: ``/containers/x/archive``."""

import posixpath
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from rundlet.api.containers import ArchivePutOptions, PathStat
from rundlet.api.streams import Archive
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import documents
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.files import ContainerFiles, still_there
from rundlet.engine.context import Context
from rundlet.engine.mounts import tmpfs_of
from rundlet.errors import (
    ConflictError,
    ForbiddenError,
    InternalError,
    InvalidParameterError,
    NotFoundError,
    RundletError,
)
from rundlet.storage.errors import LayerError
from rundlet.storage.files.access import FileAccess, FileAccessError, PathInfo, PutRequest
from rundlet.util.clock import rfc3339_nano

# Go's os.FileMode, the format of the header that clients read.
_GO_KINDS: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS: Final = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


class NoSuchPathError(NotFoundError):
    reason = "no-such-path"

    def __init__(self, path: str, container: str) -> None:
        super().__init__(f"Could not find the file {path} in container {container}")


class ReadOnlyTargetError(ForbiddenError):
    reason = "read-only-target"


class BadArchiveError(InvalidParameterError):
    reason = "bad-archive"


class ArchiveService:
    """Paths of containers, running or stopped, as tar archives."""

    def __init__(self, context: Context, files: ContainerFiles) -> None:
        self._context = context
        self._files = files

    async def stat(self, reference: str, path: str) -> PathStat:
        """Raises NoSuchContainerError, NoSuchPathError, InternalError."""
        access = self._files.reader(self._context.containers.find(reference))
        try:
            return path_stat(path, await access.stat("/" + path.lstrip("/")))
        except FileAccessError as exc:
            raise _translated(exc, path, reference) from exc
        finally:
            await access.close()

    async def get(self, reference: str, path: str) -> Archive:
        """The path and all below it. Raises NoSuchContainerError, NoSuchPathError, InternalError."""
        record = self._context.containers.find(reference)
        access = self._files.reader(record)
        absolute = keep_end(posixpath.join("/", posixpath.normpath("/" + path).lstrip("/")), path)
        try:
            info = await access.open(absolute)
        except BaseException as exc:
            await access.close()
            if isinstance(exc, FileAccessError):
                raise _translated(exc, path, reference) from exc
            raise
        self._context.events.publish("container", "archive-path", record.id, event_attributes(record))
        return Archive(path_stat(absolute, info), self._whole(record, access))

    async def _whole(self, record: Record, access: FileAccess) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks_of(access)) as chunks:
            async for chunk in chunks:
                yield chunk
        still_there(self._context, record)

    async def put(self, reference: str, path: str, options: ArchivePutOptions, body: AsyncIterator[bytes]) -> None:
        """Unpack ``body`` in the directory ``path``.

        Raises NoSuchContainerError, NoSuchPathError, ReadOnlyTargetError, BadArchiveError, InternalError.
        """
        async with self._files.writer(reference) as (record, access):
            try:
                await access.start_put(self._put_request(record, path, options))
                await access.put(body)
            except FileAccessError as exc:
                raise _translated(exc, path, reference) from exc
            except LayerError as exc:
                raise BadArchiveError(str(exc)) from exc
        self._context.events.publish("container", "extract-to-dir", record.id, event_attributes(record))

    def _put_request(self, record: Record, path: str, options: ArchivePutOptions) -> PutRequest:
        host = documents.host(record)
        mounts = [(point.destination, point.rw) for point in record.mounts]
        if is_running(record.state.status):
            # What a stopped container does not have.
            mounts += [(destination, True) for destination in (*tmpfs_of(host), "/dev", "/dev/shm")]
        return PutRequest(
            path="/" + path.lstrip("/"),
            keep_kinds=options.no_overwrite_dir_non_dir,
            user=documents.config(record).user if options.copy_uid_gid else "",
            mounts=mounts,
            readonly_root=host.readonly_rootfs,
        )


async def chunks_of(access: FileAccess) -> AsyncGenerator[bytes, None]:
    """The tar that ``access`` reads, which is closed with it."""
    try:
        async for chunk in access.chunks():
            yield chunk
    finally:
        await access.close()


def path_stat(path: str, info: PathInfo) -> PathStat:
    """As the header has it; the name is the last component of what was asked for."""
    return PathStat(
        name=posixpath.basename(path.rstrip("/")) or "/",
        size=info.size,
        mode=go_mode(info.mode),
        mtime=rfc3339_nano(info.mtime_ns),
        link_target=info.target,
    )


def go_mode(mode: int) -> int:
    """``st_mode`` as Go's ``os.FileMode``."""
    result = mode & 0o777 | _GO_KINDS.get(stat.S_IFMT(mode), 0)
    for bit, theirs in _GO_BITS:
        result |= theirs if mode & bit else 0
    return result


def keep_end(clean: str, path: str) -> str:
    """Cleaning takes ``/`` and ``/.`` from the end, and they matter: they follow a link, and name the content."""
    base = posixpath.basename(path.rstrip("/"))
    if base == "." and not clean.endswith("/."):
        return clean.rstrip("/") + "/."
    if path.endswith("/") and not clean.endswith("/"):
        return clean + "/"
    return clean


def _translated(error: FileAccessError, path: str, container: str) -> RundletError:
    """The worker's words for what went wrong, in Docker's."""
    match error.kind:
        case "missing":
            return NoSuchPathError(path, container)
        case "path":
            return InvalidParameterError(str(error))
        case "not-directory":
            return InvalidParameterError("extraction point is not a directory")
        case "read-only-root":
            return ReadOnlyTargetError("container rootfs is marked read-only")
        case "read-only-volume":
            return ReadOnlyTargetError("mounted volume is marked read-only")
        case "archive" | "user":
            return BadArchiveError(str(error))
        case "ended":
            return ConflictError(f"container {container} has just ended")
        case _:
            return InternalError(str(error))
