"""A workspace for as long as something is done in it, whatever ends that."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rundlet.builder.workspace import Workspace
from rundlet.engine.context import Context
from rundlet.util.tasks import settled

_log = logging.getLogger(__name__)


def new_workspace(context: Context) -> Workspace:
    """One that has to be made, and removed, by the caller."""
    return Workspace(context.layout, context.snapshots, context.launcher)


@asynccontextmanager
async def workspace_of(context: Context) -> AsyncIterator[Workspace]:
    """Raises OSError; what can't be removed is logged."""
    workspace = new_workspace(context)
    try:
        await settled(asyncio.to_thread(workspace.make))
        yield workspace
    finally:
        await asyncio.shield(asyncio.to_thread(_remove, workspace))


def _remove(workspace: Workspace) -> None:
    try:
        workspace.remove()
    except OSError as error:
        _log.warning("the directory of a build: %s", error)
