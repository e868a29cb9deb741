"""What the containers router asks of the engine. ``ref`` is an ID, an unambiguous prefix of one, or a name."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol

from rundlet.api.containers import (
    ArchivePutOptions,
    AttachOptions,
    CommitOptions,
    ContainerCreate,
    ContainerCreated,
    ContainerCreateOptions,
    ContainerInspect,
    ContainerInspectOptions,
    ContainerListOptions,
    ContainersPruned,
    ContainerSummary,
    ContainerTop,
    ContainerUpdate,
    ContainerUpdated,
    FilesystemChange,
    LogsOptions,
    PathStat,
    RemoveOptions,
    StartOptions,
    StopOptions,
    WaitCondition,
    WaitResult,
)
from rundlet.api.exec import Size
from rundlet.api.filters import Filters
from rundlet.api.stats import ContainerStats
from rundlet.api.streams import Archive, Attachment, LogStream


class ContainerBackend(Protocol):
    """Every method raises NoSuchContainerError (404) for an unknown ``ref``."""

    async def create(self, body: ContainerCreate, options: ContainerCreateOptions) -> ContainerCreated:
        """Raises ConflictError for a name in use, NoSuchImageError, NotSupportedError for a field by name."""
        ...

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        """Newest first. Raises InvalidFilterError for a filter's value."""
        ...

    async def inspect(self, ref: str, options: ContainerInspectOptions) -> ContainerInspect: ...

    async def logs(self, ref: str, options: LogsOptions) -> LogStream: ...

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """May be called before the container is started; the streams are connected when this returns."""
        ...

    async def start(self, ref: str, options: StartOptions) -> None:
        """Raises NotModifiedError when it runs already, InvalidParameterError when its command can't be started."""
        ...

    async def stop(self, ref: str, options: StopOptions) -> None:
        """Returns when it has stopped. Raises NotModifiedError when it does not run."""
        ...

    async def restart(self, ref: str, options: StopOptions) -> None: ...

    async def kill(self, ref: str, signal: str) -> None:
        """``signal`` is a name, with or without ``SIG``, a number, or empty for KILL; it is not validated yet."""
        ...

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResult]:
        """Start to wait; the returned awaitable (a future) ends when ``condition`` holds.

        The client sees the headers of its answer between the two, and only then starts the container.
        """
        ...

    async def remove(self, ref: str, options: RemoveOptions) -> None: ...

    async def resize(self, ref: str, size: Size) -> None: ...

    async def rename(self, ref: str, name: str) -> None:
        """``name`` without a leading slash."""
        ...

    async def pause(self, ref: str) -> None: ...

    async def unpause(self, ref: str) -> None: ...

    async def top(self, ref: str, ps_args: str) -> ContainerTop: ...

    async def update(self, ref: str, body: ContainerUpdate) -> ContainerUpdated: ...

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[ContainerStats]:
        """Readings a second apart, without end; one reading when ``stream`` is False (``one_shot``: at once)."""
        ...

    async def archive_stat(self, ref: str, path: str) -> PathStat: ...

    async def archive_get(self, ref: str, path: str) -> Archive: ...

    async def archive_put(self, ref: str, path: str, options: ArchivePutOptions, body: AsyncIterator[bytes]) -> None:
        """``body`` is a tar archive, plain or compressed."""
        ...

    async def changes(self, ref: str) -> Sequence[FilesystemChange]: ...

    async def export(self, ref: str) -> AsyncIterator[bytes]: ...

    async def prune(self, filters: Filters) -> ContainersPruned: ...

    async def commit(self, options: CommitOptions) -> str:
        """The new image's ID."""
        ...
