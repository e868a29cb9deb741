"""What ends a build before any of its steps is carried out, as far as the file alone tells. ``--check`` tells, too.

The steps' own rules are followed, without the steps. Where a base image isn't known, its variables may be anything, and
win over what ARG declares: what depends on more than the stage's own ENV is left to the steps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.errors import BuildError, words_of
from rundlet.builder.graph import PlannedStage
from rundlet.builder.metadata import apply, with_directory, working_directory
from rundlet.builder.modes import parse_chmod
from rundlet.builder.mounts import placed
from rundlet.builder.planning import Base, Plan, base_of, beginning, declared, empty, inherited, triggered
from rundlet.builder.state import StageState
from rundlet.builder.transfers import check_sources
from rundlet.errors import RundletError
from rundlet.oci.config import ImageConfig

ConfigOf = Callable[[Base], ImageConfig | None]
"""The configuration of the image that a build would take; None where nobody knows."""


class _Known(msgspec.Struct, frozen=True):
    """Where a stage stands. ``whole``: it has no other variables; else those of ``state`` are sure, and no others."""

    state: StageState
    whole: bool = True


def mistake(plan: Plan, config_of: ConfigOf) -> DockerfileError | None:
    """The first one of the plan's stages."""
    known: dict[int, _Known] = {}
    for planned in plan.stages:
        try:
            known[planned.stage.index] = _walked(plan, planned, _beginning(plan, planned, known, config_of))
        except RundletError as exc:
            wrong = exc if isinstance(exc, DockerfileError) else DockerfileError(str(exc))
            return wrong.at(planned.stage.position.line, planned.stage.position.end)
    return None


def _beginning(plan: Plan, planned: PlannedStage, known: Mapping[int, _Known], config_of: ConfigOf) -> _Known:
    """Raises InvalidPlatformError."""
    if planned.base_stage is not None:
        before = known[planned.base_stage]
        return _Known(inherited(plan.request, before.state), before.whole)
    base = base_of(plan.request, planned)
    if not base.image:
        return _Known(empty(plan.request, base.platform))
    config = config_of(base)
    if config is not None:
        return _Known(beginning(config))
    return _Known(StageState(ImageConfig(architecture=base.platform.architecture, os=base.platform.os)), whole=False)


def _walked(plan: Plan, planned: PlannedStage, known: _Known) -> _Known:
    """The stage's end. Raises DockerfileError."""
    state, triggers = triggered(plan.request, planned, known.state)
    for instruction, position in _instructions(planned, triggers):
        try:
            after = _after(plan, state, instruction, whole=known.whole)
        except DockerfileError as exc:
            raise exc.at(position.line, position.end) from exc
        except BuildError as exc:
            why = words_of(exc, buildkit=plan.request.buildkit)
            raise DockerfileError(why, position.line, position.end) from exc
        state = after
    return _Known(state, known.whole)


def _instructions(
    planned: PlannedStage, triggers: Iterable[ast.Instruction]
) -> Iterator[tuple[ast.Instruction, ast.Position]]:
    """Those of the stage, after its base's triggers, which are where FROM is."""
    for instruction in triggers:
        yield instruction, planned.stage.position
    for instruction in planned.stage.instructions:
        yield instruction, instruction.position


def _after(plan: Plan, state: StageState, instruction: ast.Instruction, *, whole: bool) -> StageState:
    """Raises DockerfileError, BuildError."""
    if isinstance(instruction, ast.Arg):
        return declared(plan, state, instruction) if whole else state
    expander = Expander(state.environment(), plan.request.dockerfile.directives.escape)
    try:
        expanded = instruction.expanded(expander)
        if isinstance(expanded, ast.Transfer):
            check_sources(expanded)
            parse_chmod(expanded.chmod or "0")
        change = apply(state, expanded, buildkit=plan.request.buildkit)
    except (DockerfileError, BuildError):
        if whole or not expander.unmatched:
            raise
        expanded, change = instruction, None
    if not whole and expander.unmatched and isinstance(expanded, ast.Env):
        # Which of its names, and to what, depends on the image.
        return state.changed(msgspec.structs.replace(state.container, env=None))
    if change is not None:
        return change.state
    if not whole:
        return state  # where the image's own directory is nobody knows
    if isinstance(expanded, ast.Workdir):
        return with_directory(state, working_directory(state, expanded.path))
    for mount in expanded.mounts if isinstance(expanded, ast.Run) else ():
        placed(mount, state.directory)
    return state
