"""What BuildKit's clients find behind ``/session`` and ``/grpc``.

A client solves in one of two ways: it names the frontend in ``Control/Solve``; or, as buildx does, it solves with none
and is then the frontend itself, through the bridge: asks there for ``dockerfile.v0`` and returns what it got. Nothing
is built before that return: a reference is the request that leads to it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

from rundlet.api import buildkit
from rundlet.api.buildkit import (
    Empty,
    FrontendRequest,
    FrontendResponse,
    Ref,
    Result,
    ReturnRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
)
from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.protobuf import Message, decode, encode
from rundlet.api.streams import Attachment
from rundlet.builder.namedcontexts import IMAGE
from rundlet.engine.buildkit import progress
from rundlet.engine.buildkit.frontend import Plan, plan
from rundlet.engine.buildkit.graphs import definition_of
from rundlet.engine.buildkit.historian import Historian
from rundlet.engine.buildkit.history import History
from rundlet.engine.buildkit.jobs import Job, Jobs
from rundlet.engine.buildkit.outputs import Save
from rundlet.engine.buildkit.questions import Questions
from rundlet.engine.buildkit.recording import Record, exporters_of
from rundlet.engine.buildkit.runs import BuildRuns, Built
from rundlet.engine.buildkit.session import Sessions, joined
from rundlet.engine.buildkit.trees import Trees
from rundlet.engine.buildkit.workers import WorkerService
from rundlet.engine.builds.service import BuildService
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.transport import HttpClient
from rundlet.transport.http2.connection import Connection
from rundlet.transport.http2.grpc import CallError, Method, Server, ServerCall

_CONTROL: Final = "/moby.buildkit.v1.Control"
_BRIDGE: Final = "/moby.buildkit.v1.frontend.LLBBridge"
_CONTENT: Final = "/containerd.services.content.v1.Content"
_HEALTH: Final = "/grpc.health.v1.Health/Check"
_BUILD: Final = "buildkit-controlapi-buildid"
_EXPOSED: Final = "x-docker-expose-session"
_CONNECTIONS: Final = 100
_SERVING: Final = b"\x08\x01"
"""The health service's answer: its first field is 1, SERVING."""


