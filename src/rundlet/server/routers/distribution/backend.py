"""What the distribution router asks of the engine."""

from typing import Protocol

from rundlet.api.images import AuthConfig, DistributionInspect


class DistributionBackend(Protocol):
    """Reads from registries without pulling."""

    async def inspect(self, reference: str, auth: AuthConfig) -> DistributionInspect: ...
