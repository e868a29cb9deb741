"""Builds that clients of BuildKit's protocol have under way, each by the reference that its client made up.

Solve, Status and the bridge's calls of one build come side by side, in any order. Even the whole of a build that only
asks what there is may be over before the client's Status comes: who is not answered then gives the build up.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from rundlet.api.buildkit import FrontendRequest, ReturnRequest
from rundlet.engine.buildkit.progress import Channel
from rundlet.errors import ConflictError, InvalidParameterError, NotFoundError, RundletError

_LIMIT: Final = 200
_REQUESTS: Final = 100
_RESULTS: Final = 1000
"""Requests whose results are known to other builds, the latest ones."""
_ENDED: Final = 100
"""Builds that have ended of which it is known still that there is nothing more to be said, the latest ones."""
_PATIENCE: Final = 30.0
"""Seconds for a build to begin that somebody asks about."""


class JobNotFoundError(NotFoundError):
    reason = "build-not-found"

    def __init__(self, ref: str) -> None:
        super().__init__(f"no such job {ref}")


class Job:
    """One build. ``returned`` is what the client's own frontend came to, ``settled`` the request that this was about.

    ``images`` are what it built, by platform, for other builds that need it.
    """

    def __init__(self, ref: str, session: str) -> None:
        loop = asyncio.get_running_loop()
        self.ref = ref
        self.session = session
        self.said = Channel()
        self.returned: asyncio.Future[ReturnRequest] = loop.create_future()
        self.settled: asyncio.Future[str] = loop.create_future()
        self.images: asyncio.Future[Mapping[str, str]] = loop.create_future()
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

    def settle(self, name: str) -> None:
        """The build is of the request ``name`` ("": of none that others know)."""
        if not self.settled.done():
            self.settled.set_result(name)

    async def result(self, name: str) -> Mapping[str, str] | None:
        """The images that the request ``name`` has come to; None when the job is about something else. Raises what
        building raised."""
        if await asyncio.shield(self.settled) != name:
            return None
        return await asyncio.shield(self.images)

    def end(self, error: BaseException | None) -> None:
        """Nobody works on it any more."""
        self.returned.cancel()
        self.settle("")
        if not self.images.done():
            self.images.set_exception(error if isinstance(error, RundletError) else JobEndedError(self.ref))
            self.images.exception()  # nobody has to ask for it


class JobEndedError(ConflictError):
    reason = "build-ended"

    def __init__(self, ref: str) -> None:
        super().__init__(f"the build {ref} was cancelled")


class JobInUseError(ConflictError):
    reason = "build-in-use"

    def __init__(self, ref: str) -> None:
        super().__init__(f"job ID {ref} exists")


class Jobs:
    """All of them."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, Channel] = {}
        self._owners: dict[str, Job] = {}
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def solving(self, ref: str, session: str) -> AsyncIterator[Job]:
        """The job, whose build this is. Raises InvalidParameterError, JobInUseError."""
        if not ref:
            raise InvalidParameterError("a build needs a reference")
        if ref in self._jobs:
            raise JobInUseError(ref)
        if len(self._jobs) >= _LIMIT:
            raise InvalidParameterError("too many builds")
        self._ended.pop(ref, None)
        job = self._jobs[ref] = Job(ref, session)
        error: BaseException | None = None
        try:
            async with self._news:
                self._news.notify_all()
            yield job
        except BaseException as exc:
            error = exc
            raise
        finally:
            del self._jobs[ref]
            self._ended[ref] = job.said
            while len(self._ended) > _ENDED:
                del self._ended[next(iter(self._ended))]
            job.end(error)
            await job.said.end()

    def add(self, job: Job, request: FrontendRequest) -> str:
        """See Job.add; the name is known to all builds, also some time after its own has ended."""
        name = job.add(request)
        self._owners[name] = job
        while len(self._owners) > _RESULTS:
            del self._owners[next(iter(self._owners))]
        return name

    def owner(self, name: str) -> Job:
        """The job in which ``name`` was asked for. Raises JobNotFoundError."""
        try:
            return self._owners[name]
        except KeyError:
            raise JobNotFoundError(name) from None

    async def get(self, ref: str) -> Job:
        """The job, which may be a moment late. Raises JobNotFoundError."""
        await self._begun(ref)
        try:
            return self._jobs[ref]
        except KeyError:
            raise JobNotFoundError(ref) from None

    async def said(self, ref: str) -> Channel:
        """What is said of a job, which may be a moment late, or over. Raises JobNotFoundError."""
        await self._begun(ref)
        job = self._jobs.get(ref)
        return job.said if job is not None else self._ended[ref]

    async def _begun(self, ref: str) -> None:
        """Raises JobNotFoundError."""
        try:
            async with asyncio.timeout(_PATIENCE), self._news:
                await self._news.wait_for(lambda: ref in self._jobs or ref in self._ended)
        except TimeoutError as exc:
            raise JobNotFoundError(ref) from exc
