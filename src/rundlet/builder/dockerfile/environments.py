"""Which variables exist where: what FROM and each instruction of a stage can see."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import GLOBAL
from rundlet.builder.dockerfile.ast import Dockerfile, Instruction, Stage
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse_instruction

Known = frozenset[str] | None
"""Names; None where a base image that nobody has looked at may have set any."""


def undefined_in_from(dockerfile: Dockerfile, stage: Stage, declared: Iterable[str]) -> list[str]:
    """Names that FROM uses and that no global ARG declares, sorted."""
    expander = Expander(dict.fromkeys(declared, ""), dockerfile.directives.escape)
    for text in (stage.base, stage.platform):
        _quietly(expander.word, text)
    return sorted(expander.unmatched)


def undefined_variables(
    dockerfile: Dockerfile, base_environment: Callable[[str], Known] | None
) -> Iterator[tuple[Instruction, str, frozenset[str]]]:
    """(instruction, name, names it could have used) for each use of a variable that is not there; one with a default
    is a use, too."""
    known_after: dict[str, Known] = {}
    global_names = {variable.name for argument in dockerfile.global_args for variable in argument.variables}
    for stage in dockerfile.stages:
        names = _at_start(dockerfile, stage, known_after, base_environment)
        for instruction in stage.instructions:
            if names is not None:
                for name in _used(dockerfile, instruction, names):
                    yield instruction, name, names
            added = _added(instruction)
            names = None if names is None else names | added
        for key in (stage.name, str(stage.index)):
            if key:
                known_after[key] = None if names is None else names - (global_names & GLOBAL) | _triggered(stage)


def _at_start(
    dockerfile: Dockerfile,
    stage: Stage,
    known_after: Mapping[str, Known],
    base_environment: Callable[[str], Known] | None,
) -> Known:
    base = stage.base
    if base.lower() in known_after:
        return known_after[base.lower()]
    if base == "scratch":
        return frozenset(("PATH",))
    if "$" in base:
        defaults = {
            variable.name: variable.value or ""
            for argument in dockerfile.global_args
            for variable in argument.variables
        }
        base = _quietly(Expander(defaults, dockerfile.directives.escape).word, base)
    return base_environment(base) if base_environment is not None and base else None


def _used(dockerfile: Dockerfile, instruction: Instruction, names: frozenset[str]) -> list[str]:
    expander = Expander(dict.fromkeys(names, "1"), dockerfile.directives.escape)
    # Nobody asks what a trigger or EXPOSE, which is read in its own way, use.
    if isinstance(instruction, ast.Onbuild | ast.Expose):
        return []
    _quietly(instruction.expanded, expander)
    own: set[str] = set()
    if isinstance(instruction, ast.Arg):
        own = {variable.name for variable in instruction.variables}
    return sorted(expander.unmatched - own)


def _triggered(stage: Stage) -> frozenset[str]:
    """What the stage's triggers add in a stage that stands on it."""
    found: frozenset[str] = frozenset()
    for instruction in stage.instructions:
        if isinstance(instruction, ast.Onbuild):
            try:
                found |= _added(parse_instruction(instruction.trigger))
            except DockerfileError:
                continue
    return found


def _added(instruction: Instruction) -> frozenset[str]:
    if isinstance(instruction, ast.Env):
        return frozenset(pair.key.strip("\"'") for pair in instruction.pairs)
    if isinstance(instruction, ast.Arg):
        return frozenset(variable.name for variable in instruction.variables)
    return frozenset()


def _quietly(function: Callable[..., object], argument: object) -> str:
    """What ``function`` makes of ``argument``; what is wrong with it is said elsewhere."""
    try:
        found = function(argument)
    except DockerfileError:
        return ""
    return found if isinstance(found, str) else ""
