"""What the networks router asks of the engine. ``ref`` is an ID, an unambiguous prefix of one, or a name."""

from collections.abc import Sequence
from typing import Protocol

from rundlet.api.filters import Filters
from rundlet.api.networks import (
    Network,
    NetworkConnect,
    NetworkCreate,
    NetworkCreated,
    NetworkDisconnect,
    NetworkInspectOptions,
    NetworkListOptions,
    NetworksPruned,
)


class NetworkBackend(Protocol):
    """Methods with a ``ref`` raise NotFoundError ``network x not found`` for an unknown one."""

    async def list(self, options: NetworkListOptions) -> Sequence[Network]: ...

    async def inspect(self, ref: str, options: NetworkInspectOptions) -> Network: ...

    async def create(self, body: NetworkCreate) -> NetworkCreated: ...

    async def connect(self, ref: str, body: NetworkConnect) -> None: ...

    async def disconnect(self, ref: str, body: NetworkDisconnect) -> None: ...

    async def remove(self, ref: str) -> None: ...

    async def prune(self, filters: Filters) -> NetworksPruned: ...
