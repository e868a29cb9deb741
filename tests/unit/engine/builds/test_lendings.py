"""Contexts that a client sends before its build, and those that stay after it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rundlet.api.builds import ContextEntry
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds import lendings
from rundlet.engine.builds.kept import KeptContexts
from rundlet.engine.builds.lendings import Lendings
from rundlet.engine.context import Context
from rundlet.errors import NotFoundError
from rundlet.util.clock import SystemClock
from rundlet.util.layout import Layout

ENTRIES = [ContextEntry("a", 0o100644, 1, 1, 1, 1, 0)]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(root=str(tmp_path / "root"), run=str(tmp_path / "run"))


@pytest.fixture
def kept(layout: Layout) -> KeptContexts:
    return KeptContexts(layout, SystemClock())


def workspace(layout: Layout) -> Workspace:
    made = Workspace(layout, cast(Any, None), cast(Any, None))
    made.make()
    return made


async def in_the_midst(task: "asyncio.Task[None]", began: threading.Event, go_on: threading.Event) -> None:
    """Cancels ``task`` when its thread has begun, which ends only after that."""
    assert await asyncio.to_thread(began.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    early = task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not early


async def test_a_cancelled_build_waits_for_what_is_kept_of_it(
    kept: KeptContexts, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    rename = os.rename

    def slow(source: str, target: str) -> None:
        began.set()
        go_on.wait(20)
        rename(source, target)

    async def build(made: Workspace, token: str) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(made.remove)
            announced = await stack.enter_async_context(kept.using(token, made))
            assert announced is not None
            announced.complete = True

    monkeypatch.setattr(os, "rename", slow)
    # The first one is cancelled while its context is put aside, the second one while it gets that.
    for names in (["a"], []):
        token = (await kept.announce("key", ENTRIES)).token
        made = workspace(layout)
        if names:
            Path(made.context, "a").write_text("a")
        await in_the_midst(asyncio.create_task(build(made, token)), began, go_on)
        assert [os.listdir(f"{layout.builds}/{name}") for name in os.listdir(layout.builds)] == [["a"]] * len(names)
        began.clear()
        go_on.clear()


async def test_what_took_long_to_send_waits_for_its_build_from_then_on(
    kept: KeptContexts, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    async def receive(_workspace: Workspace, _body: AsyncIterator[bytes]) -> None:
        nonlocal now
        now += 1000

    monkeypatch.setattr(lendings, "receive", receive)
    monkeypatch.setattr(lendings, "time", SimpleNamespace(monotonic=lambda: now))
    lent = Lendings(cast(Context, SimpleNamespace(layout=layout, snapshots=None, launcher=None)), kept)
    lent.add_secrets("build", {"s": b"secret"})
    for name in ("a", "b"):
        await lent.expire()
        await lent.add_context("build", name, cast(Any, None))
    found = lent.take("build")
    assert (set(found.contexts), set(found.secrets)) == ({"a", "b"}, {"s"})
    await lent.release(found)
    await lent.add_context("other", "a", cast(Any, None))
    now += 1000
    await lent.expire()
    with pytest.raises(NotFoundError):
        lent.take("other")
    assert os.listdir(layout.builds) == []
