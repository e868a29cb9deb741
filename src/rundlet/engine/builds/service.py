"""``POST /build``: the request is understood, a workspace made, the builder set to work, its progress streamed."""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from rundlet.api import jsonstream
from rundlet.api.builds import (
    BuildErrorDetail,
    BuildFailure,
    BuildOptions,
    BuildProgress,
    BuildPruned,
    BuildPruneOptions,
    CacheUsage,
    ContextListing,
    ContextWanted,
    Location,
    SecretsLent,
)
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.streams import Attachment
from rundlet.builder.dockerfile.arguments import MULTI_PLATFORM
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.errors import LocatedError
from rundlet.builder.namedcontexts import is_remote
from rundlet.builder.report import Reporter
from rundlet.builder.request import BuildRequest
from rundlet.builder.state import StageState
from rundlet.builder.urls import Downloads
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds import attestations, calls, checks, indexes
from rundlet.engine.builds.classic import ClassicReporter
from rundlet.engine.builds.contexts import Read
from rundlet.engine.builds.kept import KeptContexts
from rundlet.engine.builds.lendings import Lendings, Lent
from rundlet.engine.builds.packing import MAIN, Packing, Repacker, packings
from rundlet.engine.builds.pruning import BuildCacheService
from rundlet.engine.builds.requests import (
    build_request,
    check,
    flag_of,
    is_whole,
    names_here,
    platforms,
    stays,
    travels,
    with_platform,
    without_effect,
)
from rundlet.engine.builds.results import Results
from rundlet.engine.builds.rich import RichReporter
from rundlet.engine.builds.supplies import RequestSupply, Supply
from rundlet.engine.builds.work import BuildRooms, Work
from rundlet.engine.builds.workspaces import workspace_of
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, RundletError
from rundlet.image.leases import Lease
from rundlet.image.records import Image
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.util.ids import short
from rundlet.util.tasks import all_of

_QUIET_MESSAGES = 10_000
"""Of a quiet build this much is said after all when it fails."""
_CLOSING = 15.0
"""Seconds that builds have to clear up behind them."""
Message = JSONMessage | BuildProgress | BuildFailure


class _Built(msgspec.Struct, frozen=True):
    """What one platform led to. ``began`` in nanoseconds since the epoch; ``used`` are its base images, ``stages`` what
    its stages came to."""

    state: StageState
    request: BuildRequest
    began: int
    used: dict[str, Image]
    stages: list[Image]

    @property
    def image(self) -> Image:
        assert self.state.image is not None
        return self.state.image


