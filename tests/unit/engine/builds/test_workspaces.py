"""A build's directory goes with its build, whenever that ends."""

import asyncio
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.workspaces import workspace_of
from rundlet.util.layout import Layout


async def test_one_that_is_being_made_goes_when_its_build_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(root=str(tmp_path / "root"), run=str(tmp_path / "run"))
    context: Any = SimpleNamespace(layout=layout, snapshots=None, launcher=None)
    began, go_on, gone = threading.Event(), threading.Event(), threading.Event()
    make, remove = Workspace.make, Workspace.remove

    def slow(self: Workspace) -> None:
        began.set()
        go_on.wait(20)
        make(self)

    def removed(self: Workspace) -> None:
        remove(self)
        gone.set()

    async def build() -> None:
        async with workspace_of(context):
            raise AssertionError

    monkeypatch.setattr(Workspace, "make", slow)
    monkeypatch.setattr(Workspace, "remove", removed)
    task = asyncio.create_task(build())
    assert await asyncio.to_thread(began.wait, 20)
    task.cancel()
    assert not await asyncio.to_thread(gone.wait, 0.1)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(layout.builds) == []
