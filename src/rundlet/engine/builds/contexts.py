"""What a client sends to be built from: an archive, streamed to disk and unpacked by a confined worker."""

from collections.abc import AsyncGenerator, AsyncIterator

from rundlet.builder.workspace import Workspace
from rundlet.errors import InvalidParameterError
from rundlet.storage.errors import LayerError
from rundlet.storage.files.access import FileAccessError, PlaceRequest


class DockerfileMissingError(InvalidParameterError):
    reason = "dockerfile-missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"Cannot locate specified Dockerfile: {name}")


class BadContextError(InvalidParameterError):
    reason = "bad-build-context"

    def __init__(self, why: str) -> None:
        super().__init__(f"the build context can't be unpacked: {why}")


async def receive(workspace: Workspace, body: AsyncIterator[bytes]) -> None:
    """Unpack ``body`` (a tar, compressed or not) as the build's context. All of it becomes root's.

    Raises BadContextError.
    """
    access = workspace.write_directory(workspace.context)
    try:
        await access.start_place(PlaceRequest(path="/", own=(0, 0), keep_kinds=False))
        await access.put(body)
    except (FileAccessError, LayerError) as exc:
        raise BadContextError(str(exc)) from exc
    finally:
        await access.close()


async def generator(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """``body`` as something that can be closed."""
    async for chunk in body:
        yield chunk
