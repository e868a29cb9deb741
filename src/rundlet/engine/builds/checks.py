"""What Docker's rules of style say about a build's Dockerfile: for ``--check``, and at the side of every build."""

from collections.abc import Sequence
from typing import Final

from rundlet.api import jsonstream
from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.builder import dryrun
from rundlet.builder.dockerfile import lint
from rundlet.builder.dockerfile.ast import Position, Warning_
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.report import Reporter
from rundlet.engine.builds.contexts import Read
from rundlet.engine.builds.requests import build_request, platforms
from rundlet.errors import RundletError
from rundlet.image.store import ImageStore
from rundlet.oci.platform import Platform

_CHECK = "rundlet.build.check"
_OF_STEPS: Final = frozenset(
    "UndefinedVar JSONArgsRecommended MultipleInstructionsDisallowed LegacyKeyValueFormat SecretsUsedInArgOrEnv "
    "WorkdirRelativePath ExposeProtoCasing ExposeInvalidFormat CopyIgnoredFile InvalidBaseImagePlatform".split()
)
"""Rules about steps: BuildKit looks at those that a build has."""
_WHILE_READING: Final = frozenset(
    "StageNameCasing FromAsCasing MaintainerDeprecated NoEmptyContinuation InvalidDefinitionDescription".split()
)
"""Rules that BuildKit looks at line by line."""
_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that takes the place of a file's ``check`` directive."""


def findings(found: Read, options: BuildOptions, images: ImageStore) -> list[Warning_]:
    """The rules that the file breaks. Of base images those count that are here, of steps those of stages that are
    needed. Raises DockerfileError."""

    def base_environment(name: str) -> frozenset[str] | None:
        try:
            config = images.config(images.get(name).id)
        except RundletError:
            return None
        values = (config.config.env if config.config is not None else None) or ()
        return frozenset(value.partition("=")[0] for value in values) | {"PATH"}

    def base_platform(name: str, wanted: str) -> tuple[str, str] | None:
        try:
            actual = images.get(name).platform
            expected = Platform.parse(wanted) if wanted else platforms(options)[-1]
        except RundletError:
            return None
        if (actual.os, actual.architecture) == (expected.os, expected.architecture):
            return None
        return str(actual), str(expected)

    ignored = found.ignore.ignored if found.ignore else None
    around = lint.Surroundings(ignored, base_environment, base_platform)
    warnings = lint.check(found.dockerfile, around, _settings(options))
    needed = _needed(found, options)
    if needed is None:
        return warnings
    left_out = [stage.extent for stage in found.dockerfile.stages if stage.index not in needed]
    return [one for one in warnings if one.rule not in _OF_STEPS or not _within(one.position, left_out)]


def _needed(found: Read, options: BuildOptions) -> frozenset[int] | None:
    try:
        request = build_request(options, found.dockerfile, {}, {})
    except RundletError:
        return None
    return dryrun.needed(request, every=bool(options.check or options.call))


def _within(position: Position, extents: Sequence[Position]) -> bool:
    return any(extent.line <= position.line <= extent.end for extent in extents)


def mistake(found: Read, options: BuildOptions, images: ImageStore, *, every: bool) -> DockerfileError | None:
    """What would end the build before its first step; ``every``: of a stage that it doesn't need, too."""

    def environment_of(name: str) -> dict[str, str] | None:
        try:
            config = images.config(images.get(name).id)
        except RundletError:
            return None
        container = config.config
        if container is None or container.on_build:
            return None
        return {"PATH": "", **dict(value.partition("=")[::2] for value in container.env or ())}

    try:
        request = build_request(options, found.dockerfile, {}, {})
    except RundletError:
        return None  # of what is asked for, not of the file
    return dryrun.mistake(request, environment_of, every=every)


def before(wrong: DockerfileError) -> list[Warning_]:
    """What is said of a file that can't be read, of the lines before ``wrong``."""
    head = wrong.text.splitlines(keepends=True)[: max(wrong.line - 1, 0)]
    try:
        return [one for one in lint.check(parse("".join(head).encode())) if one.rule in _WHILE_READING]
    except DockerfileError:
        return []


def violation(found: Read, warnings: list[Warning_], options: BuildOptions) -> DockerfileError | None:
    """That the file has warnings, where they are said to be errors."""
    if not lint.fails(found.dockerfile, warnings, _settings(options)):
        return None
    place = warnings[0].position
    return DockerfileError(_violation(warnings), place.line, place.end)


def _settings(options: BuildOptions) -> lint.Settings | None:
    given = options.build_args.get(_ARGUMENT)
    return lint.Settings.parse(given) if given else None


def answer(found: Read, warnings: list[Warning_], wrong: DockerfileError | None, options: BuildOptions) -> JSONMessage:
    """What ``--check`` is told; ``Error`` is there where warnings are said to be errors, or the build would fail."""
    rows = [
        {"rule": item.rule, "text": item.text, "line": item.position.line, "end": item.position.end}
        for item in warnings
    ]
    told: dict[str, object] = {"ID": _CHECK, "Warnings": rows, "Source": found.text}
    if lint.fails(found.dockerfile, warnings, _settings(options)):
        told["Error"] = _violation(warnings)
    if wrong is not None:
        told |= {"Error": wrong.why, "ErrorLine": wrong.line, "ErrorEnd": wrong.end}
    return jsonstream.aux(told)


def _violation(warnings: list[Warning_]) -> str:
    return f"lint violation found for rules: {', '.join(dict.fromkeys(item.rule for item in warnings))}"


def say(found: Read, warnings: list[Warning_], reporter: Reporter, options: BuildOptions) -> None:
    """Warn, but not with the classic builder. Raises DockerfileError where warnings are said to be errors."""
    for item in warnings if options.rich else ():
        reporter.warning(f"{item.rule}: {item.text} (line {item.position.line})")
    if (wrong := violation(found, warnings, options)) is not None:
        raise wrong
