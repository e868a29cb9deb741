"""A build for a client of BuildKit's protocol: supplied by its session, told through its job, its results sent back."""

import asyncio
import base64
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from rundlet.api import jsonstream
from rundlet.api.builds import BuildFailure, BuildOptions, BuildProgress, Output
from rundlet.api.images import AuthConfig
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.protobuf import encode
from rundlet.builder.errors import BuildError
from rundlet.engine.buildkit import progress
from rundlet.engine.buildkit.exporting import Exporting
from rundlet.engine.buildkit.frontend import Plan, StoredImage
from rundlet.engine.buildkit.jobs import Job
from rundlet.engine.buildkit.outputs import OutputSender, Save
from rundlet.engine.buildkit.session import Sessions
from rundlet.engine.buildkit.stores import ClientStore
from rundlet.engine.buildkit.supply import SessionSupply
from rundlet.engine.builds.service import BuildService
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.transport import HttpClient
from rundlet.transport.http2.grpc import CallError, Code

_TRACE: Final = "moby.buildkit.trace"
_IMAGE_ID: Final = "moby.image.id"
_LOCAL: Final = "client-session"
_UPLOAD: Final = "upload-request"


_NONE: Final[Mapping[str, str]] = {}


class Built(msgspec.Struct, frozen=True):
    """What the client is told of a build's result; by platform its images, and how they came to be (a kind of
    predicate, and the predicate)."""

    response: dict[str, str]
    images: Mapping[str, str]
    provenance: Mapping[str, Sequence[str]] = {}


class BuildRuns:
    """One per engine."""

    def __init__(
        self, context: Context, builds: BuildService, http: HttpClient, save: Save, sessions: Sessions
    ) -> None:
        self._context = context
        self._builds = builds
        self._http = http
        self._outputs = OutputSender(context, builds, save)
        self._sessions = sessions

    async def supply(self, plan: Plan, session_id: str, logins: dict[str, AuthConfig]) -> SessionSupply:
        """What brings the build ``plan`` its files. Raises SessionNotFoundError."""
        session = await self._sessions.get(session_id)
        shared = {directory: await self._sessions.get(name) for directory, name in plan.sessions.items()}
        return SessionSupply(self._context, self._builds.kept, self._http, session, shared, plan, logins)

    async def stored(self, session_id: str, stored: StoredImage, platform: str) -> str:
        """The image of a client's store, which is here then; its ID. Raises BuildError, CallError and what loading
        raises."""
        session = await self._sessions.get(session_id)
        async with aclosing(ClientStore(session, stored.store).archive(stored.digest)) as archive:
            images = await self._builds.load(archive, platform)
        if not images:
            raise BuildError(f"{stored.digest}: no image for this platform")
        return str(images[0].id)

    async def run(self, job: Job, plan: Plan, session_id: str, contexts: Mapping[str, str] = _NONE) -> Built:
        """``contexts`` are those of the plan that others had to settle. Raises CallError and what building raises."""
        session = await self._sessions.get(session_id)
        logins: dict[str, AuthConfig] = {}
        options = plan.settled(logins, contexts)
        supply = await self.supply(plan, session_id, logins)
        aux: dict[str, Any] = {}
        failed = ""
        async with aclosing(await self._builds.build_of(options, supply)) as messages:
            async for message in messages:
                if isinstance(message, BuildProgress):
                    failed = next((one.digest for one in message.vertexes if one.error), failed)
                    await job.said.say(progress.status(message, job.ref))
                elif isinstance(message, BuildFailure):
                    vertex = progress.digest_of(job.ref, failed) if failed else ""
                    raise progress.failure(message, plan.filename, vertex)
                elif isinstance(message, JSONMessage):
                    if message.error:
                        raise CallError(Code.CANCELLED, message.error)
                    aux |= message.aux if isinstance(message.aux, dict) else {}
        metadata: dict[str, str] = dict(aux.get("Metadata", {}))
        exporting = Exporting(job, self._context.clock, options.outputs)
        async with exporting.going_on(metadata):
            await self._outputs.send(session, options.outputs, aux.get("Outputs", ()))
        cached = await self._outputs.send_caches(session, options.cache_to, aux.get("Outputs", ()))
        return Built(
            {**(metadata if exporting.image else {}), **cached}, aux.get("Platforms", {}), aux.get("Provenance", {})
        )

    # ── of clients that have no /grpc ────────────────────────────────────────────────────────────────────────

    async def stream(self, options: BuildOptions) -> AsyncGenerator[JSONMessage, None]:
        """The build of a ``POST /build?version=2``: Docker's command line from before buildx.

        Raises NotSupportedError, InvalidParameterError; what comes later is the last message.
        """
        plan = _plan(options)
        job = Job(secrets.token_hex(16), options.session)
        task = asyncio.create_task(self._ended(job, plan, options.session))
        try:
            async with aclosing(job.said.listen()) as messages:
                async for message in messages:
                    yield JSONMessage(id=_TRACE, aux=base64.b64encode(encode(message)).decode())
            try:
                metadata = (await task).response
            except CallError as exc:
                yield jsonstream.failure(str(exc))
                return
            if image := metadata.get("containerimage.config.digest"):
                yield JSONMessage(id=_IMAGE_ID, aux={"ID": image})
                if options.quiet:
                    yield jsonstream.stream(f"{image}\n")
        finally:
            job.end(None)
            task.cancel()
            await asyncio.wait([task])

    async def _ended(self, job: Job, plan: Plan, session: str) -> Built:
        try:
            return await self.run(job, plan, session)
        finally:
            await job.said.end()


def _plan(options: BuildOptions) -> Plan:
    if options.remote == _UPLOAD:
        raise NotSupportedError("an archive as context of this client's BuildKit builds (set DOCKER_BUILDKIT=0)")
    if not options.session:
        raise InvalidParameterError("a build by BuildKit's protocol needs a session")
    remote = "" if options.remote in ("", _LOCAL) else options.remote
    outputs = tuple(
        msgspec.structs.replace(
            one,
            type="image" if one.type == "moby" else one.type,
            attrs={name: value for name, value in one.attrs.items() if name != "dest"},
        )
        for one in options.outputs
    )
    return Plan(
        msgspec.structs.replace(
            options,
            rich=True,
            quiet=False,
            session="",
            version="",
            remote=remote,
            outputs=outputs or (Output("image"),),
        ),
        remote=remote,
        dockerfile="" if remote else "dockerfile",
        filename=options.dockerfile or "Dockerfile",
    )