class BuildKitService:
    """Implements the builds router's backend for BuildKit's protocol."""

    def __init__(self, context: Context, builds: BuildService, http: HttpClient, save: Save) -> None:
        self._sessions = Sessions()
        self._runs = BuildRuns(context, builds, http, save, self._sessions)
        self._history = History(context.layout.build_history, context.clock)
        self._historian = Historian(self._history, context.images.content)
        self._questions = Questions(self._runs, context)
        self._trees = Trees(context, http, self._sessions)
        self._jobs = Jobs()
        self._workers = WorkerService(context, builds)
        self._server = Server(self._methods(), progress.describe)
        self._tasks: set[asyncio.Task[None]] = set()

    def session(self, identifier: str, shared_key: str, methods: frozenset[str]) -> Attachment:
        """See Sessions.attach."""
        return self._sessions.attach(identifier, shared_key, methods)

    def control(self) -> Attachment:
        """A line on which the services are. Raises InvalidParameterError."""
        if len(self._tasks) >= _CONNECTIONS:
            raise InvalidParameterError("too many build clients")
        ours, theirs = socket.socketpair()
        task = asyncio.create_task(Connection(ours, self._server.accept).run(), name="build client")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Attachment(tty=False, socket=theirs)

    def build(self, options: BuildOptions) -> AsyncIterator[JSONMessage]:
        """See BuildRuns.stream."""
        return self._runs.stream(options)

    async def close(self) -> None:
        """The engine ends."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._sessions.close()

    def _methods(self) -> Mapping[str, Method]:
        return {
            f"{_CONTROL}/Solve": self._solve,
            f"{_CONTROL}/Status": self._status,
            f"{_CONTROL}/Session": self._tunnel,
            f"{_CONTROL}/ListWorkers": self._workers.list,
            f"{_CONTROL}/Info": self._workers.info,
            f"{_CONTROL}/DiskUsage": self._workers.usage,
            f"{_CONTROL}/Prune": self._workers.prune,
            f"{_CONTROL}/ListenBuildHistory": self._historian.listen,
            f"{_CONTROL}/UpdateBuildHistory": self._historian.update,
            f"{_CONTENT}/Info": self._historian.info,
            f"{_CONTENT}/Read": self._historian.read,
            f"{_BRIDGE}/Ping": self._workers.ping,
            f"{_BRIDGE}/Solve": self._bridge_solve,
            f"{_BRIDGE}/Return": self._bridge_return,
            f"{_BRIDGE}/Evaluate": self._bridge_evaluate,
            f"{_BRIDGE}/Inputs": _nothing,
            f"{_BRIDGE}/ReadFile": self._trees.read,
            f"{_BRIDGE}/StatFile": self._trees.stat,
            f"{_BRIDGE}/Warn": self._bridge_warn,
            _HEALTH: _health,
        }

    async def _tunnel(self, call: ServerCall) -> None:
        """A session inside a call, for what several builds share."""
        said = {name: call.metadata.get(f"{_EXPOSED}-{name}", "") for name in ("uuid", "sharedkey", "grpc-method")}
        methods = frozenset(said["grpc-method"].lower().split(","))
        attachment = self._sessions.attach(said["uuid"], said["sharedkey"], methods)
        assert attachment.socket is not None
        await joined(call, attachment.socket)

    # ── builds ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _solve(self, call: ServerCall) -> None:
        request = decode(SolveRequest, await call.request())
        _refuse_definition(request)
        if request.source_policy:
            raise NotSupportedError("a source policy")
        async with self._jobs.solving(request.ref, request.session) as job, self._recorded(job, request) as record:
            if request.frontend:
                asked: FrontendRequest | None = FrontendRequest(
                    frontend=request.frontend, attributes=request.frontend_attributes, inputs=request.frontend_inputs
                )
            else:
                name = _chosen(await job.returned)
                asked = job.request(name) if name else None
                job.settle(name)
            if asked is not None:
                record.built = await self._build(job, request, asked)
        await call.send(encode(SolveResponse(record.built.response if record.built is not None else {})))

    @asynccontextmanager
    async def _recorded(self, job: Job, request: SolveRequest) -> AsyncIterator[Record]:
        """The build's record, kept unless the client wants none, or nothing was built."""
        record = Record(self._history, request)
        job.said.recording = record.recorder
        try:
            yield record
        except BaseException as exc:
            record.failed(exc)
            raise
        finally:
            await self._trees.release(job)
        record.ended()

    async def _build(self, job: Job, request: SolveRequest, asked: FrontendRequest) -> Built:
        cache = request.cache or buildkit.CacheOptions()
        found = plan(
            asked.frontend,
            asked.attributes,
            asked.inputs,
            exporters_of(request),
            (*cache.imports, *asked.cache_imports),
            cache.exports,
            request.entitlements,
        )
        contexts = await self._contexts(job, found)
        built = await self._runs.run(job, found, request.session, contexts)
        job.images.set_result(built.images)
        return built

    async def _contexts(self, job: Job, found: Plan) -> dict[str, str]:
        """The contexts that other builds come to: images, by their names here. Raises what building raises."""
        contexts: dict[str, str] = {}
        for name, stored in found.stored.items():
            platform = name.partition("::")[2] or found.options.platform.partition(",")[0]
            contexts[name] = f"{IMAGE}{await self._runs.stored(job.session, stored, platform)}"
        for name, result in found.results.items():
            for platform, image in (await self._images(job, result)).items():
                contexts[f"{name}::{platform}" if platform else name] = f"{IMAGE}{image}"
        return contexts

    async def _images(self, job: Job, result: str) -> Mapping[str, str]:
        """What the request ``result`` comes to: of the build that it is of, or by a build only for this one."""
        owner = self._jobs.owner(result)
        images = await owner.result(result) if owner is not job else None
        if images is None:
            asked = owner.request(result)
            found = plan(asked.frontend, asked.attributes, asked.inputs, (), asked.cache_imports, (), ()).unread()
            images = (await self._runs.run(job, found, owner.session, await self._contexts(job, found))).images
        return images if len(images) > 1 else {"": next(iter(images.values()))}

    async def _status(self, call: ServerCall) -> None:
        ref = decode(StatusRequest, await call.request()).ref
        said = await self._jobs.said(ref) if self._history.said(ref) is None else None
        past = self._history.said(ref)
        if past is not None:
            for message in past:
                await call.send(encode(message))
        if past is not None or said is None:
            return
        async with aclosing(said.listen()) as messages:
            async for message in messages:
                await call.send(encode(message))

    # ── the bridge ───────────────────────────────────────────────────────────────────────────────────────────

    async def _job(self, call: ServerCall) -> Job:
        return await self._jobs.get(call.metadata.get(_BUILD, ""))

    async def _bridge_solve(self, call: ServerCall) -> None:
        job = await self._job(call)
        request = decode(FrontendRequest, await call.request())
        if request.definition is not None and request.definition.operations:
            name = await self._trees.add(job, request.definition)
            await _answer(call, FrontendResponse(result=Result(ref=Ref(name, request.definition))))
            return
        # What can't be done is said here already, where the client can tell whose request it was.
        found = plan(request.frontend, request.attributes, request.inputs, (), request.cache_imports, (), ())
        if found.request:
            result = Result(metadata=await self._questions.answer(job, found))
        else:
            name = self._jobs.add(job, request)
            result = Result(ref=Ref(name, definition_of(name)))
        await _answer(call, FrontendResponse(result=result))

    async def _bridge_return(self, call: ServerCall) -> None:
        job = await self._job(call)
        request = decode(ReturnRequest, await call.request())
        if not job.returned.done():
            job.returned.set_result(request)
        await _answer(call, Empty())

    async def _bridge_evaluate(self, call: ServerCall) -> None:
        """A client that builds several targets wants each one's build to begin; ours does when it returns."""
        job = await self._job(call)
        job.request(decode(Ref, await call.request()).id)
        await _answer(call, Empty())

    async def _bridge_warn(self, call: ServerCall) -> None:
        job = await self._job(call)
        warning = decode(buildkit.VertexWarning, await call.request())
        await job.said.say(buildkit.StatusResponse(warnings=(warning,)))
        await _answer(call, Empty())


async def _answer(call: ServerCall, message: Message) -> None:
    await call.send(encode(message))


async def _nothing(call: ServerCall) -> None:
    await call.request()
    await call.send(b"")


async def _health(call: ServerCall) -> None:
    await call.request()
    await call.send(_SERVING)


def _refuse_definition(request: SolveRequest) -> None:
    """An empty graph is one, too: who sends it is no frontend, and would never say what it came to."""
    definition = request.definition
    if definition is not None and (definition.operations or not request.frontend):
        raise NotSupportedError("a build graph that the client made by itself (LLB)")


def _chosen(returned: ReturnRequest) -> str:
    """The request that the client's frontend came to; "" where it only looked around. Raises CallError."""
    if returned.error is not None:
        raise CallError(returned.error.code, returned.error.message, encode(returned.error))
    result = returned.result
    if result is None:
        return ""
    refs = list(result.refs.refs.values()) if result.refs is not None else [result.ref] if result.ref else []
    names = {ref.id for ref in refs if ref.id}
    if len(names) > 1:
        raise NotSupportedError("a result of several builds")
    return names.pop() if names else ""
