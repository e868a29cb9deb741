"""What a build's stages are from, and for, and what each begins with: shared by the solver and by those who look before
it for what would end the build, so that both see the same variables.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import GLOBAL, platform_arguments
from rundlet.builder.dockerfile.environments import undefined_in_from
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse_instruction
from rundlet.builder.dockerfile.suggest import did_you_mean
from rundlet.builder.graph import PlannedStage, plan
from rundlet.builder.namedcontexts import IMAGE, is_directory, named
from rundlet.builder.request import BuildRequest
from rundlet.builder.state import StageState
from rundlet.errors import RundletError
from rundlet.image.records import Image, Layer
from rundlet.oci.config import ContainerConfig, ImageConfig
from rundlet.oci.platform import Platform

_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Plan(msgspec.Struct, frozen=True):
    """``values`` are the global arguments; ``stages`` what there is to do, in the file's order."""

    request: BuildRequest
    values: Mapping[str, str]
    stages: tuple[PlannedStage, ...]


def work_out(request: BuildRequest, targets: Sequence[str] = ()) -> Plan:
    """The plan of what ``request`` wants built, or of the ``targets`` in its place. Raises DockerfileError; without
    BuildKit's rules CyclicStagesError and OwnStageError, too."""
    values = global_arguments(request)
    bases = _stage_bases(request, values)
    found: dict[int, PlannedStage] = {}
    for target in targets or (request.target,):
        try:
            stages = plan(request.dockerfile, target, bases, request.contexts, every=not request.buildkit)
        except DockerfileError:
            raise
        except RundletError as exc:
            if not request.buildkit:
                raise
            position = request.dockerfile.stage(target).position
            raise DockerfileError(str(exc), position.line, position.end) from exc
        found |= {one.stage.index: one for one in stages}
    return Plan(request, values, tuple(found[index] for index in sorted(found)))


# ── what FROM says ───────────────────────────────────────────────────────────────────────────────────────────────


def global_arguments(request: BuildRequest) -> dict[str, str]:
    """What FROM can see. Raises DockerfileError."""
    values = platform_arguments(Platform.host(), request.platform, request.target)
    for name in GLOBAL & set(request.arguments):
        values[name] = request.arguments[name] or ""
    for instruction in request.dockerfile.global_args:
        for variable in instruction.variables:
            value = _argument_value(request, variable, Expander(values, request.dockerfile.directives.escape), values)
            if value is not None:
                values[variable.name] = value
    return values


def _stage_bases(request: BuildRequest, values: Mapping[str, str]) -> dict[int, tuple[str, str]]:
    """Image or stage, and platform ("" for none), of every stage. Raises DockerfileError."""
    expander = Expander(values, request.dockerfile.directives.escape)
    bases = {}
    for stage in request.dockerfile.stages:
        base = expander.word(stage.base)
        if not base:
            raise DockerfileError(f"base name ({stage.base}) should not be blank", stage.position.line)
        bases[stage.index] = (base, _platform(request, stage, expander, values))
    return bases


def _platform(request: BuildRequest, stage: ast.Stage, expander: Expander, values: Mapping[str, str]) -> str:
    """``FROM --platform``, "" for none. Raises DockerfileError where BuildKit looks at once."""
    platform = expander.word(stage.platform)
    if not stage.platform or not request.buildkit:
        return platform
    unknown = undefined_in_from(request.dockerfile, stage, values)
    hint = did_you_mean(unknown[0], sorted(values)) if unknown else ""
    if not platform:
        raise _wrong(stage, f"empty platform value from expression {stage.platform}{hint}")
    try:
        Platform.parse(platform)
    except RundletError as exc:
        raise _wrong(stage, f"failed to parse platform {stage.platform}: {exc}{hint}") from exc
    return platform


def _wrong(stage: ast.Stage, why: str) -> DockerfileError:
    return DockerfileError(why, stage.position.line, stage.position.end)


class Base(msgspec.Struct, frozen=True):
    """What a stage that is from no other one stands on. ``given``: its platform was asked for. ``files``: the name of a
    directory rather than that of an image; where both are "" it stands on nothing."""

    platform: Platform
    given: bool
    image: str = ""
    files: str = ""


def base_of(request: BuildRequest, planned: PlannedStage) -> Base:
    """Raises InvalidPlatformError."""
    platform = Platform.parse(planned.platform) if planned.platform else request.platform
    given = request.platform_given or bool(planned.platform)
    meant = named(request.contexts, planned.base) or planned.base
    if is_directory(meant):
        return Base(platform, given, files=meant)
    image = meant.removeprefix(IMAGE)
    return Base(platform, given, image="" if image == "scratch" else image)


# ── what a stage's instructions see ──────────────────────────────────────────────────────────────────────────────


def beginning(config: ImageConfig, stack: tuple[Layer, ...] = (), image: Image | None = None) -> StageState:
    """A stage's first state. Docker gives an image without PATH the default one."""
    state = StageState(config, stack, image)
    env = state.container.env or []
    if any(item.startswith("PATH=") for item in env):
        return state
    return state.changed(msgspec.structs.replace(state.container, env=[*env, f"PATH={_DEFAULT_PATH}"]))


def empty(request: BuildRequest, platform: Platform) -> StageState:
    """The first state of a stage that stands on nothing."""
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        config=ContainerConfig(working_dir="/" if request.buildkit else ""),
    )
    return beginning(config)


def inherited(request: BuildRequest, base: StageState) -> StageState:
    """The first state of a stage that is from another one, whose last state is ``base``."""
    arguments = base.arguments if request.buildkit else {}
    return msgspec.structs.replace(base, arguments=arguments, command_set=False)


def triggered(
    request: BuildRequest, planned: PlannedStage, state: StageState
) -> tuple[StageState, list[ast.Instruction]]:
    """The state without the triggers of what the stage stands on, and the triggers. Raises DockerfileError."""
    position, found = planned.stage.position, []
    for text in state.container.on_build or ():
        try:
            found.append(parse_instruction(text, request.dockerfile.directives.escape))
        except DockerfileError as exc:
            # Its line is that of no file.
            raise DockerfileError(exc.why, position.line, position.end) from exc
    if not found:
        return state, found
    return state.changed(msgspec.structs.replace(state.container, on_build=None)), found


def declared(plan: Plan, state: StageState, instruction: ast.Arg) -> StageState:
    """The state with what ARG declares. Raises DockerfileError."""
    arguments = dict(state.arguments)
    for variable in instruction.variables:
        known = {name: value for name, value in arguments.items() if value is not None}
        expander = Expander({**state.environment(), **known}, plan.request.dockerfile.directives.escape)
        # One without a value leaves the value that an earlier ARG of the stage has given.
        arguments[variable.name] = _argument_value(plan.request, variable, expander, {**known, **plan.values})
    return msgspec.structs.replace(state, arguments=arguments)


def _argument_value(
    request: BuildRequest, variable: ast.Variable, expander: Expander, known: Mapping[str, str]
) -> str | None:
    """What ARG makes of ``variable``; None for no value. Raises DockerfileError."""
    given = request.arguments.get(variable.name)
    if given is not None:
        return given
    if variable.value is not None:
        return expander.word(variable.value)
    return known.get(variable.name)
