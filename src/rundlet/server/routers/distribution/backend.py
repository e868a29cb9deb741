"""What the distribution router asks of the engine."""

from typing import Protocol

from rundlet.api.distribution import ManifestPush, ManifestPushed, RemoteManifest
from rundlet.api.images import AuthConfig, DistributionInspect


class DistributionBackend(Protocol):
    """Reads from registries without pulling, and writes to them what is no image here."""

    async def inspect(self, reference: str, auth: AuthConfig) -> DistributionInspect: ...

    async def manifest(self, reference: str, auth: AuthConfig, *, insecure: bool) -> RemoteManifest: ...

    async def push_manifest(
        self, reference: str, push: ManifestPush, auth: AuthConfig, *, insecure: bool
    ) -> ManifestPushed: ...
