"""Directories of ``RUN --mount=type=cache``."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from rundlet.builder import cachemounts
from rundlet.builder.cachemounts import CacheMounts

OWNER = (0o755, os.getuid(), os.getgid())


async def test_shared_mounts_are_one_directory(tmp_path: Path) -> None:
    mounts = CacheMounts(str(tmp_path))
    async with mounts.use("x", "shared", OWNER, None) as first, mounts.use("x", "shared", OWNER, None) as second:
        assert first == second
        Path(first, "f").write_text("kept")
    async with mounts.use("x", "shared", OWNER, None) as again:
        assert Path(again, "f").read_text() == "kept"
    async with mounts.use("y", "shared", OWNER, None) as other:
        assert other != first


async def test_private_mounts_at_once_are_two(tmp_path: Path) -> None:
    mounts = CacheMounts(str(tmp_path))
    async with mounts.use("x", "private", OWNER, None) as first, mounts.use("x", "private", OWNER, None) as second:
        assert first != second
    async with mounts.use("x", "private", OWNER, None) as again:
        assert again == first


async def test_a_locked_mount_waits(tmp_path: Path) -> None:
    mounts = CacheMounts(str(tmp_path))
    order: list[str] = []

    async def user(name: str) -> None:
        async with mounts.use("x", "locked", OWNER, None):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(user("a"), user("b"))
    assert order == ["a begins", "a ends", "b begins", "b ends"]


async def test_one_that_could_not_be_filled_is_none(tmp_path: Path) -> None:
    mounts = CacheMounts(str(tmp_path))

    async def fail(directory: str) -> None:
        Path(directory, "half").touch()
        raise OSError

    async def fill(directory: str) -> None:
        Path(directory, "whole").touch()

    with pytest.raises(OSError):
        async with mounts.use("x", "shared", OWNER, fail):
            pass
    async with mounts.use("x", "shared", OWNER, fill) as path:
        assert os.listdir(path) == ["whole"]


async def test_what_is_in_use_stays(tmp_path: Path) -> None:
    mounts = CacheMounts(str(tmp_path))
    async with mounts.use("x", "shared", OWNER, None) as path:
        Path(path, "f").write_bytes(b"12345")
        [found] = mounts.all()
        assert (found.id, found.size, found.in_use) == ("x", 6, True)
        assert not await mounts.remove(found.name)
    assert await mounts.remove(found.name)
    assert mounts.all() == []


@pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
async def test_who_comes_while_one_is_removed_gets_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharing: str
) -> None:
    mounts = CacheMounts(str(tmp_path))
    async with mounts.use("x", sharing, OWNER, None) as path:
        Path(path, "f").touch()
    began, go_on = threading.Event(), threading.Event()
    remove_path = cachemounts.remove_path

    def slow(path: str) -> None:
        if path == f"{tmp_path}/{found.name}":
            began.set()
            go_on.wait(20)
        remove_path(path)

    async def use() -> list[str]:
        async with mounts.use("x", sharing, OWNER, None) as path:
            return os.listdir(path)

    [found] = mounts.all()
    monkeypatch.setattr(cachemounts, "remove_path", slow)
    removing = asyncio.create_task(mounts.remove(found.name))
    assert await asyncio.to_thread(began.wait, 20)
    using = asyncio.create_task(use())
    await asyncio.sleep(0)
    assert not await mounts.remove(found.name)
    go_on.set()
    assert await removing
    assert await using == []
