"""What the builds router asks of the engine."""

from collections.abc import AsyncIterator
from typing import Protocol

from rundlet.api.builds import (
    BuildFailure,
    BuildOptions,
    BuildProgress,
    BuildPruned,
    BuildPruneOptions,
    ContextListing,
    ContextWanted,
    SecretsLent,
)
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.streams import Attachment


class BuildBackend(Protocol):
    """Implemented by ``engine.builds.service``."""

    async def build(
        self, options: BuildOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[JSONMessage | BuildProgress | BuildFailure]: ...

    async def cancel(self, build_id: str) -> None: ...

    async def prune(self, options: BuildPruneOptions) -> BuildPruned: ...

    async def lend_secrets(self, session: str, lent: SecretsLent) -> None: ...

    async def lend_context(self, session: str, name: str, body: AsyncIterator[bytes], announced: str) -> None: ...

    async def announce_context(self, key: str, listing: ContextListing) -> ContextWanted: ...

    async def lend_agent(self, session: str, name: str) -> Attachment: ...

    async def root_files(self, image: str) -> AsyncIterator[bytes]: ...


class BuildKitBackend(Protocol):
    """Implemented by ``engine.buildkit.service``, which is imported when the first client wants it."""

    def session(self, identifier: str, shared_key: str, methods: frozenset[str]) -> Attachment: ...

    def control(self) -> Attachment: ...

    def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]: ...
