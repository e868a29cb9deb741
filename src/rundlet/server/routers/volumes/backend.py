"""What the volumes router asks of the engine."""

from typing import Protocol

from rundlet.api.filters import Filters
from rundlet.api.volumes import Volume, VolumeCreate, VolumeList, VolumeListOptions, VolumeRemoveOptions, VolumesPruned


class VolumeBackend(Protocol):
    """Methods with a ``name`` raise NotFoundError ``get x: no such volume`` for an unknown one."""

    async def list(self, options: VolumeListOptions) -> VolumeList: ...

    async def inspect(self, name: str) -> Volume: ...

    async def create(self, body: VolumeCreate) -> Volume: ...

    async def remove(self, name: str, options: VolumeRemoveOptions) -> None: ...

    async def prune(self, filters: Filters) -> VolumesPruned: ...
