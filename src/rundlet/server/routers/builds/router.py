"""``/build``."""

import base64
import binascii
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from aiohttp import web

from rundlet.api import filters
from rundlet.api.builds import BuildOptions, BuildPruneOptions, ContextListing, Output, SecretsLent, Ulimit
from rundlet.api.images import AuthConfig
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.call import platform as platform_of
from rundlet.server.hijack import Hijack
from rundlet.server.routers.builds.backend import BuildBackend, BuildKitBackend
from rundlet.server.routing import Route, WhenClientLeaves

T = TypeVar("T")
_BUILDKIT = "2"
_H2C = "h2c"
_RICH = "application/vnd.rundlet.build.v1+json"


class BuildRouter:
    """Parses, calls, encodes."""

    def __init__(self, backend: BuildBackend, buildkit: BuildKitBackend) -> None:
        self._backend = backend
        self._buildkit = buildkit

    async def build(self, call: Call) -> web.StreamResponse:
        options = _options(call)
        if options.version == _BUILDKIT:
            return await answers.progress_stream(call, self._buildkit.build(options, call.body()))
        messages = await self._backend.build(options, call.body())
        return await answers.progress_stream(call, messages)

    async def cancel(self, call: Call) -> web.StreamResponse:
        if not call.text("id"):
            raise InvalidParameterError("build ID not provided")
        await self._backend.cancel(call.text("id"))
        return answers.empty(204)

    async def prune(self, call: Call) -> web.StreamResponse:
        options = BuildPruneOptions(
            filters=call.filters(filters.BUILD_PRUNE),
            everything=call.flag("all"),
            reserved_space=call.integer("reserved-space") or call.integer("keep-storage") or 0,
            max_used_space=call.integer("max-used-space") or 0,
            min_free_space=call.integer("min-free-space") or 0,
        )
        return answers.json(await self._backend.prune(options))

    async def secrets(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: what a build that follows may borrow."""
        await self._backend.lend_secrets(call["session"], await call.json(SecretsLent))
        return answers.empty(204)

    async def context(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: a further context, or what the engine wanted of one that was announced to it."""
        await self._backend.lend_context(call["session"], call["name"], call.body(), call.text("context"))
        return answers.empty(204)

    async def listing(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: what a context will hold, for which much may be here already."""
        listing = await call.json(ContextListing)
        return answers.json(await self._backend.announce_context(call["key"], listing))

    async def agent(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: a line to the client's SSH agent."""
        hijack = Hijack(call)
        attachment = await self._backend.lend_agent(call["session"], call["name"])
        return await hijack.join(attachment, stdin=True, detach_keys=b"")

    async def root_files(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: an image's files, for outputs that are files."""
        return await answers.bytes_stream(call, await self._backend.root_files(call["name"]), answers.TAR)

    async def session(self, call: Call) -> web.StreamResponse:
        """BuildKit's protocol: a client serves what its builds will ask for."""
        hijack = Hijack(call)
        _check_upgrade(call)
        methods = call.request.headers.getall("X-Docker-Expose-Session-Grpc-Method", ())
        attachment = self._buildkit.session(
            call.header("X-Docker-Expose-Session-Uuid"),
            call.header("X-Docker-Expose-Session-Sharedkey"),
            frozenset(method.lower() for method in methods),
        )
        return await hijack.join(attachment, stdin=True, detach_keys=b"")

    async def control(self, call: Call) -> web.StreamResponse:
        """BuildKit's protocol: the services that a client asks for builds."""
        hijack = Hijack(call)
        _check_upgrade(call)
        return await hijack.join(self._buildkit.control(), stdin=True, detach_keys=b"")


def _options(call: Call) -> BuildOptions:
    return BuildOptions(
        dockerfile=call.text("dockerfile"),
        tags=tuple(tag for tag in call.texts("t") if tag),
        extra_hosts=_words(call, "extrahosts"),
        remote=call.text("remote"),
        quiet=call.flag("q"),
        no_cache=call.flag("nocache"),
        no_cache_filter=_json(call, "nocachefilter", tuple[str, ...], ()),
        cache_from=_json(call, "cachefrom", tuple[str, ...], ()),
        cache_to=_json(call, "cacheto", tuple[str, ...], ()),
        pull=call.flag("pull"),
        remove=call.flag("rm", default=call.version >= APIVersion(1, 12)),
        force_remove=call.flag("forcerm"),
        memory=call.integer("memory") or 0,
        memory_swap=call.integer("memswap") or 0,
        cpu_shares=call.integer("cpushares") or 0,
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        cpu_period=call.integer("cpuperiod") or 0,
        cpu_quota=call.integer("cpuquota") or 0,
        build_args=_json(call, "buildargs", dict[str, str | None], {}),
        shm_size=call.integer("shmsize") or 0,
        squash=call.flag("squash"),
        labels=_json(call, "labels", dict[str, str], {}),
        network_mode=call.text("networkmode"),
        platform=platform_of(call),
        target=call.text("target"),
        outputs=_json(call, "outputs", tuple[Output, ...], ()),
        version=call.text("version"),
        build_id=call.text("buildid"),
        security=_words(call, "securityopt"),
        ulimits=_json(call, "ulimits", tuple[Ulimit, ...], ()),
        cgroup_parent=call.text("cgroupparent"),
        isolation=call.text("isolation"),
        auth=_header(call, "X-Registry-Config", dict[str, AuthConfig]),
        rich=_RICH in call.header("Accept"),
        session=call.text("session"),
        contexts=_json(call, "contexts", dict[str, str], {}),
        allow=_json(call, "allow", tuple[str, ...], ()),
        attests=_json(call, "attests", tuple[str, ...], ()),
        annotations=_json(call, "annotations", tuple[str, ...], ()),
        check=call.flag("check"),
        call=call.text("call"),
        context=call.text("context"),
        signed_only=call.flag("signedonly"),
    )


def _json(call: Call, key: str, kind: type[T], default: T) -> T:
    text = call.text(key)
    if not text or text == "null":
        return default
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise InvalidParameterError(f"error reading {key}: {exc}") from exc


def _words(call: Call, key: str) -> tuple[str, ...]:
    """Docker's client sends a JSON list, or the parameter several times."""
    values = call.texts(key)
    if len(values) == 1 and values[0].startswith("["):
        return _json(call, key, tuple[str, ...], ())
    return tuple(word for value in values for word in value.split(",") if word)


def _header(call: Call, name: str, kind: type[dict[str, T]]) -> dict[str, T]:
    encoded = call.header(name)
    if not encoded:
        return {}
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        data = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
        return msgspec.json.decode(data, type=kind | None) or {}  # Go's client sends null when it has none
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as exc:
        raise InvalidParameterError(f"the header {name} can't be read") from exc


def _check_upgrade(call: Call) -> None:
    protocol = call.header("Upgrade")
    if not protocol:
        raise InvalidParameterError("no upgrade proto in request")
    if protocol.lower() != _H2C:
        raise InvalidParameterError(f"protocol {protocol} not supported")


def routes(backend: BuildBackend, buildkit: BuildKitBackend) -> Iterable[Route]:
    """Bind the backends."""
    router = BuildRouter(backend, buildkit)
    own = "/rundlet/builds/{session}"
    yield Route("POST", "/build", router.build, WhenClientLeaves.CANCEL)
    yield Route("POST", "/build/cancel", router.cancel)
    yield Route("POST", "/build/prune", router.prune)
    yield Route("POST", "/rundlet/contexts/{key}", router.listing)
    yield Route("POST", f"{own}/secrets", router.secrets)
    yield Route("POST", f"{own}/contexts/{{name}}", router.context, WhenClientLeaves.CANCEL)
    yield Route("POST", f"{own}/ssh/{{name}}", router.agent, WhenClientLeaves.CANCEL)
    yield Route("GET", "/rundlet/images/{name}/root", router.root_files, WhenClientLeaves.CANCEL)
    yield Route("POST", "/session", router.session, WhenClientLeaves.CANCEL)
    yield Route("POST", "/grpc", router.control, WhenClientLeaves.CANCEL)
