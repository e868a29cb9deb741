"""Inode flags on whatever file system the tests run on."""

import errno
from pathlib import Path

import pytest

from rundlet.linux import inode_flags


def test_a_flag_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    try:
        before = inode_flags.get(str(tmp_path))
        inode_flags.add(str(tmp_path), inode_flags.TOPDIR)
    except OSError as exc:
        if exc.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            pytest.skip(f"the file system of {tmp_path} has no such flags")
        raise
    assert inode_flags.get(str(tmp_path)) == before | inode_flags.TOPDIR
    inode_flags.add(str(tmp_path), inode_flags.TOPDIR)
    assert inode_flags.get(str(tmp_path)) == before | inode_flags.TOPDIR


def test_a_file_system_without_flags_says_so() -> None:
    with pytest.raises(OSError):
        inode_flags.get("/proc/self")
