"""The way to BuildKit's protocol: what speaks it is imported when the first client does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.streams import Attachment
from rundlet.engine.builds.service import BuildService
from rundlet.engine.context import Context
from rundlet.transport import HttpClient

if TYPE_CHECKING:
    from rundlet.engine.buildkit.outputs import Save
    from rundlet.engine.buildkit.service import BuildKitService


class BuildKitGate:
    """Implements the builds router's second backend; its arguments are the service's."""

    def __init__(self, context: Context, builds: BuildService, http: HttpClient, save: Save) -> None:
        self._context = context
        self._builds = builds
        self._http = http
        self._save = save
        self._opened: BuildKitService | None = None

    def session(self, identifier: str, shared_key: str, methods: frozenset[str]) -> Attachment:
        """See BuildKitService. Raises InvalidParameterError."""
        return self._service().session(identifier, shared_key, methods)

    def control(self) -> Attachment:
        """See BuildKitService. Raises InvalidParameterError."""
        return self._service().control()

    def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        """See BuildKitService; ``body`` is the context of a client without a session."""
        if options.session:
            return self._service().build(options)
        from rundlet.engine.buildkit.sent import stream

        return stream(self._builds, self._http, options, body)

    async def close(self) -> None:
        """The engine ends."""
        if self._opened is not None:
            await self._opened.close()

    def _service(self) -> BuildKitService:
        if self._opened is None:
            from rundlet.engine.buildkit.service import BuildKitService

            self._opened = BuildKitService(self._context, self._builds, self._http, self._save)
        return self._opened
