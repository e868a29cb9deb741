"""Layers through the real launcher, whose children can import nothing any more."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.integration.storage.support import archive, make_snapshotter, member

from rundlet.runtime.launch import Launcher
from rundlet.storage.errors import LayerError
from rundlet.storage.layer.changes import Changes
from rundlet.storage.layer.unpack import unpack
from rundlet.util.layout import Layout

pytestmark = pytest.mark.root


def test_apply_and_diff(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "root"), str(tmp_path / "run"))
    for path, mode in layout.directories():
        os.makedirs(path, mode, exist_ok=True)
    snapshotter = make_snapshotter(tmp_path)
    data = archive([member("a/b", data=b"x" * 100_000), member("a/.wh.c"), member("a/.wh..wh..opq")])

    async def go() -> None:
        launcher = await Launcher.start(layout)
        try:
            result = await unpack(iter([data]), snapshotter, launcher, parent=None)
            changes = Changes(snapshotter.layer(result.chain).path, launcher)
            async with changes.opened() as chunks:
                tar = await asyncio.to_thread(b"".join, chunks)
            again = await unpack(iter([tar]), snapshotter, launcher, parent=result.chain)
            path = Path(snapshotter.layer(again.chain).path)
            assert (path / "a/b").read_bytes() == b"x" * 100_000
            assert os.getxattr(path / "a", "trusted.overlay.opaque") == b"y"
            odd = archive([member("odd\n\udcff\u2028\U0001f600\x85/../../x")])
            with pytest.raises(LayerError, match=r"is outside of"):
                await unpack(iter([odd]), snapshotter, launcher, parent=None)
            with pytest.raises(LayerError, match=r"\\n\\xff\\u2028"):
                link = member("odd\n\udcff\u2028", b"1", linkname="missing")
                await unpack(iter([archive([link])]), snapshotter, launcher, parent=None)
        finally:
            launcher.bye()

    asyncio.run(go())
