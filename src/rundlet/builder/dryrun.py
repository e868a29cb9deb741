"""What ends a build before any of its steps is carried out, as far as the file alone tells. ``--check`` tells, too."""

from collections.abc import Callable, Mapping

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.graph import PlannedStage, plan
from rundlet.builder.modes import parse_chmod
from rundlet.builder.namedcontexts import IMAGE, named
from rundlet.builder.planning import argument_value, global_arguments, stage_bases
from rundlet.builder.request import BuildRequest
from rundlet.errors import RundletError

EnvironmentOf = Callable[[str], Mapping[str, str] | None]
"""The environment of an image's containers; None where nobody knows."""


class _Known(msgspec.Struct, frozen=True):
    """The variables of a stage. ``whole``: there are no others, of an image that is not here, or by triggers."""

    environment: Mapping[str, str] = {}
    arguments: Mapping[str, str] = {}
    whole: bool = True


def mistake(request: BuildRequest, environment_of: EnvironmentOf, *, every: bool) -> DockerfileError | None:
    """The first one of the stages that the target needs; of ``every`` stage where no target is given."""
    try:
        values = global_arguments(request)
        known: dict[int, _Known] = {}
        for planned in _stages(request, stage_bases(request, values), every=every):
            known[planned.stage.index] = _walked(
                request, planned, values, _beginning(planned, known, request, environment_of)
            )
    except DockerfileError as exc:
        return exc
    return None


def needed(request: BuildRequest, *, every: bool) -> frozenset[int] | None:
    """The stages that the target needs, or ``every`` one without a target; None where the file doesn't tell."""
    try:
        stages = _stages(request, stage_bases(request, global_arguments(request)), every=every)
    except DockerfileError:
        return None
    return frozenset(planned.stage.index for planned in stages)


def _stages(request: BuildRequest, bases: Mapping[int, tuple[str, str]], *, every: bool) -> list[PlannedStage]:
    targets = [request.target]
    if every and not request.target:
        targets = [str(stage.index) for stage in request.dockerfile.stages]
    found: dict[int, PlannedStage] = {}
    for target in targets:
        try:
            found |= {one.stage.index: one for one in plan(request.dockerfile, target, bases, request.contexts)}
        except DockerfileError:
            raise
        except RundletError as exc:
            position = request.dockerfile.stage(target).position
            raise DockerfileError(str(exc), position.line, position.end) from exc
    return [found[index] for index in sorted(found)]


def _beginning(
    planned: PlannedStage, known: Mapping[int, _Known], request: BuildRequest, environment_of: EnvironmentOf
) -> _Known:
    if planned.base_stage is not None:
        return known[planned.base_stage]
    meant = (named(request.contexts, planned.base) or planned.base).removeprefix(IMAGE)
    environment = {} if meant == "scratch" else environment_of(meant)
    return _Known(environment or {}, whole=environment is not None)


def _walked(request: BuildRequest, planned: PlannedStage, values: Mapping[str, str], known: _Known) -> _Known:
    """The variables at the stage's end. Raises DockerfileError."""
    environment, arguments = dict(known.environment), dict(known.arguments)
    for instruction in planned.stage.instructions:
        expander = Expander({**arguments, **environment}, request.dockerfile.directives.escape)
        try:
            if isinstance(instruction, ast.Arg):
                for variable in instruction.variables:
                    value = argument_value(request, variable, expander, {**arguments, **values})
                    arguments |= {} if value is None else {variable.name: value}
                continue
            expanded = instruction.expanded(expander)
            if isinstance(expanded, ast.Transfer) and expanded.chmod:
                parse_chmod(expanded.chmod)
        except DockerfileError as exc:
            if expander.unmatched and not known.whole:
                continue  # the image may have what is missing
            raise exc.at(instruction.position.line, instruction.position.end) from exc
        if isinstance(expanded, ast.Env):
            environment |= {pair.key: pair.value for pair in expanded.pairs}
    triggers = any(isinstance(instruction, ast.Onbuild) for instruction in planned.stage.instructions)
    return _Known(environment, arguments, known.whole and not triggers)
