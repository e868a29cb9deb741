"""What the builds router asks of the engine."""

from collections.abc import AsyncIterator
from typing import Protocol

from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage


class BuildBackend(Protocol):
    """Implemented by ``engine.builds.service``."""

    async def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]: ...

    async def cancel(self, build_id: str) -> None: ...
