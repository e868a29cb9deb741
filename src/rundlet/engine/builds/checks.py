"""What Docker's rules of style say about a build's Dockerfile: for ``--check``, and at the side of every build."""

from rundlet.api import jsonstream
from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.builder import dryrun
from rundlet.builder.dockerfile import lint
from rundlet.builder.dockerfile.ast import Warning_
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.report import Reporter
from rundlet.engine.builds.contexts import Read
from rundlet.engine.builds.requests import build_request, platforms
from rundlet.errors import RundletError
from rundlet.image.store import ImageStore
from rundlet.oci.platform import Platform

_CHECK = "rundlet.build.check"
_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that takes the place of a file's ``check`` directive."""


def findings(found: Read, options: BuildOptions, images: ImageStore) -> list[Warning_]:
    """The rules that the file breaks. Of base images those count that are here. Raises DockerfileError."""

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
    return lint.check(found.dockerfile, around, _settings(options))


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
    if lint.fails(found.dockerfile, warnings, _settings(options)):
        raise DockerfileError(_violation(warnings))
