"""``RUN --mount``: what a step sees besides its image, none of which gets into its layer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from rundlet.builder.dockerfile.ast import Mount
from rundlet.builder.dockerfile.scripts import PIPES, ScriptFile
from rundlet.builder.report import Step
from rundlet.builder.workspace import Workspace

Bind = tuple[str, str, str, bool, str]
"""Kind, target, source, read-only, options: as RunMount has them."""


class Prepared(msgspec.Struct, frozen=True):
    mounts: Sequence[Bind] = ()
    environment: dict[str, str] = {}


class Mounts:
    """The mounts of one step. ``key`` says what of them decides the step's result."""

    def __init__(self, files: Sequence[ScriptFile], workspace: Workspace) -> None:
        self._files = files
        self._workspace = workspace

    @property
    def key(self) -> object:
        return [msgspec.to_builtins(file) for file in self._files]

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[Prepared]:
        """Made, and given back with the block."""
        yield Prepared(mounts=[self._script(file) for file in self._files])

    def _script(self, file: ScriptFile) -> Bind:
        directory = self._workspace.directory("script")
        path = f"{directory}/{file.name}"
        with open(path, "w") as out:
            out.write(file.text)
        import os

        os.chmod(path, 0o755)  # noqa: S103 a script, read-only for the container
        return ("bind", f"{PIPES}/{file.name}", path, True, "")


class MountMaker:
    """One per build."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def plan(self, mounts: Sequence[Mount], files: Sequence[ScriptFile], step: Step) -> Mounts:
        del step
        if mounts:
            raise NotImplementedError
        return Mounts(files, self._workspace)
