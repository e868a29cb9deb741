"""Paths in an image, by the directories of its layers."""

import os
from pathlib import Path

import pytest

from rundlet.linux import userns
from rundlet.storage.layer.whiteout import make_whiteout
from rundlet.storage.snapshot.lookup import BLOCKED, DIRECTORY, NOTHING, OTHER, look


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """``top`` over ``base``."""
    base, top = tmp_path / "base", tmp_path / "top"
    for directory in ("bin", "etc/deep", "gone", "new"):
        (base / directory).mkdir(parents=True)
    for name in ("bin/sh", "etc/passwd", "etc/deep/x", "gone/x", "file", "was-directory-now-file", "hidden"):
        (base / name).write_text("x") if name != "was-directory-now-file" else (base / name).mkdir()
    (top / "etc").mkdir(parents=True)
    (top / "hidden").mkdir()
    (top / "was-directory-now-file").write_text("x")
    for name, target in {
        "sh": "bin/sh",
        "dir": "/etc/deep",
        "up": "../../../../etc",
        "loop": "loop",
        "dangling": "/nowhere",
        "through": "dir/../passwd",
    }.items():
        (top / name).symlink_to(target)
    fd = os.open(top, os.O_RDONLY)
    make_whiteout("gone", fd)
    os.close(fd)
    return [str(top), str(base)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", DIRECTORY),
        ("/bin", DIRECTORY),
        ("/bin/sh", OTHER),
        ("/bin/sh/x", BLOCKED),
        ("/bin/nothing", NOTHING),
        ("/bin/nothing/more", NOTHING),
        ("/etc/deep/../passwd", OTHER),
        ("/gone", NOTHING),
        ("/gone/x", NOTHING),
        ("/was-directory-now-file", OTHER),
        ("/was-directory-now-file/x", BLOCKED),
        ("/hidden", DIRECTORY),
        ("/sh", OTHER),
        ("/sh/x", BLOCKED),
        ("/dir", DIRECTORY),
        ("/dir/x", OTHER),
        ("/up/passwd", OTHER),
        ("/through", OTHER),
        ("/dangling", NOTHING),
        ("/../../bin/./sh", OTHER),
    ],
)
def test_what_a_path_is(layers: list[str], path: str, expected: str) -> None:
    assert look(layers, path) == expected


def test_links_without_end(layers: list[str]) -> None:
    with pytest.raises(OSError, match="Too many levels"):
        look(layers, "/loop")


@pytest.mark.root
def test_a_directory_that_hides_all_below(layers: list[str]) -> None:
    assert look(layers, "/etc/passwd") == OTHER
    os.setxattr(f"{layers[0]}/etc", userns.OPAQUE_XATTR, b"y")
    assert look(layers, "/etc/passwd") == NOTHING
    assert look(layers, "/etc") == DIRECTORY


def test_a_path_that_the_kernel_would_not_take(tmp_path: Path) -> None:
    """Whoever writes it: looking at it must not take longer than refusing it."""
    with pytest.raises(OSError, match="File name too long"):
        look([str(tmp_path)], "/." * 4_000_000)
