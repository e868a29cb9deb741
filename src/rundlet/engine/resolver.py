"""Keeps the resolver running (see ``keeper``)."""

import contextlib
import os

from rundlet.engine.keeper import WorkerKeeper
from rundlet.runtime.launch import Launcher


class ResolverKeeper(WorkerKeeper):
    """``path`` is the resolver's socket; the name tables are beside it."""

    def __init__(self, launcher: Launcher, path: str) -> None:
        super().__init__(launcher, "resolver", path)

    def descriptors(self, opened: contextlib.ExitStack) -> list[int]:
        """The directory of the tables: found wherever mounts have gone since."""
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, directory)
        return [directory]
