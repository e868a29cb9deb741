"""An engine whose data root overlayfs can't write to: everything is copies."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engines import Engine

from rundlet.linux import mount


@pytest.fixture
def copying(new_engine: Callable[..., Engine]) -> Engine:
    return new_engine("--storage-driver", "vfs")


def test_a_container_and_its_changes(copying: Engine, tmp_path: Path) -> None:
    engine = copying
    assert engine.ok("info", "-f", "{{.Driver}}") == "vfs"
    engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    engine.ok("exec", "box", "sh", "-c", "echo new > /new; ln /new /other; rm /etc/passwd; chmod 700 /tmp")
    changes = {"A /new", "A /other", "C /etc", "D /etc/passwd", "C /tmp"}
    assert set(engine.ok("diff", "box").splitlines()) == changes
    engine.ok("stop", "-t", "0", "box")
    (tmp_path / "copied").write_text("copied")
    engine.ok("cp", str(tmp_path / "copied"), "box:/copied")
    assert set(engine.ok("diff", "box").splitlines()) == changes | {"A /copied"}
    engine.ok("commit", "box", "made")
    script = "cat /new /copied; echo; test ! -e /etc/passwd && stat -c %h /other && stat -c %a /tmp"
    assert engine.ok("run", "--rm", "made", "sh", "-c", script).split() == ["new", "copied", "2", "700"]
    assert engine.ok("run", "--rm", "--userns=auto", "made", "stat", "-c", "%u", "/new") == "0"
    assert engine.ok("run", "--rm", "--mount", "type=image,src=made,dst=/i", "busybox", "cat", "/i/new") == "new"
    engine.wait_for_successor(engine.kill())
    engine.ok("start", "box")
    assert engine.ok("exec", "box", "cat", "/copied") == "copied"
    done = engine.cli("run", "--rm", "--rootfs", "/", "true")
    assert "--rootfs without overlayfs" in done.stderr
    engine.ok("rm", "-f", "box")
    engine.ok("rmi", "made")


def test_a_build(copying: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("file")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS first\nRUN echo one > /one && rm -r /etc/passwd\nCOPY file /deep/down/\n"
        "RUN --mount=type=cache,target=/cache test -e /deep/down/file && test ! -e /etc/passwd\n"
        "FROM busybox\nRUN --mount=type=bind,from=first,target=/f test -e /f/one -a ! -e /f/etc/passwd\n"
        "COPY --from=first /one /deep /copied/\nADD file /added\n"
    )
    copying.ok("build", "-q", "-t", "built", str(tmp_path))
    assert copying.ok("run", "--rm", "built", "cat", "/copied/one", "/copied/down/file", "/added") == "one\nfilefile"
    history = copying.ok("history", "--format", "{{.Size}}", "built").splitlines()
    assert history[:2] == ["4B", "8B"], "a layer has what it adds, not all there is"
    copying.ok("rmi", "built")


@pytest.fixture
def on_an_overlay(tmp_path: Path, busybox_tar: Path) -> Iterator[Engine]:
    """As in a container whose image has the data root, and no volume."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    place = tmp_path / "e"
    place.mkdir()
    mount.attach(mount.overlay([f"{tmp_path}/lower"], f"{tmp_path}/upper", f"{tmp_path}/work"), str(place))
    engine = Engine(directory=place)
    try:
        engine.start()
        engine.ok("import", str(busybox_tar), "busybox")
        yield engine
        engine.stop()
    finally:
        engine.terminate() if engine.listens() else None
        mount.umount(str(place), mount.MNT_DETACH)


def test_it_is_chosen_where_overlayfs_cannot_write(on_an_overlay: Engine) -> None:
    engine = on_an_overlay
    assert engine.ok("info", "-f", "{{.Driver}}") == "vfs"
    assert engine.ok("run", "--rm", "busybox", "echo", "runs") == "runs"
    doctor = engine.cli("system", "doctor", "--json", env={"RUNDLET_ROOT": engine.layout.root})
    overlay = next(found for found in json.loads(doctor.stdout) if found["name"] == "overlay")
    assert overlay["state"] == "degraded"
    assert "layers and containers are copies (driver vfs)" in overlay["found"]
    engine.terminate()
    engine.flags += ["--storage-driver", "overlay2"]
    with pytest.raises(AssertionError, match="was begun with vfs: overlay2 takes another data root"):
        engine.start()
    del engine.flags[-2:]
    engine.start()
