"""Whatever happens to a load or a pull, the store stays whole; what comes in takes little memory however big it is."""

import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for
from tests.store import walk_store
from tools.own_registry import own_registry

MEBIBYTE = 1 << 20


@pytest.fixture
def engine(new_engine: Callable[..., Engine]) -> Engine:
    return new_engine(image=False)


@pytest.fixture
def archive(engine: Engine, debian_tar: Path, tmp_path: Path) -> Path:
    """Of one image with a layer that takes a while; the image itself is gone again."""
    path = tmp_path / "saved.tar"
    engine.ok("import", str(debian_tar), "big:1")
    engine.ok("save", "-o", str(path), "big:1")
    engine.ok("rmi", "big:1")
    return path


def test_loads_that_do_not_come_to_their_end(engine: Engine, archive: Path, tmp_path: Path) -> None:
    for delay in (0.1, 0.4):
        loading = engine.popen("load", "-i", str(archive))
        time.sleep(delay)
        loading.send_signal(signal.SIGINT)
        loading.communicate(timeout=60)
        if loading.returncode == 0:
            engine.ok("rmi", "big:1")
        wait_for(lambda: not list(Path(engine.layout.content, "blobs", "sha256").iterdir()), 20)
        walk_store(engine)

    data = archive.read_bytes()
    for wrong, says in ((data[: len(data) // 2], "unexpected EOF"), (_flipped(data), "digest|sha256")):
        bad = tmp_path / "bad.tar"
        bad.write_bytes(wrong)
        done = engine.cli("load", "-i", str(bad))
        assert done.returncode == 1
        assert any(word in done.stderr for word in says.split("|")), done.stderr
        assert engine.ok("images", "-aq") == ""
        walk_store(engine)

    loading = engine.popen("load", "-i", str(archive))
    time.sleep(0.3)
    killed = engine.kill()
    loading.communicate(timeout=60)
    engine.wait_for_successor(killed)
    if engine.ok("images", "-q"):
        engine.ok("rmi", "big:1")
    walk_store(engine)

    both = [engine.popen("load", "-q", "-i", str(archive)) for _ in range(2)]
    assert [status(process) for process in both] == [0, 0]
    walk_store(engine)
    assert engine.ok("run", "--rm", "big:1", "echo", "whole") == "whole"
    removals = [engine.popen("rmi", "big:1") for _ in range(2)]
    assert 0 in [status(process) for process in removals]
    walk_store(engine)
    assert os.listdir(Path(engine.layout.content, "blobs", "sha256")) == []


def status(process: "subprocess.Popen[bytes]") -> int:
    process.communicate(timeout=60)
    assert process.returncode is not None
    return int(process.returncode)


def _flipped(data: bytes) -> bytes:
    """The same archive with another byte in the middle of its layer."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_memory_does_not_grow_with_the_image(engine: Engine, tmp_path: Path) -> None:
    tar = tmp_path / "large.tar"
    with tarfile.open(tar, "w") as out:
        for number in range(3):
            file = tmp_path / "random"
            file.write_bytes(os.urandom(64 * MEBIBYTE))
            out.add(file, arcname=f"random-{number}")
    with own_registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/large:1"
        engine.ok("import", str(tar), name, timeout=120)
        engine.ok("push", "-q", name, timeout=120)
        engine.ok("rmi", name)
        with little_memory(engine, 64 * MEBIBYTE):
            engine.ok("pull", "-q", name, timeout=120)
        engine.ok("rmi", name)


def test_memory_does_not_grow_with_the_build_context(engine: Engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY big /\n")
    (context / "big").write_bytes(b"")
    engine.ok("build", "-q", str(context))  # what a first build imports stays
    with (context / "big").open("wb") as file:
        for _ in range(128):
            file.write(os.urandom(MEBIBYTE))
    with little_memory(engine, 32 * MEBIBYTE):
        engine.ok("build", "-q", "-t", "big", str(context), timeout=240)
    assert int(engine.ok("image", "inspect", "-f", "{{.Size}}", "big")) >= 128 * MEBIBYTE


def test_memory_does_not_grow_with_the_number_of_files(engine: Engine, tmp_path: Path) -> None:
    tar = tmp_path / "many.tar"
    with tar.open("wb") as out:
        for number in range(50_000):
            out.write(tarfile.TarInfo(f"{number // 1000}/{number}").tobuf(tarfile.USTAR_FORMAT))
        out.write(bytes(1024))
    with little_memory(engine, 16 * MEBIBYTE):
        engine.ok("import", str(tar), "many", timeout=240)
    engine.ok("create", "--name", "one", "many", "x")
    assert engine.ok("cp", "one:/49/49999", "-").startswith("49999\0")


@contextmanager
def little_memory(engine: Engine, allowed: int) -> Iterator[None]:
    """At its peak, the engine has ``allowed`` bytes more than before, at most."""
    before = memory(engine, "VmRSS")
    Path(f"/proc/{engine.pid}/clear_refs").write_text("5")  # the peak begins anew
    yield
    peak = memory(engine, "VmHWM")
    assert peak < 150 * MEBIBYTE
    assert peak - before < allowed


def memory(engine: Engine, what: str) -> int:
    line = next(line for line in Path(f"/proc/{engine.pid}/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024
