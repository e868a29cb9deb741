"""``/containers`` and ``/commit``."""

import base64
from collections.abc import Awaitable, Iterable
from typing import Final, get_args

import msgspec
from aiohttp import web

from rundlet.api import codec, filters, requests, versions
from rundlet.api.container_config import ContainerConfig
from rundlet.api.containers import (
    ArchivePutOptions,
    AttachOptions,
    CommitOptions,
    ContainerCreate,
    ContainerCreateOptions,
    ContainerInspectOptions,
    ContainerListOptions,
    ContainerUpdate,
    LogsOptions,
    PathStat,
    RemoveOptions,
    StartOptions,
    StopOptions,
    WaitCondition,
    WaitError,
    WaitResult,
)
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError, RundletError
from rundlet.server import answers, detach, errors, timestamps
from rundlet.server.call import Call, container_name, platform
from rundlet.server.hijack import Hijack
from rundlet.server.routers.containers.backend import ContainerBackend
from rundlet.server.routers.refusal import refused
from rundlet.server.routers.sizes import terminal_size
from rundlet.server.routing import Route, WhenClientLeaves
from rundlet.server.websocket import WebSocketAttach

_CONDITIONS: Final[dict[str, WaitCondition]] = {name: name for name in get_args(WaitCondition)}
_NOTHING: Final = ContainerCreate()
_PATH_STAT: Final = "X-Docker-Container-Path-Stat"


