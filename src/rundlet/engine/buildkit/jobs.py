"""Builds that clients of BuildKit's protocol have under way, each by the reference that its client made up.

Solve, Status and the bridge's calls of one build come side by side, in any order: whoever is first makes the job.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rundlet.api.buildkit import FrontendRequest, ReturnRequest
from rundlet.engine.buildkit.progress import Channel
from rundlet.errors import ConflictError, InvalidParameterError, NotFoundError

_LIMIT: Final = 200
_REQUESTS: Final = 100
_PATIENCE: Final = 30.0
"""Seconds for a build to begin that somebody asks about."""


class JobNotFoundError(NotFoundError):
    reason = "build-not-found"

    def __init__(self, ref: str) -> None:
        super().__init__(f"no such job {ref}")


class Job:
    """One build. ``returned`` is what the client's own frontend came to."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.said = Channel()
        self.returned: asyncio.Future[ReturnRequest] = asyncio.get_running_loop().create_future()
        self._requests: dict[str, FrontendRequest] = {}

    def add(self, request: FrontendRequest) -> str:
        """A name for ``request``. Raises InvalidParameterError."""
        if len(self._requests) >= _REQUESTS:
            raise InvalidParameterError("too many frontend requests in one build")
        name = secrets.token_hex(16)
        self._requests[name] = request
        return name

    def request(self, name: str) -> FrontendRequest:
        """Raises JobNotFoundError."""
        try:
            return self._requests[name]
        except KeyError:
            raise JobNotFoundError(name) from None


class JobInUseError(ConflictError):
    reason = "build-in-use"

    def __init__(self, ref: str) -> None:
        super().__init__(f"job ID {ref} exists")


class Jobs:
    """All of them."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def solving(self, ref: str) -> AsyncIterator[Job]:
        """The job, whose build this is. Raises InvalidParameterError, JobInUseError."""
        if not ref:
            raise InvalidParameterError("a build needs a reference")
        if ref in self._jobs:
            raise JobInUseError(ref)
        if len(self._jobs) >= _LIMIT:
            raise InvalidParameterError("too many builds")
        job = self._jobs[ref] = Job(ref)
        async with self._news:
            self._news.notify_all()
        try:
            yield job
        finally:
            del self._jobs[ref]
            job.returned.cancel()
            await job.said.end()

    async def get(self, ref: str) -> Job:
        """The job, which may be a moment late. Raises JobNotFoundError."""
        try:
            async with asyncio.timeout(_PATIENCE), self._news:
                await self._news.wait_for(lambda: ref in self._jobs)
                return self._jobs[ref]
        except TimeoutError as exc:
            raise JobNotFoundError(ref) from exc
