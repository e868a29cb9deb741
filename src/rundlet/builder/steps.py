"""What every kind of step needs: looking up, recording an image, reporting; and the order in which that is done.

A step is looked up by its exact key; then by its result key; then it is carried out. While it is, no other build
carries out the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from rundlet.builder.cache import BuildCache
from rundlet.builder.report import Reporter, Step
from rundlet.builder.state import StageState, key_of, with_history
from rundlet.errors import NoSuchImageError
from rundlet.image.assembly import assemble
from rundlet.image.holding import hold_image
from rundlet.image.leases import Lease
from rundlet.image.records import Image, Layer
from rundlet.image.store import ImageStore
from rundlet.oci.config import ContainerConfig, History, ImageConfig
from rundlet.storage.snapshot import Snapshotter
from rundlet.util.clock import Clock, rfc3339_nano

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_COMMENT: Final = "buildkit.dockerfile.v0"
"""What every entry of BuildKit's histories has."""


class Work(msgspec.Struct, frozen=True):
    """One step to be looked up or carried out.

    ``state`` is what the step leads to, but for its layer. ``created_by`` is what the history says ("":
    nothing), ``result`` (a key) what decides its files, None for a step without any. ``cacheable``: whether it may be
    looked up.
    """

    step: Step
    before: StageState
    state: StageState
    created_by: str
    result: str | None = None
    cacheable: bool = True
    kind: str = "regular"
    comment: str = ""
    move: Callable[[Layer], Awaitable[Layer]] | None = None
    """Where the step's layer does not depend on those below: puts another build's on top of them."""


class CacheSource(msgspec.Struct, frozen=True):
    """An image of ``--cache-from``: what made it, and its layers."""

    image: Image
    history: tuple[History, ...]
    stack: tuple[Layer, ...]
    keys: Mapping[str, str] = {}


