"""What a client is shown of where a build's result goes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from rundlet.api.buildkit import StatusResponse, Vertex, VertexStatus
from rundlet.api.builds import Output
from rundlet.engine.buildkit.jobs import Job
from rundlet.engine.buildkit.progress import digest_of, timestamp_of
from rundlet.engine.builds.packing import is_stored
from rundlet.errors import RundletError
from rundlet.util.clock import Clock

_NAMES: Final = {
    "image": "exporting to image",
    "docker": "exporting to docker image format",
    "oci": "exporting to oci image format",
    "tar": "exporting to client tarball",
    "local": "exporting to client directory",
}


class Exporting:
    """Of one build. ``image``: its result is an image that the client is told the digest of."""

    def __init__(self, job: Job, clock: Clock, outputs: Sequence[Output]) -> None:
        self._job = job
        self._clock = clock
        kinds = [output.type for output in outputs if output.type in _NAMES]
        self._name = _NAMES[kinds[0]] if kinds else ""
        self.image = bool({"image", "docker", "oci"} & set(kinds))
        self._named = any(map(is_stored, outputs))
        self._began = 0

    @asynccontextmanager
    async def going_on(self, metadata: Mapping[str, str]) -> AsyncIterator[None]:
        """A step of its own."""
        if not self._name:
            yield
            return
        self._began = self._clock.now_ns()
        await self._say()
        if self.image:
            await self._status(f"writing image {metadata.get('containerimage.config.digest', '')}")
            for name in filter(None, metadata.get("image.name", "").split(",") if self._named else ()):
                await self._status(f"naming to {name}")
        try:
            yield
        except RundletError as exc:
            await self._say(done=True, error=str(exc))
            raise
        await self._say(done=True)

    async def _say(self, *, done: bool = False, error: str = "") -> None:
        completed = timestamp_of(self._clock.now_ns()) if done else None
        vertex = Vertex(self._digest, self._name, False, timestamp_of(self._began), completed, error)
        await self._job.said.say(StatusResponse(vertexes=(vertex,)))

    async def _status(self, text: str) -> None:
        began, now = timestamp_of(self._began), timestamp_of(self._clock.now_ns())
        status = VertexStatus(text, self._digest, "", 0, 0, now, began, now)
        await self._job.said.say(StatusResponse(statuses=(status,)))

    @property
    def _digest(self) -> str:
        return digest_of(self._job.ref, "exporting")
