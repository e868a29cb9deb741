"""Paths of a container: what they lead to, and what is mounted there."""

import os
from pathlib import Path

import pytest

from rundlet.storage.files.view import contains, deepest, evaluate


@pytest.fixture
def root(tmp_path: Path) -> int:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/up").symlink_to("../../../../a")
    (tmp_path / "a/abs").symlink_to("/a/b")
    (tmp_path / "a/gone").symlink_to("/nowhere/x")
    (tmp_path / "a/loop").symlink_to("loop")
    return os.open(tmp_path, os.O_RDONLY)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", ("/", True)),
        ("/a/b/..", ("/a", True)),
        ("/../../a", ("/a", True)),
        ("/a/up/up/b", ("/a/b", True)),
        ("/a/abs/", ("/a/b", True)),
        ("/a/gone", ("/nowhere/x", False)),
        ("/a/b/c/d", ("/a/b/c/d", False)),
    ],
)
def test_evaluate(root: int, path: str, found: tuple[str, bool]) -> None:
    assert evaluate(root, path) == found


def test_a_loop(root: int) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        evaluate(root, "/a/loop")


def test_mounts() -> None:
    assert contains("/a", "/a") and contains("/a", "/a/b") and contains("/", "/x")
    assert not contains("/a", "/ab")
    mounts = [("/a", True), ("/a/b", False)]
    assert deepest(mounts, "/a/b/c") == ("/a/b", False)
    assert deepest(mounts, "/a/c") == ("/a", True)
    assert deepest(mounts, "/c") is None
