"""cp's path statistics, as Go's clients read them."""

import stat

import pytest

from rundlet.engine.containers.archive import go_mode, keep_end, path_stat
from rundlet.storage.files.access import PathInfo


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
        (stat.S_IFREG | 0o6755, 1 << 23 | 1 << 22 | 0o755),
    ],
)
def test_go_mode(mode: int, theirs: int) -> None:
    assert go_mode(mode) == theirs


def test_path_stat() -> None:
    found = path_stat("/a/b/", PathInfo(size=5, mode=stat.S_IFREG | 0o600, mtime_ns=1_500_000_000, target="/c"))
    assert (found.name, found.size, found.link_target) == ("b", 5, "/c")
    assert found.mtime == "1970-01-01T00:00:01.5Z"
    assert path_stat("/", PathInfo(0, 0, 0)).name == "/"


@pytest.mark.parametrize(
    ("clean", "path", "kept"),
    [
        ("/a", "/a", "/a"),
        ("/a", "/a/", "/a/"),
        ("/a", "a/.", "/a/."),
        ("/", "/", "/"),
        ("/", ".", "/."),
        ("/", "/.", "/."),
        ("/", "./", "/."),
        ("/", "/./", "/."),
    ],
)
def test_the_end_of_a_path(clean: str, path: str, kept: str) -> None:
    assert keep_end(clean, path) == kept
