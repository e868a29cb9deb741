"""What Docker's rules of style say about a build's Dockerfile: for ``--check``, and at the side of every build."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from rundlet.api import jsonstream
from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.builder import dryrun
from rundlet.builder.dockerfile import lint
from rundlet.builder.dockerfile.ast import Position, Warning_
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.planning import Base, Plan, work_out
from rundlet.builder.report import Reporter
from rundlet.builder.request import BuildRequest
from rundlet.engine.builds.contexts import Read
from rundlet.engine.builds.requests import build_request, platforms, with_platform
from rundlet.errors import RundletError
from rundlet.image import variants
from rundlet.image.store import ImageStore
from rundlet.oci.config import ImageConfig
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


class Verdict(msgspec.Struct, frozen=True):
    """What is to be said of a file. ``mistake`` ends a build of it before its first step; ``violation`` is that it has
    warnings, where they are said to be errors."""

    warnings: Sequence[Warning_] = ()
    mistake: DockerfileError | None = None
    violation: DockerfileError | None = None

    @property
    def wrong(self) -> DockerfileError | None:
        """What BuildKit says first."""
        return self.mistake or self.violation


def verdict(found: Read, options: BuildOptions, images: ImageStore, *, asked: bool) -> Verdict:
    """Of base images those count that are here, of stages those that are needed; where nothing but the verdict is
    ``asked`` for, and no target given, every one.

    Raises DockerfileError for a directive that can't be read, InvalidParameterError.
    """
    plans: list[Plan] = []
    mistake: DockerfileError | None = None
    try:
        plans = _plans(found, options, every=asked and not options.target)
        mistakes = (dryrun.mistake(plan, partial(_config_of, images, plan.request)) for plan in plans)
        mistake = next(filter(None, mistakes), None)
    except DockerfileError as exc:
        mistake = exc
    warnings = _warnings(found, options, images, plans)
    violation = None
    if lint.fails(found.dockerfile, warnings, _settings(options)):
        rules = ", ".join(dict.fromkeys(item.rule for item in warnings))
        place = warnings[0].position
        violation = DockerfileError(f"lint violation found for rules: {rules}", place.line, place.end)
    return Verdict(warnings, mistake, violation)


def _plans(found: Read, options: BuildOptions, *, every: bool) -> list[Plan]:
    """One for each platform. Raises DockerfileError."""
    request = build_request(options, found.dockerfile, {}, {})
    targets = [str(stage.index) for stage in found.dockerfile.stages] if every else []
    several = platforms(options)
    given = len(several) > 1 or bool(options.platform)
    return [work_out(with_platform(request, platform, given=given), targets) for platform in several]


def _config_of(images: ImageStore, request: BuildRequest, base: Base) -> ImageConfig | None:
    """Of the image that the build will take; None where its registry has to be asked, or it has to be sent first."""
    if request.pull:
        return None
    try:
        return images.config(variants.choose(images, base.image, str(base.platform) if base.given else "").id)
    except RundletError:
        return None


def _warnings(found: Read, options: BuildOptions, images: ImageStore, plans: Sequence[Plan]) -> list[Warning_]:
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
    if not plans:
        return warnings  # the file doesn't tell what is needed
    needed = {planned.stage.index for plan in plans for planned in plan.stages}
    left_out = [stage.extent for stage in found.dockerfile.stages if stage.index not in needed]
    return [one for one in warnings if one.rule not in _OF_STEPS or not _within(one.position, left_out)]


def _within(position: Position, extents: Sequence[Position]) -> bool:
    return any(extent.line <= position.line <= extent.end for extent in extents)


def before(wrong: DockerfileError) -> list[Warning_]:
    """What is said of a file that can't be read, of the lines before ``wrong``."""
    head = wrong.text.splitlines(keepends=True)[: max(wrong.line - 1, 0)]
    try:
        return [one for one in lint.check(parse("".join(head).encode())) if one.rule in _WHILE_READING]
    except DockerfileError:
        return []


def _settings(options: BuildOptions) -> lint.Settings | None:
    given = options.build_args.get(_ARGUMENT)
    return lint.Settings.parse(given) if given else None


def answer(found: Read, said: Verdict) -> JSONMessage:
    """What ``--check`` is told; ``Error`` is there where warnings are said to be errors, or the build would fail."""
    rows = [
        {"rule": item.rule, "text": item.text, "line": item.position.line, "end": item.position.end}
        for item in said.warnings
    ]
    told: dict[str, object] = {"ID": _CHECK, "Warnings": rows, "Source": found.text}
    if said.wrong is not None:
        told["Error"] = said.wrong.why
    if said.mistake is not None:
        told |= {"ErrorLine": said.mistake.line, "ErrorEnd": said.mistake.end}
    return jsonstream.aux(told)


def say(said: Verdict, reporter: Reporter, options: BuildOptions) -> None:
    """Warn, but not with the classic builder, whose mistakes show at their steps. Raises DockerfileError."""
    for item in said.warnings if options.rich else ():
        reporter.warning(f"{item.rule}: {item.text} (line {item.position.line})")
    wrong = said.wrong if options.rich else said.violation
    if wrong is not None:
        raise wrong
