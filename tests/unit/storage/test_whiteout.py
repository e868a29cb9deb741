"""Marks that hide what layers below have, where the device for it can't be made."""

import errno
import os
import stat
from pathlib import Path

import pytest

from rundlet.storage.layer.whiteout import is_whiteout, make_whiteout
from rundlet.storage.snapshot import trees


@pytest.fixture
def on_an_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel answers there."""
    really = os.mknod

    def mknod(path: str, mode: int = 0o600, device: int = 0, *, dir_fd: int | None = None) -> None:
        if stat.S_ISCHR(mode):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        really(path, mode, device, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mknod", mknod)


def white_out(directory: Path, name: str) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        make_whiteout(name, fd)
    finally:
        os.close(fd)


@pytest.mark.usefixtures("on_an_overlay")
def test_another_mark_is_known_again(tmp_path: Path) -> None:
    white_out(tmp_path, "gone")
    assert is_whiteout(os.lstat(tmp_path / "gone"))
    with pytest.raises(FileExistsError):
        white_out(tmp_path, "gone")
    os.mkfifo(tmp_path / "fifo", 0o644)
    os.utime(tmp_path / "fifo", ns=(0, os.lstat(tmp_path / "gone").st_mtime_ns))
    (tmp_path / "file").write_text("")
    assert not is_whiteout(os.lstat(tmp_path / "fifo"))
    assert not is_whiteout(os.lstat(tmp_path / "file"))


@pytest.mark.usefixtures("on_an_overlay")
def test_a_tree_loses_what_the_mark_hides(tmp_path: Path) -> None:
    layer, tree = tmp_path / "layer", tmp_path / "tree"
    for directory in (layer, tree):
        directory.mkdir()
    (tree / "gone").write_text("x")
    (tree / "kept").write_text("x")
    white_out(layer, "gone")
    trees.merge(str(layer), str(tree))
    assert sorted(path.name for path in tree.iterdir()) == ["kept"]


@pytest.mark.usefixtures("on_an_overlay")
def test_what_a_tree_lost_is_marked(tmp_path: Path) -> None:
    below, tree, changes = (tmp_path / name for name in ("below", "tree", "changes"))
    for directory in (below, tree, changes):
        directory.mkdir()
    (below / "gone").write_text("x")
    trees.distill(str(below), str(tree), str(changes), os.stat(tree).st_ctime_ns)
    assert is_whiteout(os.lstat(changes / "gone"))
