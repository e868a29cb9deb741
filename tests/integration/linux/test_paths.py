"""Walks inside an untrusted root."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rundlet.linux import path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def where(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("link", "wanted", "made"),
    [
        (None, "/a/b/c", "a/b/c"),
        (None, "a/../b", "b"),
        (None, "../../../a", "a"),
        (None, "/", ""),
        (("link", "/outside"), "link/new", "outside/new"),
        (("link", "../../outside"), "link/new", "outside/new"),
        (("etc/link", "../etc"), "etc/link/new", "etc/new"),
        (("run", "/var/run/deep"), "run/lock", "var/run/deep/lock"),
        (("etc/here", "there/../elsewhere"), "etc/here/new", "etc/elsewhere/new"),
    ],
)
def test_directories_are_made_inside(
    tmp_path: Path, root: int, link: tuple[str, str] | None, wanted: str, made: str
) -> None:
    if link is not None:
        (tmp_path / "root" / link[0]).symlink_to(link[1])
    assert where(path.makedirs_in_root(root, wanted)) == str(tmp_path / "root" / made)
    assert os.listdir(tmp_path / "outside") == []
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]


def test_a_loop_of_links_ends(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/a").symlink_to("b")
    (tmp_path / "root/b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        path.makedirs_in_root(root, "a/new")
    assert caught.value.errno == errno.ELOOP


def test_a_file_in_the_way(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/file").touch()
    with pytest.raises(NotADirectoryError):
        path.makedirs_in_root(root, "file/new")


def test_files_are_touched_inside(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/etc/link").symlink_to("/etc/real")
    (tmp_path / "root/etc/real").touch()
    assert where(path.touch_in_root(root, "etc/link")) == str(tmp_path / "root/etc/real")
    assert where(path.touch_in_root(root, "/new/deep/file")) == str(tmp_path / "root/new/deep/file")
    os.mkfifo(tmp_path / "root/fifo")
    assert where(path.touch_in_root(root, "fifo")) == str(tmp_path / "root/fifo")


def test_what_a_dangling_link_points_to_is_made_inside(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/etc/link").symlink_to(tmp_path / "outside/file")
    (tmp_path / "root/etc/up").symlink_to("../../../outside/file")
    for name in ("etc/link", "etc/up"):
        made = where(path.touch_in_root(root, name))
        assert made.startswith(f"{tmp_path}/root/")
        assert made.endswith("/outside/file")
    assert os.listdir(tmp_path / "outside") == []


def test_dangling_links_in_a_circle_are_refused(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/etc/one").symlink_to("two")
    (tmp_path / "root/etc/two").symlink_to("one")
    with pytest.raises(OSError) as caught:
        path.touch_in_root(root, "etc/one")
    assert caught.value.errno == errno.ELOOP


def test_magic_links_are_refused(tmp_path: Path, root: int) -> None:
    proc = os.open("/proc/self", os.O_PATH)
    try:
        with pytest.raises(OSError) as caught:
            path.open_in_root(proc, "root/etc", os.O_PATH)
        assert caught.value.errno == errno.ELOOP
    finally:
        os.close(proc)


def test_beneath_means_beneath(tmp_path: Path, root: int) -> None:
    with pytest.raises(OSError) as caught:
        path.openat2(root, "../outside", os.O_PATH, 0, path.RESOLVE_BENEATH)
    assert caught.value.errno == errno.EXDEV


def test_descriptors_are_not_inherited(root: int) -> None:
    fd = path.open_in_root(root, "etc", os.O_PATH)
    assert not os.get_inheritable(fd)
    again = path.reopen(fd, os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(again) == []
    os.close(again)
    os.close(fd)
