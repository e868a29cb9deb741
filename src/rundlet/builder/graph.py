"""Which stages a build needs, and on what each of them waits. No input or output."""

from collections.abc import Mapping

import msgspec

from rundlet.builder.dockerfile.ast import Copy, Dockerfile, Instruction, Run, Stage
from rundlet.builder.errors import CyclicStagesError, OwnStageError
from rundlet.builder.namedcontexts import named


class PlannedStage(msgspec.Struct, frozen=True):
    """A stage that is built. ``base`` is its FROM with variables replaced; ``base_stage`` the stage that it means, if
    it means one; ``needs`` all stages (by index) that have to be there before the stage, or some step of it, begins."""

    stage: Stage
    base: str
    platform: str
    base_stage: int | None
    needs: frozenset[int]

    @property
    def name(self) -> str:
        """As progress shows it."""
        return self.stage.name or f"stage-{self.stage.index}"


def plan(
    dockerfile: Dockerfile,
    target: str,
    bases: Mapping[int, tuple[str, str]],
    contexts: Mapping[str, str],
    *,
    every: bool = False,
) -> list[PlannedStage]:
    """The stages that ``target`` needs, or ``every`` one up to it (the classic builder's way), in the file's order.

    ``bases`` has the expanded FROM and platform of every stage; a name in ``contexts`` comes before a stage's. Raises
    DockerfileError (no such target), CyclicStagesError, OwnStageError.
    """
    wanted = dockerfile.stage(target)
    found: dict[int, PlannedStage] = {}
    waiting = list(range(wanted.index + 1)) if every else [wanted.index]
    while waiting:
        index = waiting.pop()
        if index in found:
            continue
        stage = dockerfile.stages[index]
        base, platform = bases[index]
        base_stage = _stage_of(dockerfile, base, index, contexts, numbers=False)
        needs = {
            number
            for name in sources(stage.instructions)
            if (number := _source_of(dockerfile, name, index, contexts, classic=every)) is not None
        }
        if base_stage is not None:
            needs.add(base_stage)
        found[index] = PlannedStage(stage, base, platform, base_stage, frozenset(needs))
        waiting += needs
    return [found[index] for index in sorted(found)]


def sources(instructions: tuple[Instruction, ...]) -> list[str]:
    """Everything that ``--from`` and mounts name, empty names left out."""
    names = []
    for instruction in instructions:
        if isinstance(instruction, Copy):
            names.append(instruction.from_)
        elif isinstance(instruction, Run):
            names += [mount.from_ for mount in instruction.mounts]
    return [name for name in names if name]


def find_stage(
    dockerfile: Dockerfile, name: str, before: int, contexts: Mapping[str, str], *, numbers: bool = True
) -> int | None:
    """The stage that ``name`` means in stage ``before``; None for something from outside. Raises CyclicStagesError."""
    return _stage_of(dockerfile, name, before, contexts, numbers=numbers)


def _source_of(
    dockerfile: Dockerfile, name: str, before: int, contexts: Mapping[str, str], *, classic: bool
) -> int | None:
    try:
        return _stage_of(dockerfile, name, before, contexts, numbers=True)
    except CyclicStagesError as exc:
        if classic and name == str(before):
            raise OwnStageError(name) from exc
        raise


def _stage_of(
    dockerfile: Dockerfile, name: str, before: int, contexts: Mapping[str, str], *, numbers: bool
) -> int | None:
    lowered = name.lower()
    if named(contexts, name) is not None:
        return None
    for stage in reversed(dockerfile.stages[:before]):
        if stage.name and stage.name == lowered:
            return stage.index
    if numbers and name.isascii() and name.isdigit() and int(name) < len(dockerfile.stages):
        if int(name) >= before:
            raise CyclicStagesError(name)
        return int(name)
    if numbers:
        for stage in dockerfile.stages[before:]:
            if stage.name and stage.name == lowered:
                raise CyclicStagesError(name)
    return None
