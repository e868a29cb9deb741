"""What the exec router asks of the engine."""

from typing import Protocol

from rundlet.api.exec import ExecCreate, ExecCreated, ExecInspect, ExecStart, Size
from rundlet.api.streams import Attachment


class ExecBackend(Protocol):
    """``exec_id`` is the ID that create returned; every method raises NotFoundError for an unknown one."""

    async def create(self, ref: str, body: ExecCreate) -> ExecCreated:
        """Raises ConflictError when the container does not run or is paused."""
        ...

    async def check_start(self, exec_id: str) -> None:
        """Raises NotFoundError, or ConflictError: ended already, container not running or paused.

        The answer's headers go out between this and ``start``: clients (docker-py) lose output that comes in one piece
        with them.
        """
        ...

    async def start(self, exec_id: str, body: ExecStart) -> Attachment:
        """Start the process with its streams attached. Errors are printed on the stream, where clients expect them."""
        ...

    async def start_detached(self, exec_id: str, body: ExecStart) -> None: ...

    async def inspect(self, exec_id: str) -> ExecInspect: ...

    async def resize(self, exec_id: str, size: Size) -> None: ...
