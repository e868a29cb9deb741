"""Trees as deep and odd as containers make them."""

import os
from pathlib import Path

import pytest

from rundlet.storage.tree import remove_path, tree_size


def _nest(root: Path, depth: int) -> None:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


@pytest.mark.parametrize("depth", [0, 1, 63, 64, 65, 300, 5000])
def test_any_depth(depth: int, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    _nest(root, depth)
    (root / "last").write_bytes(b"x" * 77)
    before = len(os.listdir("/proc/self/fd"))
    assert tree_size(str(root)) == 77
    remove_path(str(root))
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_wide_and_odd(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number in range(300):
        (root / f"d{number}" / "e").mkdir(parents=True)
        (root / f"d{number}" / "e" / "f").touch()
    (root / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    with open(os.fsencode(root) + b"/\xff\n", "wb"):
        pass
    os.mkfifo(root / "fifo")
    (root / "closed").mkdir()
    (root / "closed").chmod(0)
    remove_path(str(root))
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["kept"]
    remove_path(str(root))
    remove_path(str(tmp_path / "no/such/parent"))
    (tmp_path / "file").touch()
    remove_path(f"{tmp_path}/file/")
    assert not (tmp_path / "file").exists()


def test_sizes_count_an_inode_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/f").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a/f", tmp_path / "a/b/g")
    (tmp_path / "a/l").symlink_to("12345")
    assert tree_size(str(tmp_path)) == 1005
    assert tree_size(str(tmp_path / "missing")) == 0


def test_sizes_follow_no_link_and_lose_nothing_beside_a_long_way_down(tmp_path: Path) -> None:
    """More directories than are held open, each with something beside the way."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(200):
        os.mkdir("beside", dir_fd=fd)
        for name in ("beside/f", "f"):
            file = os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=fd)
            os.write(file, b"x" * 10)
            os.close(file)
        os.symlink("/usr", f"link{number:03}", dir_fd=fd)
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert tree_size(str(tmp_path)) == 200 * (10 + 10 + len("/usr"))
