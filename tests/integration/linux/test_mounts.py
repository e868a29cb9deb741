"""Mounts on the real kernel, in a mount namespace of each test's own child."""

import errno
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from rundlet.linux import libc, mount, ns

pytestmark = pytest.mark.root


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


def layers(base: Path, count: int) -> list[str]:
    """Directories, topmost first, each with a file of its own and one that all have."""
    found = []
    for number in range(count):
        layer = base / f"{number:03}-{'x' * 40}" / "fs"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text(str(number))
        (layer / "common").write_text(str(number))
        found.append(str(layer))
    return found


def overlay_by_options(lowers: list[str], upper: str, work: str) -> int:
    held: list[int] = []
    try:
        options = {"redirect_dir": "off", "metacopy": "off", "index": "off", "upperdir": upper, "workdir": work}
        return mount._overlay_by_options(lowers, options, [], 0, held)
    finally:
        for fd in held:
            os.close(fd)


@pytest.mark.parametrize("make", [mount.overlay, overlay_by_options], ids=["lowerdir+", "options"])
@pytest.mark.parametrize("count", [1, 2, 127])
def test_an_overlay_of_many_layers(tmp_path: Path, make: Callable[..., int], count: int) -> None:
    lowers = layers(tmp_path / "layers", count)
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()

    def check() -> None:
        merged = tmp_path / "merged"
        mount.attach(make(lowers, str(tmp_path / "upper"), str(tmp_path / "work")), str(merged))
        assert len(list(merged.iterdir())) == count + 1
        assert (merged / "common").read_text() == "0"
        assert (merged / f"file{count - 1}").read_text() == str(count - 1)
        (merged / "new").write_text("new")
        (merged / "file0").unlink()
        options = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(merged) in line)
        for turned_on in ("redirect_dir=on", "metacopy=on", "index=on"):
            assert turned_on not in options

    apart(check)
    assert (tmp_path / "upper/new").read_text() == "new"
    assert (tmp_path / "upper/file0").is_char_device()
    assert not [name for name in os.listdir("/run") if name.startswith(".rundlet-")]


def test_layers_with_odd_and_long_names(tmp_path: Path) -> None:
    lowers = []
    for name in ("with:colon", "with,comma", "with\\backslash", "/".join(["long" * 20] * 4)):
        layer = tmp_path / name
        layer.mkdir(parents=True)
        (layer / name[:4].replace("/", "")).mkdir(exist_ok=True)
        (layer / f"in-{len(lowers)}").touch()
        lowers.append(str(layer))

    def check() -> None:
        (tmp_path / "merged").mkdir()
        mount.attach(mount.overlay(lowers), str(tmp_path / "merged"))
        assert {f"in-{number}" for number in range(4)} < set(os.listdir(tmp_path / "merged"))
        with pytest.raises(OSError) as caught:
            (tmp_path / "merged/new").touch()
        assert caught.value.errno == errno.EROFS

    apart(check)


def test_a_read_only_overlay_with_an_upper(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()

    def check() -> None:
        fd = mount.overlay([str(tmp_path / "lower")], str(tmp_path / "upper"), str(tmp_path / "work"), readonly=True)
        mount.attach(fd, str(tmp_path / "merged"))
        with pytest.raises(OSError) as caught:
            (tmp_path / "merged/new").touch()
        assert caught.value.errno == errno.EROFS

    apart(check)


@pytest.mark.parametrize("make", [mount.overlay, overlay_by_options], ids=["lowerdir+", "options"])
def test_a_missing_layer_is_named(tmp_path: Path, make: Callable[..., int]) -> None:
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make([str(tmp_path / "nowhere"), str(tmp_path)], str(tmp_path / "upper"), str(tmp_path / "work"))


def test_recursive_attributes_and_propagation(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()

    def check() -> None:
        mount.mount("none", str(tmp_path / "source"), "tmpfs", mount.MS_NOSUID, "size=64k")
        (tmp_path / "source/inner").mkdir()
        mount.mount("none", str(tmp_path / "source/inner"), "tmpfs")
        fd = mount.open_tree(libc.AT_FDCWD, str(tmp_path / "source"), mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE)
        mount.mount_setattr(fd, "", mount.MOUNT_ATTR_RDONLY, propagation=mount.MS_PRIVATE, recursive=True)
        mount.attach(fd, str(tmp_path / "target"))
        for place in ("target/new", "target/inner/new"):
            with pytest.raises(OSError) as caught:
                (tmp_path / place).touch()
            assert caught.value.errno == errno.EROFS
        (tmp_path / "source/inner/new").touch()

    apart(check)


def test_nobody_can_shadow_the_detached_proc() -> None:
    def check() -> None:
        mount.mount("none", "/proc", "tmpfs")
        fd = mount.detached_proc()
        assert os.readlink("self", dir_fd=fd) == str(os.getpid())
        mount.require_filesystem(fd, mount.PROC_SUPER_MAGIC, "/proc")
        shadow = os.open("/proc", os.O_PATH)
        with pytest.raises(OSError, match="/proc"):
            mount.require_filesystem(shadow, mount.PROC_SUPER_MAGIC, "/proc")

    apart(check)


def test_what_the_file_system_says_is_in_the_error() -> None:
    with pytest.raises(OSError, match="nonsense"):
        mount.new_filesystem("tmpfs", {"nonsense": "1"})


@pytest.mark.parametrize("pin", [mount.clone_readonly, mount.sealed_copy], ids=["clone", "memfd"])
def test_nobody_writes_through_a_pinned_executable(tmp_path: Path, pin: Callable[[str], int]) -> None:
    """CVE-2019-5736: root in the container opens /proc/<pid>/exe of a process that runs the host's interpreter."""
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    program.chmod(0o755)
    before = program.read_bytes()
    fd = pin(str(program))
    child = os.fork()
    if child == 0:
        libc.execveat(fd, ["sleep", "30"], {})
    try:
        while os.path.basename(os.readlink(f"/proc/{child}/exe")).startswith("python"):
            os.sched_yield()
        exe = os.open(f"/proc/{child}/exe", os.O_PATH)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    # It runs no more, so "text file busy" protects it no more either; only the descriptor's own rights do.
    for pinned in (exe, fd):
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            with pytest.raises(OSError) as caught:
                victim = os.open(f"/proc/self/fd/{pinned}", flags)
                try:
                    os.write(victim, b"#!/bin/sh\n")
                finally:
                    os.close(victim)
            assert caught.value.errno == (errno.EROFS if pin is mount.clone_readonly else errno.EPERM)
        os.close(pinned)
    assert program.read_bytes() == before