class BuildService:
    """Implements the builds router's backend."""

    def __init__(self, context: Context, rooms: BuildRooms) -> None:
        self._context = context
        self._rooms = rooms
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.ended = asyncio.Event()
        """Set by each build's end."""
        self.kept = KeptContexts(context.layout, context.clock)
        self.lendings = Lendings(context, self.kept)
        self._attester = attestations.Attester(context)
        self._results = Results(context, rooms)
        self._pruning = BuildCacheService(
            context, rooms.cache, rooms.mounts, self.kept, rooms.remover, rooms.leases, rooms.urls
        )

    async def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        """An error before the first message is raised, a later one is the last message."""
        check(options)
        if options.call:
            calls.kind_of(options.call)
        return self._messages(options, RequestSupply(options, body, self.kept, self._rooms.http))

    async def build_of(self, options: BuildOptions, supply: Supply) -> AsyncGenerator[Message, None]:
        """The same of what ``supply`` brings."""
        check(options)
        return self._messages(options, supply)

    async def prune(self, options: BuildPruneOptions, *, told: bool = True) -> BuildPruned:
        """``told``: an event says so. Raises InvalidParameterError."""
        return await self._pruning.prune(options, told=told)

    async def usage(self) -> Sequence[CacheUsage]:
        return await self._pruning.usage()

    async def cancel(self, build_id: str) -> None:
        """End the build that was given this ID; none is no error."""
        task = self._running.get(build_id)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """The engine ends, and its builds with it: their containers and directories are removed while it still can."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSING)

    async def lend_secrets(self, session: str, lent: SecretsLent) -> None:
        """Raises InvalidParameterError."""
        try:
            secrets = {name: base64.b64decode(value, validate=True) for name, value in lent.secrets.items()}
        except binascii.Error as exc:
            raise InvalidParameterError("a secret is not base64") from exc
        self.lendings.add_secrets(session, secrets)

    async def lend_context(self, session: str, name: str, body: AsyncIterator[bytes], announced: str) -> None:
        """Raises BadContextError, NotFoundError."""
        await self.lendings.expire()
        await self.lendings.add_context(session, name, body, announced)

    async def announce_context(self, key: str, listing: ContextListing) -> ContextWanted:
        """What of a context the build that follows must bring. Raises InvalidParameterError."""
        return await self.kept.announce(key, listing.entries)

    async def lend_agent(self, session: str, name: str) -> Attachment:
        return self.lendings.add_agent(session, name)

    async def load(self, archive: AsyncIterator[bytes], platform: str) -> list[Image]:
        """Images that come as an archive, for a build to stand on. Raises ArchiveError and what loading raises."""
        loaded = await self._rooms.loader.load(archive, platform=platform, named=False, progress=lambda _state: None)
        return [one.image for one in loaded]

    async def root_files(self, image: str) -> AsyncIterator[bytes]:
        """An image's files as a tar. Raises NoSuchImageError."""
        return await self._results.root_files(image)

    # ── one build ────────────────────────────────────────────────────────────────────────────────────────────

    async def _messages(self, options: BuildOptions, supply: Supply) -> AsyncGenerator[Message, None]:
        queue: asyncio.Queue[Message | None] = asyncio.Queue()
        reporter: RichReporter | ClassicReporter = (
            RichReporter(queue.put_nowait, self._context.clock) if options.rich else ClassicReporter(queue.put_nowait)
        )
        task = asyncio.create_task(self._work(options, supply, reporter, queue.put_nowait))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: queue.put_nowait(None))
        task.add_done_callback(lambda _task: self.ended.set())
        if options.build_id:
            self._running[options.build_id] = task
        said = False
        kept_quiet: list[Message] = []
        try:
            while (message := await queue.get()) is not None:
                shown = isinstance(message, JSONMessage) and message.aux is not None and options.rich
                if not options.quiet or not isinstance(message, JSONMessage) or shown:
                    said = True
                    yield message
                elif len(kept_quiet) < _QUIET_MESSAGES:
                    kept_quiet.append(message)
            try:
                state = task.result()
            except RundletError as exc:
                if not said and not kept_quiet and not options.rich:
                    raise
                for message in kept_quiet:
                    yield message
                yield _failure(exc, options)
                return
            except asyncio.CancelledError:
                yield jsonstream.failure("build cancelled")
                return
            if state is not None and not options.rich:
                for last in _last(state, options):
                    yield last
        finally:
            self._running.pop(options.build_id, None)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def _work(
        self,
        options: BuildOptions,
        supply: Supply,
        reporter: RichReporter | ClassicReporter,
        emit: Callable[[Message], None],
    ) -> StageState | None:
        lent = self.lendings.take(options.session)
        try:
            async with (
                workspace_of(self._context) as workspace,
                self._rooms.leases.lease() as lease,
                supply.supplied(workspace, lent, emit) as found,
            ):
                verdict = checks.verdict(
                    found, options, self._context.images, asked=bool(options.check or options.call)
                )
                if options.check:
                    emit(checks.answer(found, verdict))
                    return None
                if options.call:
                    emit(calls.answer(options.call, found, verdict, options).message())
                    return None
                checks.say(verdict, reporter, options)
                for warning in without_effect(options):
                    reporter.warning(warning)
                await self.lendings.fetch(lent, filter(is_remote, options.contexts.values()), self._rooms.http)
                try:
                    return await self._build(found, options, workspace, lent, lease, reporter, emit)
                except LocatedError as exc:
                    exc.source = found.text
                    raise
        finally:
            await asyncio.shield(self.lendings.release(lent))

    async def _build(
        self,
        found: Read,
        options: BuildOptions,
        workspace: Workspace,
        lent: Lent,
        lease: Lease,
        reporter: RichReporter | ClassicReporter,
        emit: Callable[[Message], None],
    ) -> StageState:
        context = self._context
        built = await self._solved(found, options, workspace, lent, lease, reporter)
        if travels(options):
            whole = any(is_whole(target) for target in options.cache_to)
            built = [await self._prepared(one, whole=whole) for one in built]
        main = built[-1]
        image = main.image
        targets = await self._targets(built, options, found, workspace, lease)
        target = targets.get(MAIN)
        context.events.publish("image", "create", str(image.id), {**image.labels, "name": str(image.id)})
        for reference in names_here(options):
            await context.images.tag(image, reference, target or image.manifest)
            context.events.publish("image", "tag", str(image.id), {**image.labels, "name": reference.familiar})
        images, stages = [one.image for one in built], [stage for one in built for stage in one.stages]
        aux = await self._results.finish(main.state, main.request, options, emit, targets, images, stages)
        if options.recorded:
            aux["Provenance"] = self._provenance(built, options, found)
        for made in () if options.rich else dict.fromkeys(str(stage.id) for stage in stages if stage.id != image.id):
            emit(jsonstream.aux({"ID": made}))  # the classic builder tells of every stage, the last one last
        emit(jsonstream.aux(aux))
        for one in built:
            # What the classic builder's stages come to are images like others, but for their names.
            for result in {image.id: image for image in (one.image, *(() if options.rich else one.stages))}.values():
                await asyncio.to_thread(self._settle, result, stays=stays(options))
        return main.state

    async def _solved(
        self,
        found: Read,
        options: BuildOptions,
        workspace: Workspace,
        lent: Lent,
        lease: Lease,
        reporter: RichReporter | ClassicReporter,
    ) -> list["_Built"]:
        """A result for each platform; with the classic builder, whose text is one story, one after the other."""
        context, targets = self._context, platforms(options)

        downloads = Downloads(self._rooms.http, self._rooms.urls, lambda: workspace.directory("download"))

        def work_of(reporter: Reporter) -> Work:
            return Work(context, self._rooms, workspace, lease, reporter, lent, options.auth, downloads)

        whole = work_of(reporter)
        async with whole.agents() as agents:
            request = build_request(options, found.dockerfile, lent.secrets, agents)
            caches = whole.caches(request, targets)

            async def solve(platform: Platform) -> _Built:
                began = context.clock.now_ns()
                several = len(targets) > 1
                work = work_of(reporter.of_platform(str(platform)) if several else reporter)
                given = several or bool(options.platform)
                state = await work.solve(with_platform(request, platform, given=given), caches)
                assert state.image is not None
                await lease.hold(state.image.id)
                return _Built(state, request, began, work.used, work.stages)

            built: list[_Built] = []
            try:
                await caches.find(request.cache_from)
                if options.rich:
                    built = await all_of([solve(platform) for platform in targets])
                else:
                    for platform in targets:
                        built.append(await solve(platform))
            finally:
                await caches.forget({stage.id for one in built for stage in one.stages})
        return built

    async def _prepared(self, one: "_Built", *, whole: bool) -> "_Built":
        """Before anything speaks of its manifest: a push of a loaded base's plain layers would make another. ``whole``:
        the stages leave, too."""
        prepare = self._rooms.pusher.prepare
        image = await prepare(one.image)
        leaving = [await prepare(stage) for stage in one.stages] if whole else one.stages
        return msgspec.structs.replace(one, state=msgspec.structs.replace(one.state, image=image), stages=leaving)

    async def _targets(
        self, built: Sequence["_Built"], options: BuildOptions, found: Read, workspace: Workspace, lease: Lease
    ) -> dict[int, Descriptor]:
        """What the names (MAIN) and each output are to point at, where that is not the image's own manifest."""
        kept = frozenset(
            layer.blob.digest
            for one in built
            for base in one.used.values()
            for layer in self._context.images.layers(base.id)
        )
        repacker = Repacker(self._context, lease, kept)
        made: dict[Packing, Descriptor | None] = {}
        targets: dict[int, Descriptor] = {}
        for number, packing in packings(options.outputs).items():
            if packing not in made:
                maker = indexes.IndexMaker(self._context, lease, repacker)
                made[packing] = await self._target(built, options, found, workspace, maker, packing)
            if (target := made[packing]) is not None:
                targets[number] = target
        return targets

    async def _target(
        self,
        built: Sequence["_Built"],
        options: BuildOptions,
        found: Read,
        workspace: Workspace,
        maker: indexes.IndexMaker,
        packing: Packing,
    ) -> Descriptor | None:
        """An index, or a manifest that is not the image's own; None for that."""
        wanted = attestations.parse(options.attests)
        annotations = indexes.parse_annotations(options.annotations)
        several = bool(wanted or annotations.of_an_index or len(built) > 1 or flag_of(options, MULTI_PLATFORM))
        if not several and not annotations and packing == Packing():
            return None
        parts: list[indexes.Part] = []
        for one in reversed(built):
            now = self._context.clock.now_ns()
            facts = attestations.facts_of(one.request, options, found.text, one.used, one.began, now, wanted)
            names = [tag.familiar for tag in one.request.tags]
            manifest = await maker.manifest(one.image, annotations, packing)
            stated = await self._attester.statements(one.image, manifest.digest, names, wanted, facts, workspace)
            parts.append(indexes.Part(one.image, manifest, stated))
        if several:
            return await maker.finish(parts, annotations)
        await maker.keep(parts[0].image)
        return parts[0].manifest

    def _provenance(self, built: Sequence["_Built"], options: BuildOptions, found: Read) -> dict[str, tuple[str, str]]:
        wanted, now = attestations.parse(options.attests), self._context.clock.now_ns()
        return {
            str(one.image.platform): attestations.predicate(
                one.image,
                attestations.facts_of(one.request, options, found.text, one.used, one.began, now, wanted),
                wanted.version,
            )
            for one in built
        }

    def _settle(self, image: Image, *, stays: bool) -> None:
        if stays:
            self._rooms.cache.mark_result(image)
        self._rooms.cache.flush()


def _failure(error: RundletError, options: BuildOptions) -> Message:
    code = getattr(error, "code", 0)
    if not options.rich:
        return jsonstream.failure(str(error), code)
    location, text = None, ""
    if isinstance(error, LocatedError):
        location = Location(error.position.line, error.position.end)
        text = error.source
    elif isinstance(error, DockerfileError) and error.line:
        location = Location(error.line, error.end)
    return BuildFailure(BuildErrorDetail(code, str(error), location, text), str(error))


def _last(state: StageState, options: BuildOptions) -> list[JSONMessage]:
    assert state.image is not None
    if options.quiet:
        return [jsonstream.stream(f"{state.image.id}\n")]
    found = [jsonstream.stream(f"Successfully built {short(state.image.id.encoded)}\n")]
    names = dict.fromkeys(Reference.parse(tag).with_default_tag().familiar for tag in options.tags)
    return found + [jsonstream.stream(f"Successfully tagged {name}\n") for name in names]
