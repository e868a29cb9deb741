"""Mapped users on the real kernel: namespaces that are made, files that are shown through them."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from rundlet.linux import libc, mount, ns, usermap
from rundlet.linux.usermap import Range

pytestmark = pytest.mark.root

BASE = 1_900_000_000
RANGES = (Range(0, BASE, 65536),)


def apart(action: Callable[[], None]) -> None:
    """Do ``action`` in a child with private mounts; its failure is the test's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            libc.unshare(ns.CLONE_NEWNS)
            mount.set_propagation("/", mount.MS_PRIVATE)
            action()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as report:
        text = report.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, text


def test_an_overlay_has_the_containers_numbers_on_the_disk_and_its_ranges_in_sight(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/old").write_text("old")
    os.chown(tmp_path / "lower/old", 33, 34)
    (tmp_path / "lower/gone").write_text("gone")

    def check() -> None:
        user, network = usermap.make(RANGES, RANGES, ns.CLONE_NEWNET)
        tree = mount.open_tree(libc.AT_FDCWD, str(tmp_path), mount.OPEN_TREE_CLONE)
        usermap.show(tree, user, str(tmp_path))
        mount.attach(tree, str(tmp_path))
        with usermap.acting_as(BASE, BASE):
            made = mount.overlay([f"{tmp_path}/lower"], f"{tmp_path}/upper", f"{tmp_path}/work")
        mount.attach(made, f"{tmp_path}/merged")
        assert os.stat(f"{tmp_path}/merged/old").st_uid == BASE + 33
        os.chdir(f"{tmp_path}/merged")
        libc.setns(network, ns.CLONE_NEWNET)
        usermap.enter(user)
        usermap.become_root()
        libc.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWPID | ns.CLONE_NEWUTS)
        libc.sethostname("mapped")
        mount.attach(mount.new_filesystem("sysfs"), "/sys")  # which the network's owner may
        assert (os.stat("old").st_uid, os.stat("old").st_gid) == (33, 34)
        Path("new").write_text("new")
        os.chown("new", 5, 6)
        os.unlink("gone")
        with pytest.raises(OSError, match="Invalid argument"):
            os.chown("new", 70000, 0)

    apart(check)
    found = os.stat(tmp_path / "upper/new")
    assert (found.st_uid, found.st_gid) == (5, 6)
    assert (tmp_path / "upper/gone").is_char_device()
    assert os.stat(tmp_path / "upper/gone").st_uid == 0


def test_a_file_system_that_takes_no_mapped_mounts_is_named() -> None:
    def check() -> None:
        (user,) = usermap.make(RANGES, RANGES)
        tree = mount.open_tree(libc.AT_FDCWD, "/proc", mount.OPEN_TREE_CLONE)
        with pytest.raises(usermap.NotMappableError, match="/proc: its file system takes no idmapped mounts"):
            usermap.show(tree, user, "/proc")

    apart(check)


def test_acting_as_another_user_keeps_the_capabilities_and_ends() -> None:
    def check() -> None:
        mount.attach(mount.new_filesystem("tmpfs", {"mode": "755"}), "/mnt")
        with usermap.acting_as(4711, 4712):
            Path("/mnt/new").mkdir()
            found = os.stat("/mnt/new")
            assert (found.st_uid, found.st_gid) == (4711, 4712)
            os.chown("/mnt/new", 1, 2)
        Path("/mnt/after").mkdir()
        assert os.stat("/mnt/after").st_uid == 0
        with open("/proc/self/status", encoding="ascii") as file:
            lines = file.read()
        assert "Uid:\t0\t0\t0\t0" in lines

    apart(check)


def test_numbers_outside_of_the_range_are_nobodys() -> None:
    ranges = usermap.parse([{"containerID": 0, "hostID": 100, "size": 10}, {"containerID": 50, "hostID": 7, "size": 1}])
    assert usermap.outside(ranges, 9) == 109
    assert usermap.outside(ranges, 50) == 7
    with pytest.raises(ValueError, match="no user or group 10"):
        usermap.outside(ranges, 10)
