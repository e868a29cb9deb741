"""SIGKILL for the engine in the midst of save, load, import and commit; a disk that is full for save and commit."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.test_disk_full import little_disk, started, used
from tests.engines import Engine, wait_for
from tests.store import walk_store

SIZE = 48 << 20


@pytest.fixture
def engine(new_engine: Callable[..., Engine]) -> Engine:
    return new_engine(image=True)


def blobs(engine: Engine) -> set[str]:
    return set(os.listdir(Path(engine.layout.content, "blobs", "sha256")))


def half_made(engine: Engine) -> int:
    """Bytes of blobs on their way in; one that gets there in between is none of them."""
    size = 0
    for path in Path(engine.layout.content, "ingest").iterdir():
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def ends_with_the_engine(engine: Engine, running: "subprocess.Popen[bytes]", before: set[str]) -> None:
    """Kill the engine; the command says so in one line, and the next engine has what was there before."""
    killed = engine.kill()
    _out, err = running.communicate(timeout=60)
    assert running.returncode == 1, err
    lines = err.decode().strip().splitlines()
    assert lines and "Traceback" not in err.decode(), err
    assert any(word in lines[-1] for word in ("EOF", "closed", "reset", "broken", "connect")), lines
    engine.wait_for_successor(killed)
    wait_for(lambda: blobs(engine) == before, hint=f"blobs stay: {blobs(engine) ^ before}")
    assert half_made(engine) == 0
    walk_store(engine)


@pytest.fixture
def image(engine: Engine) -> str:
    """One of a layer that takes a while."""
    engine.ok("run", "--name", "big", "busybox", "dd", "if=/dev/urandom", "of=/big", "bs=1M", f"count={SIZE >> 20}")
    engine.ok("commit", "big", "big:1")
    return "big:1"


def test_save(engine: Engine, image: str, tmp_path: Path) -> None:
    before = blobs(engine)
    saving = engine.popen("save", image)
    assert saving.stdout is not None
    saving.stdout.read(1 << 20)  # the pipes are full behind that
    ends_with_the_engine(engine, saving, before)
    engine.ok("save", "-o", str(tmp_path / "whole.tar"), image)
    engine.ok("rmi", image)
    engine.ok("load", "-i", str(tmp_path / "whole.tar"))
    assert engine.ok("run", "--rm", image, "stat", "-c", "%s", "/big") == str(SIZE)


@pytest.mark.parametrize("verb", [("load",), ("import", "-", "big:1")])
def test_load_and_import(engine: Engine, image: str, tmp_path: Path, verb: tuple[str, ...]) -> None:
    path = tmp_path / "archive.tar"
    engine.ok("save" if verb[0] == "load" else "export", "-o", str(path), image if verb[0] == "load" else "big")
    data = path.read_bytes()
    engine.ok("rm", "big")
    engine.ok("rmi", image)
    before = blobs(engine)
    coming = engine.popen(*verb, stdin=subprocess.PIPE)
    assert coming.stdin is not None
    coming.stdin.write(data[: len(data) // 2])
    coming.stdin.flush()
    wait_for(lambda: half_made(engine) > 1 << 20, hint="some of it is written")
    ends_with_the_engine(engine, coming, before)
    engine.ok(*verb, stdin=data)
    assert engine.ok("run", "--rm", "big:1", "stat", "-c", "%s", "/big") == str(SIZE)
    walk_store(engine)


def test_commit(engine: Engine, image: str) -> None:
    engine.ok("rmi", image)
    before = blobs(engine)
    committing = engine.popen("commit", "big", "big:2")
    wait_for(lambda: half_made(engine) > 1 << 20 or committing.poll() is not None, hint="some of it is written")
    ends_with_the_engine(engine, committing, before)
    engine.ok("commit", "big", "big:2")
    assert engine.ok("run", "--rm", "big:2", "stat", "-c", "%s", "/big") == str(SIZE)
    walk_store(engine)


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small(busybox_tar: Path) -> Iterator[Engine]:
    directory = Path("/tmp") / f"rl-little-{os.getpid()}"
    with little_disk(directory), started(directory, busybox_tar) as engine:
        yield engine


def test_commit_on_a_full_disk(small: Engine) -> None:
    small.ok("run", "--name", "half", "busybox", "dd", "if=/dev/urandom", "of=/half", "bs=1M", "count=20")
    before = used(small)
    done = small.cli("commit", "half", "too:big")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr and len(done.stderr.splitlines()) == 1
    assert small.ok("images", "-q", "too") == ""
    wait_for(lambda: used(small) < before + (1 << 20), hint="what was half-made is gone")
    walk_store(small)
    # The archive is the caller's: a disk that is full for it costs the engine nothing.
    place = small.directory / "saved.tar"
    small.ok("rm", "half")
    filler = small.directory / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (40 << 20) - used(small) - (1 << 20))
    done = small.cli("save", "-o", str(place), "busybox")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not place.exists()
    filler.unlink()
    small.ok("save", "-o", str(place), "busybox")
    walk_store(small)