class Recorder:
    """Turns steps into images; one per build."""

    def __init__(
        self,
        images: ImageStore,
        snapshots: Snapshotter,
        cache: BuildCache,
        clock: Clock,
        reporter: Reporter,
        lease: Lease,
        epoch: int | None,
        *,
        sources_alone: bool = False,
        buildkit: bool = False,
    ) -> None:
        """``sources_alone``: earlier builds are no cache, only :attr:`sources` are. ``buildkit``: histories are as
        BuildKit writes them."""
        self._buildkit = buildkit
        self.images = images
        self._snapshots = snapshots
        self._cache = cache
        self._clock = clock
        self.reporter = reporter
        self.lease = lease
        self._epoch = epoch
        self._sources_alone = sources_alone
        self.sources: list[CacheSource] = []
        self._kept: list[str] = []

    async def carry_out(self, work: Work, action: Callable[[], Awaitable[Layer | None]]) -> StageState:
        """The state after ``work``; ``action`` makes its layer when no earlier build has."""
        exact = self._exact(work)
        if work.cacheable:
            found = await self._known(work, exact)
            if found is not None:
                return found
        async with self._alone(work):
            if work.cacheable:
                found = await self._known(work, exact)
                if found is not None:
                    return found
            layer = await action()
            return await self._record(work, layer, exact)

    async def _none(self) -> Layer | None:
        return None

    async def metadata(self, work: Work) -> StageState:
        """The state after a step that has no files of its own."""
        return await self.carry_out(work, self._none)

    async def bare(self, state: StageState, *, cacheable: bool) -> StageState:
        """An image of a stage without a single step: ``FROM scratch`` alone, as BuildKit makes it."""
        key = key_of("bare", msgspec.to_builtins(state.config), self._epoch)
        image = self._cache.find(key) if cacheable and not self._sources_alone else None
        if image is not None:
            await self.lease.hold(image.id, image.manifest.digest)
        if image is None or self.images.find(image.id) is None:
            created = self._now_ns()
            config = msgspec.structs.replace(state.config, created=rfc3339_nano(created))
            image = await assemble(self.images, self.lease, config, (), created_ns=created, parent=None)
            await asyncio.to_thread(self._cache.put, [key], image, kind="regular", description="FROM scratch", size=0)
        return msgspec.structs.replace(state, config=self.images.config(image.id), image=image)

    def _now_ns(self) -> int:
        return self._epoch * 10**9 if self._epoch is not None else self._clock.now_ns()

    @asynccontextmanager
    async def _alone(self, work: Work) -> "AsyncIterator[None]":
        if work.result is None or not work.cacheable:
            yield
            return
        async with self._cache.alone(work.result):
            yield

    def alone(self, result: str) -> AbstractAsyncContextManager[None]:
        """While it is held no build carries out the step with this key."""
        return self._cache.alone(result)

    def has_result(self, result: str) -> bool:
        """Whether an earlier build may be asked for the step with this key."""
        return not self._sources_alone and self._cache.find(result) is not None

    async def loose(self, result: str) -> Layer | None:
        """A layer that another build under way has made before its step's turn."""
        layer = self._cache.loose.get(result)
        if layer is None:
            return None
        await self.lease.hold(layer.blob.digest)
        return layer if self.images.content.has(layer.blob.digest) else None

    def keep_loose(self, result: str, layer: Layer) -> None:
        """For other builds of the same, as long as this one is under way."""
        self._cache.loose[result] = layer
        self._kept.append(result)

    def close(self) -> None:
        """The build has ended."""
        for result in self._kept:
            self._cache.loose.pop(result, None)

    def _exact(self, work: Work) -> str:
        return key_of(
            "image",
            work.before.parent,
            work.created_by,
            work.comment,
            work.result,
            work.state.config.author,
            msgspec.to_builtins(work.state.container),
            self._epoch,
        )

    async def _known(self, work: Work, exact: str) -> StageState | None:
        if self._sources_alone:
            return await self._imported(work, exact)
        image = self._cache.find(exact)
        if image is not None and (state := await self._held(work, image)) is not None:
            self.reporter.cached(work.step)
            return state
        if work.result is None:
            return await self._imported(work, exact)
        image = self._cache.find(work.result)
        if image is None:
            return await self._imported(work, exact)
        stack = self.images.layers(image.id)
        if work.move is not None:
            return await self._moved(work, stack[-1], exact) if stack else None
        before = [layer.chain for layer in work.before.stack]
        if [layer.chain for layer in stack[: len(before)]] != before or len(stack) > len(before) + 1:
            return None
        layer = stack[-1] if len(stack) > len(before) else None
        if layer is not None:
            await self.lease.hold(layer.chain, layer.blob.digest)
            if not self._snapshots.has_layer(layer.chain) or not self.images.content.has(layer.blob.digest):
                return None
        self.reporter.cached(work.step)
        return await self._record(work, layer, exact)

    async def _moved(self, work: Work, layer: Layer, exact: str) -> StageState | None:
        assert work.move is not None
        await self.lease.hold(layer.blob.digest)
        if not self.images.content.has(layer.blob.digest):
            return None
        self.reporter.cached(work.step)
        return await self._record(work, await work.move(layer), exact)

    async def _imported(self, work: Work, exact: str) -> StageState | None:
        """The same step in the history of an image that was given with --cache-from."""
        before = [step.created_by for step in work.before.config.history or ()]
        depth = len(work.before.stack)
        for source in self.sources:
            steps = source.history
            if [step.created_by for step in steps[: len(before)]] != before:
                continue
            if [layer.chain for layer in source.stack[:depth]] != [layer.chain for layer in work.before.stack]:
                continue
            added = 1 if work.created_by else 0
            if len(steps) < len(before) + added or (added and not self._is(source, len(before), work)):
                continue
            if len(steps) == len(before) + added and (state := await self._same(work, source.image)) is not None:
                self.reporter.cached(work.step)
                return state
            if not added:
                continue
            found = steps[len(before)]
            layer = None if found.empty_layer else source.stack[depth]
            self.reporter.cached(work.step)
            return await self._record(work, layer, exact, found.created)
        return None

    def _is(self, source: CacheSource, place: int, work: Work) -> bool:
        """Whether the step at ``place`` is ``work``. The classic builder's text tells of contents, BuildKit's does not:
        there the key has to be known."""
        if source.history[place].created_by != work.created_by:
            return False
        return not self._buildkit or source.keys.get(str(place)) == work.result

    async def _same(self, work: Work, image: Image) -> StageState | None:
        """``image`` itself, where it is all that ``work`` leads to: so what was loaded or pulled keeps its ID."""
        config = self.images.config(image.id)
        if config.config != work.state.container or config.author != work.state.config.author:
            return None
        state = await self._held(work, image)
        if state is not None and work.before.image is not None:
            await self.images.adopt(image.id, work.before.image.id)
        return state

    async def _held(self, work: Work, image: Image) -> StageState | None:
        """The image's state, with all of it leased; None when some of it has just gone."""
        try:
            whole = await hold_image(self.images, self.lease, image.id)
        except NoSuchImageError:
            return None
        stack = tuple(whole.layers)
        if not all(self._snapshots.has_layer(layer.chain) for layer in stack[len(work.before.stack) :]):
            return None
        return msgspec.structs.replace(work.state, config=self.images.config(image.id), stack=stack, image=whole.image)

    def _with_step(self, work: Work, layer: Layer | None, when: str) -> ImageConfig:
        config = work.state.config
        if not work.created_by:
            return config
        history = History(
            created=when,
            author="" if self._buildkit else config.author,
            created_by=work.created_by,
            comment=work.comment or (_COMMENT if self._buildkit else ""),
            empty_layer=layer is None,
        )
        if self._buildkit and work.result is not None:
            place = str(len(config.history or ()))
            config = msgspec.structs.replace(config, steps={**(config.steps or {}), place: work.result})
        return with_history(config, history)

    async def _record(self, work: Work, layer: Layer | None, exact: str, when: str | None = None) -> StageState:
        """``when``: what the history says about the step that was found elsewhere, None for now."""
        created = self._now_ns()
        config = msgspec.structs.replace(
            self._with_step(work, layer, when if when and self._epoch is None else rfc3339_nano(created)),
            created=rfc3339_nano(created),
            config=work.state.config.config or ContainerConfig(),
            container="",
            container_config=None,
            docker_version="",
            comment="",
        )
        stack = (*work.before.stack, layer) if layer is not None else work.before.stack
        parent = work.before.image.id if work.before.image is not None else None
        image = await assemble(self.images, self.lease, config, stack, created_ns=created, parent=parent)
        keys = [exact] if work.result is None else [exact, work.result]
        size = layer.size if layer is not None else 0
        said = work.created_by or work.step.text
        await asyncio.to_thread(self._cache.put, keys, image, kind=work.kind, description=said, size=size)
        return msgspec.structs.replace(work.state, config=config, stack=stack, image=image)
