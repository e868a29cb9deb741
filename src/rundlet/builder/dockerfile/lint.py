"""``build --check``: Docker's rules about Dockerfiles that work but shouldn't be written like that.

Names and texts are those of docs.docker.com/reference/build-checks. Each rule is a generator over the whole file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import GLOBAL
from rundlet.builder.dockerfile.ast import Dockerfile, Instruction, Position, Stage, Warning_
from rundlet.builder.dockerfile.environments import undefined_in_from, undefined_variables
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.suggest import did_you_mean

_SECRETS: Final = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRETS: Final = re.compile(r"(?:_|^)public(?:_|$)", re.IGNORECASE)
_RESERVED: Final = frozenset(("context", "scratch"))
_TARGET_PLATFORM: Final = re.compile(r"\$(?:TARGETPLATFORM|\{TARGETPLATFORM(?:\}|[^\w}][^}]*\}))\Z")
_IMAGE_NAME: Final = re.compile(r"(?:[a-z0-9][a-z0-9._/-]*|[\w.-]+(?::\d+)?/[a-z0-9][a-z0-9._/-]*)(?:[:@][\w.:@-]+)?\Z")
_ONCE: Final = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_EXPERIMENTAL: Final = frozenset(("copyignoredfile", "invaliddefinitiondescription"))
"""Rules that a file has to ask for."""
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_BOOLEANS: Final = _TRUE | {"0", "f", "F", "FALSE", "false", "False"}
_WORDS: Final = re.compile(r"[\t\v\f\r ]+")


class Surroundings(msgspec.Struct, frozen=True):
    """What a rule may know besides the file. ``ignored`` says what .dockerignore leaves out; ``base_environment`` names
    the variables that an image sets, None where nobody knows; ``base_platform`` is an image's platform where that is
    not the one (the second argument, "" for the build's) that it should have: (the one it has, the one it should have).
    """

    ignored: Callable[[str], bool] | None = None
    base_environment: Callable[[str], frozenset[str] | None] | None = None
    base_platform: Callable[[str, str], tuple[str, str] | None] | None = None


class Settings(msgspec.Struct, frozen=True):
    """The ``check`` directive: rules that are left out, experimental ones that are not (``all`` for every one), and
    whether warnings are errors."""

    skip: frozenset[str] = frozenset()
    error: bool = False
    experimental: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Settings":
        """``skip=A,B;error=true;experimental=C``. Raises DockerfileError."""
        skip: frozenset[str] = frozenset()
        experimental: frozenset[str] = frozenset()
        error = False
        for part in filter(None, text.split(";")):
            key, equals, value = part.partition("=")
            key, value = key.strip().lower(), value.strip()
            if key == "skip" and equals:
                skip = _names(value)
            elif key == "error" and equals:
                if value not in _BOOLEANS:
                    shown = msgspec.json.encode(part.strip()).decode()
                    raise DockerfileError(
                        f"failed to parse check options: failed to parse check option {shown}: strconv.ParseBool: "
                        f"parsing {msgspec.json.encode(value).decode()}: invalid syntax"
                    )
                error = value in _TRUE
            elif key == "experimental" and equals:
                experimental = _names(value)
            else:
                raise DockerfileError(f'failed to parse check options: invalid check option "{key}"')
        return cls(skip, error, experimental)

    def keeps(self, rule: str) -> bool:
        name = rule.lower()
        if name in _EXPERIMENTAL and not self.experimental & {"all", name}:
            return False
        return not self.skip & {"all", name}


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(","))


def check(
    dockerfile: Dockerfile, around: Surroundings | None = None, settings: Settings | None = None
) -> list[Warning_]:
    """What is to be said about ``dockerfile``, by line. ``settings`` take the place of its ``check`` directive.

    Raises DockerfileError for a directive that can't be read.
    """
    settings = settings or Settings.parse(dockerfile.directives.check)
    around = around or Surroundings()
    found = [*dockerfile.warnings]
    for rule in _RULES:
        found += rule(dockerfile, around)
    kept = {(one.rule, one.text, one.position): one for one in found if settings.keeps(one.rule)}
    return sorted(kept.values(), key=lambda one: one.position.line)


def fails(dockerfile: Dockerfile, warnings: Iterable[Warning_], settings: Settings | None = None) -> bool:
    """Whether the file, or ``settings`` in its place, says that its warnings are errors, and has some."""
    settings = settings or Settings.parse(dockerfile.directives.check)
    return settings.error and any(True for _ in warnings)


Rule = Callable[[Dockerfile, Surroundings], Iterator[Warning_]]


def _instructions(dockerfile: Dockerfile) -> Iterator[tuple[Stage | None, Instruction]]:
    for argument in dockerfile.global_args:
        yield None, argument
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            yield stage, instruction


def _keyword(code: str) -> str:
    """An instruction's first word, as it was written."""
    return _WORDS.split(code, maxsplit=1)[0]


def _stage_words(stage: Stage) -> tuple[str, str, str]:
    """(from, as, name) of a stage as they were written; empty where there is no name."""
    words = _WORDS.split(stage.code)
    return (words[0], words[-2], words[-1]) if stage.name else (words[0], "", "")


def _stage_names(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        start, mark, name = _stage_words(stage)
        if not name:
            continue
        if name != name.lower():
            yield Warning_("StageNameCasing", f"Stage name '{name}' should be lowercase", stage.position)
        # Of a FROM in mixed letters another rule complains already.
        if start in (start.lower(), start.upper()) and mark != (mark.lower() if start.islower() else mark.upper()):
            yield Warning_("FromAsCasing", f"'{mark}' and '{start}' keywords' casing do not match", stage.position)
        if stage.name in seen:
            text = f'Duplicate stage name "{stage.name}", stage names should be unique'
            yield Warning_("DuplicateStageName", text, stage.position)
        if stage.name in _RESERVED:
            text = f'Stage name should not use the same name as reserved stage "{stage.name}"'
            yield Warning_("ReservedStageName", text, stage.position)
        seen.add(stage.name)


def _keyword_casing(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    places = [(_keyword(stage.code), stage.position) for stage in dockerfile.stages]
    places += [(_keyword(item.code), item.position) for stage, item in _instructions(dockerfile) if stage is not None]
    cases = Counter("lower" if word.islower() else "upper" if word.isupper() else "mixed" for word, _ in places)
    lower = cases["lower"] > cases["upper"]
    for word, position in places:
        if word != (word.lower() if lower else word.upper()):
            majority = "lowercase" if lower else "uppercase"
            text = f"Command '{word}' should match the case of the command majority ({majority})"
            yield Warning_("ConsistentInstructionCasing", text, position)


def _shell_forms(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    chosen: dict[str, bool] = {}
    for stage in dockerfile.stages:
        # Who has chosen a shell, in a stage below too, wants one.
        own = chosen.get(stage.base.lower(), False)
        for instruction in stage.instructions:
            own = own or isinstance(instruction, ast.Shell)
            if isinstance(instruction, (ast.Cmd, ast.Entrypoint)) and instruction.shell and not own:
                text = (
                    f"JSON arguments recommended for {_keyword(instruction.code)} to prevent unintended behavior "
                    "related to OS signals"
                )
                yield Warning_("JSONArgsRecommended", text, instruction.position)
        if stage.name:
            chosen[stage.name] = own


def _once(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    for stage in dockerfile.stages:
        for keyword in _ONCE:
            found = [one for one in stage.instructions if one.keyword == keyword]
            for one, following in pairwise(found):
                text = (
                    f"Multiple {_keyword(following.code)} instructions should not be used in the same stage because "
                    "only the last one will be used"
                )
                yield Warning_("MultipleInstructionsDisallowed", text, one.position)


def _old_forms(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    for _, instruction in _instructions(dockerfile):
        word = _keyword(instruction.code)
        if isinstance(instruction, (ast.Env, ast.Label)) and any(pair.legacy for pair in instruction.pairs):
            text = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
            yield Warning_("LegacyKeyValueFormat", text, instruction.position)
        if isinstance(instruction, ast.Maintainer):
            text = "Maintainer instruction is deprecated in favor of using label"
            yield Warning_("MaintainerDeprecated", text, instruction.position)


def _secrets(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    for _, instruction in _instructions(dockerfile):
        names: list[str] = []
        if isinstance(instruction, ast.Arg):
            names = [variable.name for variable in instruction.variables]
        elif isinstance(instruction, ast.Env):
            names = [pair.key for pair in instruction.pairs]
        for name in names:
            if _SECRETS.search(name) and not _NO_SECRETS.search(name):
                text = f'Do not use ARG or ENV instructions for sensitive data ({instruction.keyword} "{name}")'
                yield Warning_("SecretsUsedInArgOrEnv", text, instruction.position)


def _platforms(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    for stage in dockerfile.stages:
        if _TARGET_PLATFORM.match(stage.platform):
            text = (
                f"Setting platform to predefined {stage.platform} in FROM is redundant as this is the default behavior"
            )
            yield Warning_("RedundantTargetPlatform", text, stage.position)
        elif stage.platform and "$" not in stage.platform:
            # A stage for one platform that says so is meant like that.
            if stage.name and any(word and word in stage.name for word in stage.platform.split("/")[:2]):
                continue
            text = f'FROM --platform flag should not use constant value "{stage.platform}"'
            yield Warning_("FromPlatformFlagConstDisallowed", text, stage.position)


def _ports(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    for _, instruction in _instructions(dockerfile):
        for port in instruction.ports if isinstance(instruction, ast.Expose) else ():
            number, slash, protocol = port.partition("/")
            if slash and "$" not in protocol and protocol != protocol.lower():
                text = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                yield Warning_("ExposeProtoCasing", text, instruction.position)
            if ":" in number and "$" not in number:
                text = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                yield Warning_("ExposeInvalidFormat", text, instruction.position)


def _directories(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    settled: dict[str, bool] = {}
    for stage in dockerfile.stages:
        known = settled.get(stage.base.lower(), False)
        for instruction in stage.instructions:
            if not isinstance(instruction, ast.Workdir):
                continue
            if not known and not instruction.path.startswith(("/", "$")):
                text = f'Relative workdir "{instruction.path}" can have unexpected results if the base image changes'
                yield Warning_("WorkdirRelativePath", text, instruction.position)
            known = True
        settled[stage.name or str(stage.index)] = known


def _ignored_sources(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    if around.ignored is None:
        return
    for _, instruction in _instructions(dockerfile):
        if not isinstance(instruction, (ast.Copy, ast.Add)):
            continue
        if isinstance(instruction, ast.Copy) and instruction.from_:
            continue
        for source in instruction.sources:
            path = source.removeprefix("./").strip("/")
            if "$" in source or "://" in source or path in ("", ".") or any(letter in path for letter in "*?["):
                continue
            if around.ignored(path):
                word = instruction.keyword.capitalize()
                text = f'Attempting to {word} file "{source}" that is excluded by .dockerignore'
                yield Warning_("CopyIgnoredFile", text, instruction.position)


def _from_arguments(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    declared = {variable.name for argument in dockerfile.global_args for variable in argument.variables}
    for stage in dockerfile.stages:
        for name in undefined_in_from(dockerfile, stage, GLOBAL | declared):
            hint = did_you_mean(name, sorted(GLOBAL | declared))
            yield Warning_("UndefinedArgInFrom", f"FROM argument '{name}' is not declared{hint}", stage.position)


def _from_defaults(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    """Base images that the global arguments' defaults alone lead to."""
    values = dict.fromkeys(GLOBAL, "x")
    for argument in dockerfile.global_args:
        for variable in argument.variables:
            if variable.value is not None:
                values[variable.name] = _quietly(variable.value, values, dockerfile)
    stages = {stage.name for stage in dockerfile.stages}
    for stage in dockerfile.stages:
        if stage.base.lower() in stages:
            continue
        try:
            name = Expander(values, dockerfile.directives.escape).word(stage.base)
        except DockerfileError:
            continue  # the build says so
        if not _IMAGE_NAME.match(name) or name.endswith((":", "@", "/")) or ":@" in name:
            text = f"Default value for ARG {stage.base} results in empty or invalid base image name"
            yield Warning_("InvalidDefaultArgInFrom", text, stage.position)


def _base_platforms(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    """Base images of another platform than the build's."""
    stages = {stage.name for stage in dockerfile.stages} | {"scratch"}
    for stage in dockerfile.stages:
        if around.base_platform is None or "$" in stage.base + stage.platform or stage.base.lower() in stages:
            continue
        mismatch = around.base_platform(stage.base, stage.platform)
        if mismatch is not None:
            actual, expected = mismatch
            text = (
                f'Base image {stage.base} was pulled with platform "{actual}", expected "{expected}" for current build'
            )
            yield Warning_("InvalidBaseImagePlatform", text, stage.position)


def _quietly(text: str, values: Mapping[str, str], dockerfile: Dockerfile) -> str:
    try:
        return Expander(values, dockerfile.directives.escape).word(text)
    except DockerfileError:
        return ""


def _variables(dockerfile: Dockerfile, around: Surroundings) -> Iterator[Warning_]:
    for instruction, name, known in undefined_variables(dockerfile, around.base_environment):
        hint = did_you_mean(name, sorted(known)).replace("mean ", "mean $")
        position: Position = instruction.position
        yield Warning_("UndefinedVar", f"Usage of undefined variable '${name}'{hint}", position)


_RULES: Final[tuple[Rule, ...]] = (
    _stage_names,
    _keyword_casing,
    _shell_forms,
    _once,
    _old_forms,
    _secrets,
    _platforms,
    _ports,
    _directories,
    _ignored_sources,
    _from_defaults,
    _from_arguments,
    _base_platforms,
    _variables,
)
