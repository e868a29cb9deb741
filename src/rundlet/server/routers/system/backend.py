"""What the system router asks of the engine."""

from collections.abc import AsyncIterator
from typing import Protocol

from rundlet.api.events import Event, EventsOptions
from rundlet.api.images import AuthConfig
from rundlet.api.system import DiskUsage, DiskUsageOptions, Info, Login, Version


class SystemBackend(Protocol):
    """The engine about itself."""

    @property
    def builder_version(self) -> str:
        """``1`` or ``2``: what clients build by that are told nothing else."""
        ...

    @property
    def experimental(self) -> bool: ...

    async def version(self) -> Version: ...

    async def info(self) -> Info: ...

    async def disk_usage(self, options: DiskUsageOptions) -> DiskUsage: ...

    async def events(self, options: EventsOptions) -> AsyncIterator[Event]:
        """Subscribed when this returns; ends at ``options.until``, else never."""
        ...

    async def login(self, auth: AuthConfig) -> Login:
        """Raises UnauthorizedError when the registry refuses the credentials."""
        ...
