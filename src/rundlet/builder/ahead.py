"""What a stage's steps can do before their turn. Variables depend on configurations only, never on files: so all that
COPY and ADD will be asked for is known as soon as a stage's base is, and what they bring can be fetched and read, and
with ``--link`` written, while steps before them still run. A failure counts when its step's turn comes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.downloads import git_source, is_http
from rundlet.builder.metadata import apply, with_directory, working_directory
from rundlet.builder.state import StageState
from rundlet.builder.transfers import Brought
from rundlet.errors import RundletError

Declare = Callable[[StageState, ast.Arg], StageState]
Bring = Callable[[int, StageState, ast.Transfer], Awaitable[Brought]]


def forecast(
    state: StageState, instructions: Sequence[ast.Instruction], escape: str, declare: Declare
) -> Iterator[tuple[int, StageState, ast.Transfer]]:
    """Every COPY and ADD among ``instructions`` that come after ``state``: its place, the configuration it will find,
    and itself, expanded. Ends before an instruction that is wrong."""
    for place, instruction in enumerate(instructions):
        if isinstance(instruction, ast.Arg):
            state = declare(state, instruction)
            continue
        expanded = instruction.expanded(Expander(state.environment(), escape))
        if isinstance(expanded, ast.Transfer):
            yield place, state, expanded
        elif isinstance(expanded, ast.Workdir):
            state = with_directory(state, working_directory(state, expanded.path))
        elif (change := apply(state, expanded)) is not None:
            state = change.state


def is_separate(instruction: ast.Transfer) -> bool:
    """Whether it is seen to begin before its turn: there is more to it than reading files of this build."""
    remote = any(is_http(source) or git_source(source) is not None for source in instruction.sources)
    return instruction.link or (isinstance(instruction, ast.Add) and remote)


class Ahead:
    """Of one stage. :meth:`close` it whatever happens."""

    def __init__(
        self,
        state: StageState,
        instructions: Sequence[ast.Instruction],
        escape: str,
        declare: Declare,
        bring: Bring,
    ) -> None:
        self._tasks: dict[int, asyncio.Task[Brought]] = {}
        try:
            for place, before, instruction in forecast(state, instructions, escape, declare):
                # The first one's turn is now.
                if place:
                    self._tasks[place] = asyncio.create_task(_begun(bring, place, before, instruction))
        except RundletError:
            return  # that step will say so

    def of(self, place: int) -> Awaitable[Brought] | None:
        """What was brought for the instruction at ``place``; None where nothing was foreseen."""
        return self._tasks.get(place)

    async def close(self) -> None:
        """End what no step has waited for."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def _begun(bring: Bring, place: int, state: StageState, instruction: ast.Transfer) -> Brought:
    return await bring(place, state, instruction)
