"""Layers as whole trees, and back: what the snapshotter without overlayfs does, against overlayfs itself."""

import os
import stat
import time
from pathlib import Path

import pytest

from rundlet.linux import libc, mount, ns
from rundlet.storage.snapshot import trees

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """Two layers, topmost first, with everything that overlayfs knows."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for directory in ("kept", "gone", "opaque", "turned"):
        (lower / directory).mkdir(parents=True)
        (lower / directory / "old").write_text("old")
    (lower / "first").write_text("one content")
    os.link(lower / "first", lower / "kept/second")
    os.symlink("nowhere", lower / "link")
    os.mkfifo(lower / "fifo")
    os.chown(lower / "first", 5, 6)
    os.setxattr(lower / "first", "user.note", b"kept")
    os.utime(lower / "first", ns=(1_000_000_007, 2_000_000_009))
    upper.mkdir(mode=0o750)
    (upper / "opaque").mkdir()
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    (upper / "opaque/new").write_text("new")
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    (upper / "turned").write_text("a file now")
    (upper / "fifo").mkdir()
    return [str(upper), str(lower)]


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(directory, name)
            status = path.lstat()
            content: object = ""
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = (path.read_text(), status.st_mtime_ns, status.st_nlink, os.listxattr(path))
            found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def test_a_tree_is_what_overlayfs_would_show(tmp_path: Path, layers: list[str]) -> None:
    tree, merged = tmp_path / "tree", tmp_path / "merged"
    tree.mkdir()
    merged.mkdir()
    for layer in reversed(layers):
        trees.merge(layer, str(tree))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            libc.unshare(ns.CLONE_NEWNS)
            mount.set_propagation("/", mount.MS_PRIVATE)
            mount.attach(mount.overlay(layers, readonly=True), str(merged))
            shown, have = listing(merged), listing(tree)
            for name in sorted(shown.keys() | have.keys()):
                if shown.get(name) != have.get(name):
                    os.write(2, f"{name}: overlayfs {shown.get(name)}, here {have.get(name)}\n".encode())
            assert shown == have
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stat.S_IMODE(tree.stat().st_mode) == 0o750
    assert os.path.samefile(tree / "first", tree / "kept/second")


def test_changes_are_found_again(tmp_path: Path, layers: list[str]) -> None:
    below, tree, changes, again = (tmp_path / name for name in ("below", "tree", "changes", "again"))
    for directory in (below, tree, changes, again):
        directory.mkdir()
    for layer in reversed(layers):
        trees.merge(layer, str(below))
    trees.merge(str(below), str(tree))
    time.sleep(0.02)  # beyond the kernel's steps of change times
    (tmp_path / "made").touch()
    since = os.stat(tmp_path / "made").st_ctime_ns
    before = os.stat(tree / "turned")
    (tree / "turned").write_text("a file NOW")  # the same size, and made to look as old
    os.utime(tree / "turned", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tree / "first").unlink()
    (tree / "opaque/new").unlink()
    (tree / "opaque").rmdir()
    (tree / "opaque").symlink_to("/etc")
    (tree / "fifo").rmdir()
    (tree / "made/deep").mkdir(parents=True)
    (tree / "made/deep/file").write_text("new")
    (tree / "kept").chmod(0o700)
    os.setxattr(tree / "kept/old", "user.note", b"new")
    trees.distill(str(below), str(tree), str(changes), since)
    found = {str(path.relative_to(changes)) for path in changes.rglob("*")}
    assert found == {"turned", "first", "opaque", "fifo", "made", "made/deep", "made/deep/file", "kept", "kept/old"}
    for gone in ("first", "fifo"):
        assert (changes / gone).is_char_device()
    # And on the same ground they make the same tree.
    trees.merge(str(below), str(again))
    trees.merge(str(changes), str(again))
    assert {name: value[:3] for name, value in listing(again).items()} == {
        name: value[:3] for name, value in listing(tree).items()
    }
    assert (again / "turned").read_text() == "a file NOW"


def test_a_deep_tree_is_no_matter(tmp_path: Path) -> None:
    source, target, changes = (tmp_path / name for name in ("source", "target", "changes"))
    for directory in (source, target, changes):
        directory.mkdir()
    here = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(300):
        os.mkdir("d" * 20, dir_fd=here)
        inner = os.open("d" * 20, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    trees.merge(str(source), str(target))
    (tmp_path / "empty").mkdir()
    trees.distill(str(tmp_path / "empty"), str(target), str(changes), 0)
    depth, here = 0, os.open(changes, os.O_RDONLY | os.O_DIRECTORY)
    while names := os.listdir(here):
        inner = os.open(names[0], os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        depth, here = depth + 1, inner
    os.close(here)
    assert depth == 300
