"""What a Dockerfile says of itself without being built: its targets, and the parameters of one (``build --call``)."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.ast import Dockerfile, Position, Stage
from rundlet.builder.dockerfile.expansion import Expander

_DEFAULT_AGENT: Final = "default"


class Argument(msgspec.Struct, frozen=True):
    """A build argument: the value it has without being given another. ``description`` is the comment before it."""

    name: str
    value: str
    description: str
    position: Position


class Need(msgspec.Struct, frozen=True):
    """A secret or an agent that a step uses."""

    name: str
    required: bool
    position: Position


class Outline(msgspec.Struct, frozen=True):
    """The parameters of one target, each in the file's order."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Need, ...]
    agents: tuple[Need, ...]


def outline(
    dockerfile: Dockerfile, target: str, given: Mapping[str, str | None], automatic: Mapping[str, str]
) -> Outline:
    """Of ``target`` and all stages that it needs; ``given`` are arguments of the build, ``automatic`` those that it has
    anyway. Raises DockerfileError."""
    stage = dockerfile.stage(target)
    arguments = _Arguments(dockerfile, given, automatic)
    secrets: dict[str, Need] = {}
    agents: dict[str, Need] = {}
    for one in _needed(dockerfile, stage, arguments.values):
        expander = Expander(arguments.stage(one), dockerfile.directives.escape)
        for instruction in one.instructions:
            for mount in instruction.expanded(expander).mounts if isinstance(instruction, ast.Run) else ():
                if mount.type == "secret":
                    name = mount.id or mount.source or mount.target.rpartition("/")[2]
                    secrets.setdefault(name, Need(name, mount.required, instruction.position))
                elif mount.type == "ssh":
                    name = mount.id or _DEFAULT_AGENT
                    agents.setdefault(name, Need(name, mount.required, instruction.position))
    return Outline(stage.name, stage.comment, arguments.found(), _sorted(secrets), _sorted(agents))


def _sorted(needs: Mapping[str, Need]) -> tuple[Need, ...]:
    return tuple(sorted(needs.values(), key=lambda one: one.position.line))


def _needed(dockerfile: Dockerfile, stage: Stage, values: Mapping[str, str]) -> list[Stage]:
    expander = Expander(values, dockerfile.directives.escape)
    found: dict[int, Stage] = {}
    waiting = [stage]
    while waiting:
        one = waiting.pop()
        if one.index in found:
            continue
        found[one.index] = one
        names = [expander.word(one.base), *_sources(one)]
        waiting += [other for other in dockerfile.stages[: one.index] if _is(other, names)]
    return [found[index] for index in sorted(found)]


def _sources(stage: Stage) -> Iterator[str]:
    for instruction in stage.instructions:
        if isinstance(instruction, ast.Copy):
            yield instruction.from_
        elif isinstance(instruction, ast.Run):
            yield from (mount.from_ for mount in instruction.mounts)


def _is(stage: Stage, names: list[str]) -> bool:
    return any(name and name.lower() in (stage.name, str(stage.index)) for name in names)


class _Arguments:
    """Those that the stages see use of, as they are met."""

    def __init__(self, dockerfile: Dockerfile, given: Mapping[str, str | None], automatic: Mapping[str, str]) -> None:
        self._given = given
        self._escape = dockerfile.directives.escape
        self._lines = dockerfile.source.splitlines()
        self.values = dict(automatic)
        self._global: dict[str, Argument] = {}
        self._needs: dict[str, set[str]] = {}
        self._found: dict[tuple[str, int], Argument] = {}
        for instruction in dockerfile.global_args:
            for variable in instruction.variables:
                value, names = self._value(variable, self.values)
                self.values[variable.name] = value
                self._needs[variable.name] = names
                self._global[variable.name] = self._argument(variable.name, value, instruction.position)

    def stage(self, stage: Stage) -> dict[str, str]:
        """What ``stage`` uses; the values that it ends with."""
        for text in (stage.base, stage.platform):
            self._use(_names(text))
        own: dict[str, str] = {}
        for instruction in stage.instructions:
            for variable in instruction.variables if isinstance(instruction, ast.Arg) else ():
                if variable.value is None and variable.name not in self._given and variable.name in self._global:
                    own[variable.name] = self.values[variable.name]
                    self._use({variable.name})
                    continue
                own[variable.name], _ = self._value(variable, own)
                self._keep(self._argument(variable.name, own[variable.name], instruction.position))
        return own

    def found(self) -> tuple[Argument, ...]:
        return tuple(sorted(self._found.values(), key=lambda one: one.position.line))

    def _use(self, names: set[str]) -> None:
        for name in names & set(self._global):
            if (name, self._global[name].position.line) not in self._found:
                self._keep(self._global[name])
                self._use(self._needs[name])

    def _keep(self, argument: Argument) -> None:
        self._found[argument.name, argument.position.line] = argument

    def _value(self, variable: ast.Variable, known: Mapping[str, str]) -> tuple[str, set[str]]:
        given = self._given.get(variable.name)
        if given is not None:
            return given, set()
        text = variable.value or ""
        return Expander(known, self._escape).word(text), _names(text)

    def _argument(self, name: str, value: str, position: Position) -> Argument:
        return Argument(name, value, self._comment(name, position.line), position)

    def _comment(self, name: str, line: int) -> str:
        """What the comments directly above ``line`` say of ``name``: ``# NAME what it is``."""
        above = line - 2
        while above >= 0 and (text := self._lines[above].strip()).startswith("#"):
            said, _, rest = text.lstrip("#").strip().partition(" ")
            if said == name:
                return rest.strip()
            above -= 1
        return ""


def _names(text: str) -> set[str]:
    """The variables in ``text``."""
    expander = Expander({})
    expander.word(text)
    return expander.unmatched
