"""Where a build's files come from: the request's body, or something to be fetched. BuildKit's clients have a supply of
their own (``engine.buildkit``)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from rundlet.api import jsonstream
from rundlet.api.builds import BuildOptions
from rundlet.builder.dockerfile.arguments import KEEP_GIT
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.contexts import Read, bring, read_dockerfile, receive
from rundlet.engine.builds.kept import KeptContexts
from rundlet.engine.builds.lendings import Lent
from rundlet.engine.builds.requests import flag_of
from rundlet.image.records import Progress
from rundlet.transport import HttpClient

Emit = Callable[[Any], None]


class Supply(Protocol):
    """Of one build."""

    def supplied(self, workspace: Workspace, lent: Lent, emit: Emit) -> AbstractAsyncContextManager[Read]:
        """The context is in the workspace, and the Dockerfile read; what the client lends may be added to ``lent``.
        Raises BadContextError, DockerfileError and what fetching raises."""


class RequestSupply:
    """Implements it for ``POST /build``."""

    def __init__(self, options: BuildOptions, body: AsyncIterator[bytes], kept: KeptContexts, http: HttpClient) -> None:
        self._options = options
        self._body = body
        self._kept = kept
        self._http = http

    @asynccontextmanager
    async def supplied(self, workspace: Workspace, lent: Lent, emit: Emit) -> AsyncIterator[Read]:
        """See :class:`Supply`."""
        options = self._options
        async with self._kept.using(options.context, workspace) as announced:
            alone = await self._context_of(workspace, lent, emit)
            found = await asyncio.to_thread(
                read_dockerfile,
                workspace.context,
                "" if alone else options.dockerfile,
                filtered=not options.remote,
                own_ignore=options.rich,
            )
            if announced is not None:
                announced.complete = True
                workspace.memo = announced.memo
            yield found

    async def _context_of(self, workspace: Workspace, lent: Lent, emit: Emit) -> bool:
        """Whether it is a Dockerfile alone."""
        options = self._options
        if not options.remote or options.remote == "client-session":
            await receive(workspace, self._body)
            return False

        def progress(state: Progress) -> None:
            del state

        def say(line: str) -> None:
            if not options.rich:
                emit(jsonstream.stream(f"{line}\n"))

        keep_git = flag_of(options, KEEP_GIT)
        return await bring(workspace, options.remote, self._http, lent.secrets, progress, say, keep_git=keep_git)
