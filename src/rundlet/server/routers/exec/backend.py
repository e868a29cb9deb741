"""What the exec router asks of the engine."""

from typing import Protocol

from rundlet.api.exec import ExecCreate, ExecCreated, ExecInspect, ExecStart, Size
from rundlet.api.streams import Attachment


class ExecBackend(Protocol):
    """``exec_id`` is the ID that create returned; every method raises NotFoundError for an unknown one."""

    async def create(self, ref: str, body: ExecCreate) -> ExecCreated:
        """Raises ConflictError when the container does not run or is paused."""
        ...

    async def start(self, exec_id: str, body: ExecStart) -> Attachment:
        """Start the process with its streams attached. NotFoundError and ConflictError become plain answers; any other
        error is printed on the stream, where docker's clients expect it."""
        ...

    async def start_detached(self, exec_id: str, body: ExecStart) -> None: ...

    async def inspect(self, exec_id: str) -> ExecInspect: ...

    async def resize(self, exec_id: str, size: Size) -> None: ...
