"""A full disk during pull, import and run: one line says so, nothing half-made stays, what was there still works."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for


@contextmanager
def little_disk(directory: Path) -> Iterator[None]:
    """40 MB at ``directory``."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=755", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def started(directory: Path, busybox_tar: Path) -> Iterator[Engine]:
    engine = Engine(directory=directory)
    try:
        engine.start()
        engine.ok("import", str(busybox_tar), "busybox")
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def small(busybox_tar: Path) -> Iterator[Engine]:
    """An engine whose directories are on a file system of 40 MB."""
    directory = Path("/tmp") / f"rl-full-{os.getpid()}"
    with little_disk(directory), started(directory, busybox_tar) as engine:
        yield engine


def used(engine: Engine) -> int:
    status = os.statvfs(engine.directory)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def test_import_on_a_full_disk(small: Engine, debian_tar: Path) -> None:
    before = used(small)
    done = small.cli("import", str(debian_tar), "too-big")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert small.ok("images", "-q", "too-big") == ""
    wait_for(lambda: used(small) < before + (2 << 20), hint="what was half-made is gone")
    assert small.ok("run", "--rm", "busybox", "echo", "fine") == "fine"


def test_a_container_that_fills_the_disk(small: Engine) -> None:
    done = small.cli("run", "--name", "filler", "busybox", "dd", "if=/dev/zero", "of=/full", "bs=1M", "count=200")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    # Its status is recorded all the same, and it can be removed.
    assert small.field("filler", "{{.State.ExitCode}}") == "1"
    small.ok("rm", "filler")
    assert small.ok("run", "--rm", "busybox", "echo", "fine") == "fine"


def test_starting_on_a_full_disk(small: Engine) -> None:
    small.ok("run", "-d", "--name", "alive", "busybox", "sleep", "1000")
    filler = small.directory / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * (1 << 20))
                file.flush()
        except OSError:
            pass
    done = small.cli("run", "--rm", "--name", "new", "busybox", "true")
    assert done.returncode == 125, done
    assert "no space left on device" in done.stderr.lower() or "full" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    small.ok("exec", "alive", "true")
    small.ok("kill", "alive")
    wait_for(lambda: small.field("alive", "{{.State.ExitCode}}") == "137", hint="an exit is recorded on a full disk")
    filler.unlink()
    assert small.ok("ps", "-a", "--format", "{{.Names}}") == "alive"
    assert small.ok("run", "--rm", "--name", "new", "busybox", "echo", "again") == "again"


def test_room_is_made_on_a_disk_that_others_filled(small: Engine) -> None:
    """Removing something is written down, too: some room is set aside for that."""
    small.ok("network", "create", "--subnet", "10.213.7.0/24", "mine")
    small.ok("run", "-d", "--name", "alive", "--network", "mine", "-v", "/data", "busybox", "sleep", "1000")
    for name in ("one", "two", "three"):
        small.ok("create", "--name", name, "-v", f"{name}-data:/data", "busybox", "true")
    small.ok("tag", "busybox", "another")
    small.ok("commit", "one", "changed")
    wait_for(lambda: Path(f"{small.layout.database}-reserve").exists(), hint="room is set aside")
    fd = os.open(small.directory / "filler", os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(fd, b"\0" * 4096):
            pass
    os.close(fd)
    assert "no space left on device" in small.cli("tag", "busybox", "more").stderr
    small.ok("rm", "one")
    small.ok("rm", "-f", "alive")
    small.ok("rmi", "another", "changed")
    small.ok("network", "rm", "mine")
    small.ok("container", "prune", "-f")
    small.ok("volume", "prune", "-af")
    small.ok("rmi", "busybox")
    lists = (("ps", "-aq"), ("volume", "ls", "-q"), ("images", "-aq"), ("network", "ls", "-q", "-f", "type=custom"))
    assert [small.ok(*one) for one in lists] == [""] * 4


def test_an_engine_starts_on_a_full_disk(busybox_tar: Path) -> None:
    """Where else should room be made from?"""
    disk = Path("/tmp") / f"rl-disk-{os.getpid()}"
    with little_disk(disk), tempfile.TemporaryDirectory(prefix="rl-full-", dir="/tmp") as directory:
        Path(directory, "root").symlink_to(disk)
        starts_when_full(Path(directory), busybox_tar)


def starts_when_full(directory: Path, busybox_tar: Path) -> None:
    with started(directory, busybox_tar) as engine:
        done = engine.cli("run", "--name", "filler", "busybox", "dd", "if=/dev/zero", "of=/full", "bs=1k")
        assert "No space left on device" in done.stderr
        engine.wait_for_successor(engine.kill(), 30)
        assert engine.ok("ps", "-a", "--format", "{{.Names}}") == "filler"
        engine.cli("rm", "filler")  # the files go first: that there was no room to write it down is told, once
        engine.ok("container", "prune", "-f")
        assert engine.ok("ps", "-aq") == ""
        assert engine.ok("run", "--rm", "busybox", "echo", "fine") == "fine"


def test_builds_on_a_full_disk(small: Engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "big").write_bytes(os.urandom(30 << 20))
    before = used(small)
    for text, message in (
        ("FROM busybox\nRUN dd if=/dev/zero of=/full bs=1M count=200\n", "did not complete successfully: exit code: 1"),
        # Room for the files, and none for the archive that a layer travels as.
        ("FROM busybox\nRUN dd if=/dev/urandom of=/half bs=1M count=20\n", "no space left on device"),
        ("FROM busybox\nCOPY big /big\n", "no space left on device"),
    ):
        (context / "Dockerfile").write_text(text)
        (context / ".dockerignore").write_text("" if "COPY" in text else "big")
        done = small.cli("build", "-t", "t", str(context))
        assert done.returncode == 1, done
        assert message in done.stderr.lower() or message in done.stderr
        assert "Traceback" not in done.stderr
        # The engine's copy of a large context goes with it: it takes no room that others need.
        wait_for(lambda: used(small) < before + (4 << 20), hint=f"what was half-made of {text} is gone")
        wait_for(lambda: small.ok("ps", "-aq") == "", hint="the step's container is gone")
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo fine > /fine\n")
    (context / ".dockerignore").write_text("big")
    small.ok("build", "-t", "t", str(context))
    assert small.ok("run", "--rm", "t", "cat", "/fine") == "fine"
