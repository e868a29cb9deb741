"""Carries a build out: stages side by side, each as soon as what it stands on is there; unused stages not at all."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec

from rundlet.builder.ahead import Ahead, is_separate
from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import is_known
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse_instruction
from rundlet.builder.errors import BuildError, LocatedError, words_of
from rundlet.builder.graph import PlannedStage, find_stage, sources
from rundlet.builder.metadata import NOP, apply, with_directory, working_directory
from rundlet.builder.naming import step_names
from rundlet.builder.planning import base_of, beginning, declared, empty, inherited, triggered, work_out
from rundlet.builder.report import Reporter, Step
from rundlet.builder.request import BuildRequest
from rundlet.builder.runs import Runs
from rundlet.builder.state import StageState
from rundlet.builder.steps import Recorder, Work
from rundlet.builder.transfers import Brought, Transfers
from rundlet.errors import RundletError
from rundlet.image.holding import hold_image
from rundlet.image.leases import Lease
from rundlet.image.records import Image
from rundlet.image.store import ImageStore
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference


class BaseImages(Protocol):
    """Finds images, pulling them where that is needed."""

    async def get(self, reference: str, platform: Platform, *, given: bool, pull: bool, step: Step) -> Image: ...


class Solver:
    """One per build: :meth:`solve` once."""

    def __init__(
        self,
        request: BuildRequest,
        images: ImageStore,
        bases: BaseImages,
        recorder: Recorder,
        lease: Lease,
        reporter: Reporter,
    ) -> None:
        self._request = request
        self._images = images
        self._bases = bases
        self._recorder = recorder
        self._lease = lease
        self._reporter = reporter
        self._plan = work_out(request)
        self._used: set[str] = set()
        self._stages: dict[int, asyncio.Future[StageState]] = {}
        self._planned = [self._with_labels(each) if each.stage is self._target else each for each in self._plan.stages]
        self._bases_of: dict[int, tuple[int, int]] = {}
        self._begun: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._numbered = 0
        self._bare: StageState | None = None
        self.transfers: Transfers
        self.runs: Runs

    # ── what there is to do ──────────────────────────────────────────────────────────────────────────────────

    @property
    def _target(self) -> ast.Stage:
        return self._request.dockerfile.stage(self._request.target)

    def _with_labels(self, planned: PlannedStage) -> PlannedStage:
        """``--label`` is a last instruction of the target."""
        labels = sorted(self._request.labels.items())
        if not labels:
            return planned
        label = ast.Label(
            code="LABEL " + " ".join(f"{name}={value}" for name, value in labels),
            position=planned.stage.position,
            pairs=tuple(ast.KeyValue(self._quoted(name), self._quoted(value)) for name, value in labels),
            outside=True,
        )
        instructions = (*planned.stage.instructions, label)
        return msgspec.structs.replace(planned, stage=msgspec.structs.replace(planned.stage, instructions=instructions))

    def _quoted(self, text: str) -> str:
        """``text`` as a word that expands to itself."""
        escape = self._request.dockerfile.directives.escape
        for character in (escape, '"', "$"):
            text = text.replace(character, escape + character)
        return f'"{text}"'

    def _steps(self, stages: Sequence[PlannedStage]) -> dict[int, list[Step]]:
        """The steps of ``stages``, numbered on from those that there are."""
        total = self._numbered + sum(1 + len(planned.stage.instructions) for planned in stages)
        found: dict[int, list[Step]] = {}
        number, self._numbered = self._numbered, total
        for planned in stages:
            stage = planned.stage
            texts = [(stage.code, stage.position), *((item.code, item.position) for item in stage.instructions)]
            names = step_names(planned, self._request.contexts, alone=len(self._request.dockerfile.stages) == 1)
            steps = []
            for (text, position), (label, title) in zip(texts, names, strict=True):
                number += 1
                steps.append(Step(number, total, text, label, title, position))
            found[stage.index] = steps
        return found

    # ── doing it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def solve(self) -> StageState:
        """The target's last state, with an image. Raises LocatedError and what steps raise; others are cancelled."""
        steps = self._steps(self._planned)
        self._reporter.planned([step for each in steps.values() for step in each])
        loop = asyncio.get_running_loop()
        for planned in self._planned:
            self._stages[planned.stage.index] = loop.create_future()
        # By the classic builder's rules a stage finds what the one before it has made.
        groups = [[planned] for planned in self._planned] if self._request.buildkit else [self._planned]
        self._tasks = [
            loop.create_task(self._in_order(group, steps), name=f"stage {group[-1].name}") for group in groups
        ]
        try:
            await self._all_done()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for future in self._stages.values():
                future.cancel()
        unused = [name for name in self._request.arguments if name not in self._used and not is_known(name)]
        if unused and not self._request.buildkit:
            self._reporter.warning(f"[Warning] One or more build-args [{' '.join(sorted(unused))}] were not consumed")
        state = self._stages[self._target.index].result()
        if state.image is not None:
            return state
        if not self._request.buildkit:
            raise BuildError("No image was generated. Is your Dockerfile empty?")
        self._bare = await self._recorder.bare(state, cacheable=not self._request.no_cache)
        return self._bare

    async def _all_done(self) -> None:
        """Until the last stage is done, those that were found to be needed on the way too; raises the first failure."""
        seen: set[asyncio.Task[None]] = set()
        while waiting := set(self._tasks) - seen:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            seen |= done

    def _need(self, index: int) -> None:
        """Begin with a stage, and those that it needs, which nothing but a trigger of a base image asks for."""
        if index in self._stages:
            return
        wanted = work_out(self._request, [str(index)]).stages
        more = [planned for planned in wanted if planned.stage.index not in self._stages]
        steps = self._steps(more)
        self._reporter.planned([step for each in steps.values() for step in each])
        loop = asyncio.get_running_loop()
        for planned in more:
            self._stages[planned.stage.index] = loop.create_future()
        self._planned += more
        self._tasks += [loop.create_task(self._late(each, steps), name=f"stage {each.name}") for each in more]

    async def _late(self, planned: PlannedStage, steps: Mapping[int, list[Step]]) -> None:
        """A stage that others may wait for while nobody waits for this task yet: they are told of its failure."""
        future = self._stages[planned.stage.index]
        try:
            await self._in_order([planned], steps)
        except RundletError as exc:
            if not future.done():
                future.set_exception(exc)
                future.exception()  # it is this task's too: nobody has to ask for it
            raise

    @property
    def base(self) -> tuple[int, int]:
        """Of what the target stands on outside of this build: its layers, and the steps of its history."""
        return self._bases_of[self._target.index]

    @property
    def images(self) -> list[Image]:
        """What the stages have come to, when all is done: the target's first."""
        target = self._stages[self._target.index]
        states = [future.result() for future in (target, *self._stages.values()) if _has_result(future)]
        found = [state.image for state in (self._bare, *states) if state is not None and state.image is not None]
        return list({image.id: image for image in found}.values())

    async def state_of(self, index: int) -> StageState:
        """The last state of stage ``index``, when it is there."""
        return await asyncio.shield(self._stages[index])

    async def _in_order(self, group: list[PlannedStage], steps: Mapping[int, list[Step]]) -> None:
        for planned in group:
            await self._stage(planned, steps[planned.stage.index])

    async def _stage(self, planned: PlannedStage, steps: list[Step]) -> None:
        state = await self._located(steps[0], lambda: self._from(planned, steps[0]))
        state = await self._triggers(planned, state, steps[0])
        ahead = self._ahead(planned, state, steps)
        try:
            for place, (instruction, step) in enumerate(zip(planned.stage.instructions, steps[1:], strict=True)):
                state = await self._located(step, self._instruction(planned, state, instruction, step, ahead.of(place)))
        finally:
            await ahead.close()
        self._stages[planned.stage.index].set_result(state)

    def _ahead(self, planned: PlannedStage, state: StageState, steps: list[Step]) -> Ahead:
        """What the stage's steps need none before them for, begun."""
        cacheable = self._cacheable(planned)

        async def bring(place: int, before: StageState, instruction: ast.Transfer) -> Brought:
            step = steps[place + 1]
            if is_separate(instruction):
                self._begin(step)
            return await self.transfers.ahead(before, instruction, step, cacheable=cacheable)

        escape = self._request.dockerfile.directives.escape
        return Ahead(state, planned.stage.instructions, escape, partial(declared, self._plan), bring)

    def _begin(self, step: Step) -> None:
        """Say that the step has begun, once."""
        if step.number not in self._begun:
            self._begun.add(step.number)
            self._reporter.started(step)

    def _instruction(
        self,
        planned: PlannedStage,
        state: StageState,
        instruction: ast.Instruction,
        step: Step,
        ahead: Awaitable[Brought] | None,
    ) -> Callable[[], Awaitable[StageState]]:
        async def carry_out() -> StageState:
            self._begin(step)
            after = await self._carry_out(planned, state, instruction, step, ahead)
            self._reporter.finished(step, str(after.image.id) if after.image is not None else "")
            return after

        return carry_out

    async def _located(self, step: Step, action: Callable[[], Awaitable[StageState]]) -> StageState:
        try:
            return await action()
        except LocatedError:
            raise
        except RundletError as exc:
            buildkit = self._request.buildkit
            self._reporter.failed(step, words_of(exc, buildkit=buildkit))
            raise LocatedError(exc, step.position, buildkit=buildkit) from exc

    # ── FROM ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _from(self, planned: PlannedStage, step: Step) -> StageState:
        if planned.base_stage is not None:
            base = await self.state_of(planned.base_stage)
            self._bases_of[planned.stage.index] = self._bases_of[planned.base_stage]
            self._reporter.started(step)
            self._reporter.finished(step, str(base.image.id) if base.image is not None else "")
            return inherited(self._request, base)
        self._reporter.started(step)
        request = self._request
        below = base_of(request, planned)
        if below.files:
            return await self._from_files(planned, below.platform, step)
        if not below.image:
            self._reporter.finished(step, "")
            return self._empty(planned, below.platform)
        if request.buildkit:
            try:
                Reference.parse(below.image)
            except RundletError as exc:
                raise DockerfileError(f'failed to parse stage name "{below.image}": {exc}') from exc
        image = await self._bases.get(below.image, below.platform, given=below.given, pull=request.pull, step=step)
        whole = await hold_image(self._images, self._lease, image.id)
        image, stack = whole.image, tuple(whole.layers)
        self._reporter.finished(step, str(image.id))
        config = self._images.config(image.id)
        self._bases_of[planned.stage.index] = (len(stack), len(config.history or ()))
        return beginning(config, stack, image)

    def _empty(self, planned: PlannedStage, platform: Platform) -> StageState:
        """FROM scratch."""
        self._bases_of[planned.stage.index] = (0, 0)
        return empty(self._request, platform)

    async def _from_files(self, planned: PlannedStage, platform: Platform, step: Step) -> StageState:
        """FROM a context that is a directory: its files are all there is."""
        copy = parse_instruction(f"COPY --from={planned.base} . /", self._request.dockerfile.directives.escape)
        assert isinstance(copy, ast.Copy)
        empty = self._empty(planned, platform)
        state = await self.transfers.transfer(empty, copy, step, cacheable=self._cacheable(planned))
        self._reporter.finished(step, str(state.image.id) if state.image is not None else "")
        return state

    async def _triggers(self, planned: PlannedStage, state: StageState, step: Step) -> StageState:
        state, triggers = triggered(self._request, planned, state)
        if not triggers:
            return state
        many = "s" if len(triggers) > 1 else ""
        self._reporter.detail(step, f"# Executing {len(triggers)} build trigger{many}")
        for instruction in triggers:
            for name in sources((instruction,)):
                needed = find_stage(self._request.dockerfile, name, planned.stage.index, self._request.contexts)
                if needed is not None:
                    self._need(needed)
            current = state

            async def carry_out(
                instruction: ast.Instruction = instruction, current: StageState = current
            ) -> StageState:
                return await self._carry_out(planned, current, instruction, step)

            state = await self._located(step, carry_out)
        return state

    # ── the other instructions ───────────────────────────────────────────────────────────────────────────────

    def _cacheable(self, planned: PlannedStage) -> bool:
        return not self._request.no_cache and planned.name not in self._request.no_cache_stages

    async def _carry_out(
        self,
        planned: PlannedStage,
        state: StageState,
        instruction: ast.Instruction,
        step: Step,
        ahead: Awaitable[Brought] | None = None,
    ) -> StageState:
        cacheable = self._cacheable(planned)
        if isinstance(instruction, ast.Arg):
            return await self._arg(state, instruction, step, cacheable)
        expander = Expander(state.environment(), self._request.dockerfile.directives.escape)
        instruction = instruction.expanded(expander)
        change = apply(state, instruction, buildkit=self._request.buildkit)
        if change is not None:
            if isinstance(instruction, ast.Volume) and not self._request.buildkit:
                await self.transfers.check_volumes(state, instruction.paths)
            work = Work(step, state, change.state, change.said, cacheable=cacheable)
            return await self._recorder.metadata(work)
        if isinstance(instruction, ast.Workdir):
            directory = working_directory(state, instruction.path)
            # BuildKit gives the directory to the user who will work there; the classic builder knows root only.
            owner = (state.container.user or "") if self._request.buildkit else ""
            return await self.transfers.directory(
                state, with_directory(state, directory), directory, step, owner=owner, cacheable=cacheable
            )
        if isinstance(instruction, ast.Transfer):
            return await self.transfers.transfer(state, instruction, step, cacheable=cacheable, ahead=ahead)
        assert isinstance(instruction, ast.Run)
        return await self.runs.run(state, instruction, step, cacheable=cacheable)

    async def _arg(self, state: StageState, instruction: ast.Arg, step: Step, cacheable: bool) -> StageState:
        shown = []
        for variable in instruction.variables:
            self._used.add(variable.name)
            default = f"={variable.value}" if variable.value is not None else ""
            shown.append(f"{variable.name}{default}")
        after = declared(self._plan, state, instruction)
        if state.image is None:
            return after
        said = f"{NOP}  ARG {' '.join(shown)}"
        if self._request.buildkit:
            values = {variable.name: after.arguments[variable.name] for variable in instruction.variables}
            said = "ARG " + " ".join(name if value is None else f"{name}={value}" for name, value in values.items())
        return await self._recorder.metadata(Work(step, state, after, said, cacheable=cacheable))


def _has_result(future: asyncio.Future[StageState]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def workers() -> int:
    """RUN steps at a time."""
    return max(2, os.cpu_count() or 2)