class ContainerRouter:
    """Parses, calls, encodes; attach takes the connection over."""

    def __init__(self, backend: ContainerBackend) -> None:
        self._backend = backend

    async def create(self, call: Call) -> web.StreamResponse:
        name = container_name(call.text("name"))
        body = await call.json(ContainerCreate)
        if not await _has_config(call, body):
            raise InvalidParameterError("config cannot be empty in order to create a container")
        options = ContainerCreateOptions(
            name=name,
            platform=platform(call) if call.version >= (1, 41) else "",
            shallow_readonly=call.version < (1, 44),
            host_cgroups=call.version < (1, 41),
        )
        asked, warnings = requests.container_create(body, call.version)
        created = await self._backend.create(asked, options)
        return answers.json(msgspec.structs.replace(created, warnings=(*created.warnings, *warnings)), 201)

    async def list(self, call: Call) -> web.StreamResponse:
        options = ContainerListOptions(
            all=call.flag("all"),
            limit=max(call.integer("limit") or 0, 0),
            size=call.flag("size"),
            filters=call.filters(filters.CONTAINERS),
        )
        found = await self._backend.list(options)
        adapt, since = versions.container_summary, versions.CONTAINER_SINCE
        return answers.json(versions.adapted(found, call.version, adapt, since))

    async def inspect(self, call: Call) -> web.StreamResponse:
        found = await self._backend.inspect(call["name"], ContainerInspectOptions(size=call.flag("size")))
        adapt, since = versions.container_inspect, versions.CONTAINER_SINCE
        return answers.json(versions.adapted(found, call.version, adapt, since))

    async def logs(self, call: Call) -> web.StreamResponse:
        options = LogsOptions(
            follow=call.flag("follow"),
            stdout=call.flag("stdout"),
            stderr=call.flag("stderr"),
            timestamps=call.flag("timestamps"),
            details=call.flag("details"),
            tail=_tail(call.text("tail")),
            since=timestamps.parse(call.text("since")),
            until=timestamps.parse("" if call.text("until") == "0" else call.text("until")),
        )
        if not (options.stdout or options.stderr):
            raise InvalidParameterError("Bad parameters: you must choose at least one stream")
        found = await self._backend.logs(call["name"], options)
        multiplexed = not found.tty and call.version >= (1, 42)
        content_type = answers.MULTIPLEXED_STREAM if multiplexed else answers.RAW_STREAM
        return await answers.follow_stream(call, found.chunks, content_type)

    async def attach(self, call: Call) -> web.StreamResponse:
        try:
            options, keys = _attach_options(call)
            attachment = await self._backend.attach(call["name"], options)
        except RundletError as exc:
            return answers.raw_failure(exc)
        return await Hijack(call).join(attachment, stdin=options.stdin, detach_keys=keys)

    async def attach_websocket(self, call: Call) -> web.StreamResponse:
        client = WebSocketAttach(call)
        try:
            client.check()
        except InvalidParameterError:
            # A container that is missing is what Docker tells first.
            await self._backend.inspect(call["name"], ContainerInspectOptions())
            raise
        options, keys = _attach_options(call)
        if call.version < (1, 42):  # which stream was not asked for yet
            options = msgspec.structs.replace(options, stdin=True, stdout=True, stderr=True)
        attachment = await self._backend.attach(call["name"], options)
        return await client.join(attachment, stdin=options.stdin, detach_keys=keys)

    async def start(self, call: Call) -> web.StreamResponse:
        length = call.request.content_length
        if (length or 0) > 7 or (length is None and call.request.body_exists):
            raise InvalidParameterError(
                "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
            )
        detach.parse(call.text("detachKeys"))
        options = StartOptions(checkpoint=call.text("checkpoint"), checkpoint_dir=call.text("checkpoint-dir"))
        await self._backend.start(call["name"], options)
        return answers.empty()

    async def stop(self, call: Call) -> web.StreamResponse:
        await self._backend.stop(call["name"], _stop_options(call))
        return answers.empty()

    async def restart(self, call: Call) -> web.StreamResponse:
        await self._backend.restart(call["name"], _stop_options(call))
        return answers.empty()

    async def kill(self, call: Call) -> web.StreamResponse:
        await self._backend.kill(call["name"], call.text("signal"))
        return answers.empty()

    async def wait(self, call: Call) -> web.StreamResponse:
        """The headers go out as soon as the wait has begun: ``docker run`` starts the container only then."""
        legacy = call.version < APIVersion(1, 30)
        pending = await self._backend.wait(call["name"], "not-running" if legacy else _condition(call))
        if legacy:
            return answers.json(await pending)
        answer = await answers.open_stream(call, answers.JSON)
        await answer.write(codec.encode_line(await _waited(pending)))
        return answer

    async def remove(self, call: Call) -> web.StreamResponse:
        options = RemoveOptions(force=call.flag("force"), volumes=call.flag("v"), link=call.flag("link"))
        await self._backend.remove(call["name"], options)
        return answers.empty()

    async def resize(self, call: Call) -> web.StreamResponse:
        await self._backend.resize(call["name"], terminal_size(call))
        return answers.empty(200)

    async def rename(self, call: Call) -> web.StreamResponse:
        await self._backend.rename(call["name"], call.text("name"))
        return answers.empty()

    async def pause(self, call: Call) -> web.StreamResponse:
        await self._backend.pause(call["name"])
        return answers.empty()

    async def unpause(self, call: Call) -> web.StreamResponse:
        await self._backend.unpause(call["name"])
        return answers.empty()

    async def top(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.top(call["name"], call.text("ps_args")))

    async def update(self, call: Call) -> web.StreamResponse:
        body = requests.container_update(await call.json(ContainerUpdate), call.version)
        return answers.json(await self._backend.update(call["name"], body))

    async def stats(self, call: Call) -> web.StreamResponse:
        stream = call.flag("stream", default=True)
        one_shot = call.version >= (1, 41) and call.flag("one-shot")
        if stream and one_shot:
            raise InvalidParameterError("cannot have stream=true and one-shot=true")
        readings = await self._backend.stats(call["name"], stream=stream, one_shot=one_shot)
        return await answers.follow_stream(call, answers.encoded(readings), answers.JSON)

    async def archive_stat(self, call: Call) -> web.StreamResponse:
        stat = await self._backend.archive_stat(call["name"], _path(call))
        answer = answers.empty(200)
        answer.headers[_PATH_STAT] = _stat_header(stat)
        return answer

    async def archive_get(self, call: Call) -> web.StreamResponse:
        archive = await self._backend.archive_get(call["name"], _path(call))
        headers = {_PATH_STAT: _stat_header(archive.stat)}
        return await answers.bytes_stream(call, archive.chunks, answers.TAR, headers)

    async def archive_put(self, call: Call) -> web.StreamResponse:
        options = ArchivePutOptions(
            no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"), copy_uid_gid=call.flag("copyUIDGID")
        )
        await self._backend.archive_put(call["name"], _path(call), options, call.body())
        return answers.empty(200)

    async def changes(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.changes(call["name"]) or None)

    async def export(self, call: Call) -> web.StreamResponse:
        return await answers.bytes_stream(call, await self._backend.export(call["name"]), "application/octet-stream")

    async def prune(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.prune(call.filters(filters.CONTAINERS_PRUNE)))

    async def commit(self, call: Call) -> web.StreamResponse:
        options = CommitOptions(
            container=call.text("container"),
            repo=call.text("repo"),
            tag=call.text("tag"),
            comment=call.text("comment"),
            author=call.text("author"),
            pause=call.flag("pause", default=True),
            changes=call.texts("changes"),
            config=await call.optional_json(ContainerConfig, None),
        )
        return answers.json({"Id": await self._backend.commit(options)}, 201)


