import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rundlet.linux.passwd import User, UserError, resolve_user

PASSWD = """root:x:0:0:root:/root:/bin/bash

daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
alice:x:1000:1000::/home/alice:/bin/sh
77:x:5000:5000::/home/seven:/bin/sh
odd:x:notanumber:7
"""
GROUP = """root:x:0:
daemon:x:1:
audio:x:29:alice,bob
alice:x:1000:
video:x:44:bob,alice
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("spec", "groups", "expected"),
    [
        ("", (), User(0, 0, (0,), "/root", "root")),
        ("root", (), User(0, 0, (0,), "/root", "root")),
        ("0", (), User(0, 0, (0,), "/root", "root")),
        ("alice", (), User(1000, 1000, (1000, 29, 44), "/home/alice", "alice")),
        ("1000", (), User(1000, 1000, (1000, 29, 44), "/home/alice", "alice")),
        ("alice:audio", (), User(1000, 29, (29,), "/home/alice", "alice")),
        ("alice:12", (), User(1000, 12, (12,), "/home/alice", "alice")),
        ("alice:", (), User(1000, 1000, (1000, 29, 44), "/home/alice", "alice")),
        ("4242", (), User(4242, 0, (0,), "/", "")),
        ("4242:4243", (), User(4242, 4243, (4243,), "/", "")),
        ("77", (), User(77, 0, (0,), "/", "")),
        ("alice", ("daemon", "99", "audio"), User(1000, 1000, (1000, 29, 44, 1, 99), "/home/alice", "alice")),
        (":audio", (), User(0, 29, (29,), "/root", "root")),
        ("odd", (), User(0, 7, (7,), "/", "odd")),
    ],
)
def test_resolves_as_docker_does(root: int, spec: str, groups: tuple[str, ...], expected: User) -> None:
    assert resolve_user(root, spec, groups) == expected


@pytest.mark.parametrize(
    ("spec", "groups", "message"),
    [
        ("nobody", (), "unable to find user nobody: no matching entries in passwd file"),
        ("root:wheel", (), "unable to find group wheel: no matching entries in group file"),
        ("root", ("wheel",), "unable to find group wheel: no matching entries in group file"),
        ("-1", (), "uids and gids must be in range 0-2147483647"),
        ("4294967296", (), "uids and gids must be in range 0-2147483647"),
        ("root:2147483648", (), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_refuses_with_dockers_words(root: int, spec: str, groups: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_user(root, spec, groups)
    assert str(caught.value) == message


def test_missing_files_are_empty(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert resolve_user(root, "", ()) == User(0, 0, (0,), "/", "")
        assert resolve_user(root, "5:6", ("7",)) == User(5, 6, (6, 7), "/", "")
    finally:
        os.close(root)


def test_a_link_stays_inside_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    (tmp_path / "etc/passwd").symlink_to("/../../../../etc/passwd")
    with pytest.raises(OSError, match="etc/passwd"):
        resolve_user(root, "root")


def test_a_fifo_does_not_hold_us_up(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    os.mkfifo(tmp_path / "etc/passwd")
    with pytest.raises(OSError, match="not a regular file"):
        resolve_user(root, "root")
