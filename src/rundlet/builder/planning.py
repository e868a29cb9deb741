"""What a build's stages are from, and for: the global arguments, and FROM with its variables replaced."""

from collections.abc import Mapping

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import GLOBAL, platform_arguments
from rundlet.builder.dockerfile.environments import undefined_in_from
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.suggest import did_you_mean
from rundlet.builder.request import BuildRequest
from rundlet.errors import RundletError
from rundlet.oci.platform import Platform


def global_arguments(request: BuildRequest) -> dict[str, str]:
    """What FROM can see. Raises DockerfileError."""
    values = platform_arguments(Platform.host(), request.platform, request.target)
    for name in GLOBAL & set(request.arguments):
        values[name] = request.arguments[name] or ""
    for instruction in request.dockerfile.global_args:
        for variable in instruction.variables:
            value = argument_value(request, variable, Expander(values, request.dockerfile.directives.escape), values)
            if value is not None:
                values[variable.name] = value
    return values


def argument_value(
    request: BuildRequest, variable: ast.Variable, expander: Expander, known: Mapping[str, str]
) -> str | None:
    """What ARG makes of ``variable``; None for no value. Raises DockerfileError."""
    given = request.arguments.get(variable.name)
    if given is not None:
        return given
    if variable.value is not None:
        return expander.word(variable.value)
    return known.get(variable.name)


def stage_bases(request: BuildRequest, values: Mapping[str, str]) -> dict[int, tuple[str, str]]:
    """Image or stage, and platform ("" for none), of every stage. ``values`` are the global arguments.

    Raises DockerfileError.
    """
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