async def _waited(pending: Awaitable[WaitResult]) -> WaitResult:
    """The headers are out: what fails from here on is part of the result."""
    try:
        return await pending
    except Exception as exc:
        return WaitResult(status_code=-1, error=WaitError(message=errors.describe(exc).message))


def _condition(call: Call) -> WaitCondition:
    text = call.text("condition") or "not-running"
    condition = _CONDITIONS.get(text)
    if condition is None:
        raise InvalidParameterError(f'invalid condition: "{text}"')
    return condition


def _stop_options(call: Call) -> StopOptions:
    signal = call.text("signal") if call.version >= (1, 42) else ""
    return StopOptions(signal=signal, timeout=call.integer("t"))


async def _has_config(call: Call, body: ContainerCreate) -> bool:
    """Whether anything was said of the container itself, be it that its fields are empty."""
    if msgspec.structs.replace(body, host_config=None, networking_config=None) != _NOTHING:
        return True
    said = codec.decode(await call.request.read(), dict[str, object])
    return not said.keys() <= {"HostConfig", "NetworkingConfig"}


def _attach_options(call: Call) -> tuple[AttachOptions, bytes]:
    """And the detach keys as bytes. Raises: InvalidParameterError for keys that there are not."""
    options = AttachOptions(
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        stream=call.flag("stream"),
        logs=call.flag("logs"),
        detach_keys=call.text("detachKeys"),
    )
    return options, detach.parse(options.detach_keys)


def _tail(text: str) -> int | None:
    """``all``, and anything that is not a number, means all lines."""
    return int(text) if text.isascii() and text.isdigit() else None


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidParameterError("bad parameter: path cannot be empty")
    return path


def _stat_header(stat: PathStat) -> str:
    return base64.b64encode(codec.encode(stat)).decode()


def routes(backend: ContainerBackend) -> Iterable[Route]:
    """Bind the backend."""
    router = ContainerRouter(backend)
    cancel = WhenClientLeaves.CANCEL
    yield Route("GET", "/containers/json", router.list, cancel)
    yield Route("POST", "/containers/create", router.create)
    yield Route("POST", "/containers/prune", router.prune)
    yield Route("POST", "/commit", router.commit)
    yield Route("GET", "/containers/{name}/json", router.inspect, cancel)
    yield Route("GET", "/containers/{name}/logs", router.logs, cancel)
    yield Route("GET", "/containers/{name}/top", router.top, cancel)
    yield Route("GET", "/containers/{name}/stats", router.stats, cancel)
    yield Route("GET", "/containers/{name}/changes", router.changes, cancel)
    yield Route("GET", "/containers/{name}/export", router.export, cancel)
    yield Route("GET", "/containers/{name}/attach/ws", router.attach_websocket, cancel)
    yield Route("GET", "/containers/{name}/archive", router.archive_get, cancel)
    yield Route("HEAD", "/containers/{name}/archive", router.archive_stat, cancel)
    yield Route("PUT", "/containers/{name}/archive", router.archive_put, cancel)
    yield Route("POST", "/containers/{name}/attach", router.attach, cancel)
    yield Route("POST", "/containers/{name}/wait", router.wait, cancel)
    yield Route("POST", "/containers/{name}/start", router.start)
    yield Route("POST", "/containers/{name}/stop", router.stop)
    yield Route("POST", "/containers/{name}/restart", router.restart)
    yield Route("POST", "/containers/{name}/kill", router.kill)
    yield Route("POST", "/containers/{name}/pause", router.pause)
    yield Route("POST", "/containers/{name}/unpause", router.unpause)
    yield Route("POST", "/containers/{name}/resize", router.resize)
    yield Route("POST", "/containers/{name}/rename", router.rename)
    yield Route("POST", "/containers/{name}/update", router.update)
    yield Route("GET", "/containers/{name}/checkpoints", refused("checkpoint ls"))
    yield Route("POST", "/containers/{name}/checkpoints", refused("checkpoint create"))
    yield Route("DELETE", "/containers/{name}/checkpoints/{checkpoint}", refused("checkpoint rm"))
    yield Route("DELETE", "/containers/{name}", router.remove)
