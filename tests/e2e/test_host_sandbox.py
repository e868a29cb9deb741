"""``run --rootfs``: commands on a copy-on-write view of this machine's own files, which are never written."""

import json
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine, succeeded

pytestmark = [pytest.mark.root]


@pytest.fixture
def tree(engine: Engine, busybox_tar: Path) -> Iterator[Path]:
    """A small root file system in a directory of the host, with another file system mounted in it."""
    directory = Path(engine.directory) / f"tree-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o755)
    subprocess.run(["tar", "-xf", str(busybox_tar), "-C", str(directory)], check=True)
    for name in ("data", "run", "usr/kept", "etc"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "usr/kept/file").write_text("as it was\n")
    (directory / "etc/resolv.conf").unlink(missing_ok=True)
    (directory / "etc/resolv.conf").symlink_to("../run/nowhere/resolv.conf")
    other = directory.with_name(directory.name + "-other")
    other.mkdir()
    (other / "inner").write_text("inner\n")
    subprocess.run(["mount", "--bind", str(other), str(directory / "data")], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory / "run")], check=True)
    yield directory
    engine.remove_containers()
    for name in ("data", "run"):
        subprocess.run(["umount", "-l", str(directory / name)], check=True)


def snapshot(tree: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for directory, _, files in os.walk(tree):
        for name in (directory, *(os.path.join(directory, file) for file in files)):
            status = os.lstat(name)
            found[name] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_uid)
    return found


SCRIPT = (
    "cat /data/inner /usr/kept/file; echo new > /data/new; rm /data/inner; echo more >> /usr/kept/file; rm /bin/vi;"
    "echo x > /run/x; mkdir -p /etc/own; ls /run; test -s /etc/resolv.conf && echo names"
)


def test_changes_are_seen_and_kept_and_the_host_is_not_written(engine: Engine, tree: Path) -> None:
    (tree / "bin/vi").touch()
    before = snapshot(tree)
    said = engine.ok("run", "--name", "box", "--rootfs", str(tree), "sh", "-c", SCRIPT)
    assert said.splitlines() == ["inner", "as it was", "x", "names"]
    assert snapshot(tree) == before
    changed = engine.ok("diff", "box").splitlines()
    assert sorted(changed) == sorted(
        ["C /bin", "D /bin/vi", "D /data/inner", "A /data/new", "C /etc", "A /etc/own", "C /usr/kept/file"]
        + [line for line in changed if line in ("C /usr", "C /usr/kept", "C /data")]
    )
    assert engine.field("box", "{{.HostConfig.Rootfs}} {{.Image}}").strip() == str(tree)
    assert engine.ok("ps", "-a", "--format", "{{.Image}}") == str(tree)
    # The layer has the changes and nothing else; over the directory it is what the container was.
    engine.ok("commit", "box", "kept")
    image = json.loads(engine.ok("inspect", "--type", "image", "kept"))[0]
    assert len(image["RootFS"]["Layers"]) == 1
    assert image["Size"] < 4096
    again = ("run", "--rm", "--rootfs", str(tree), "--rootfs-image", "kept", "sh", "-c")
    said = engine.ok(*again, "cat /data/new /usr/kept/file; ls /data /bin/vi 2>&1; ls -d /etc/own")
    assert said.splitlines()[:3] == ["new", "as it was", "more"]
    assert "/bin/vi: No such file" in said
    assert said.splitlines()[-1] == "/etc/own"
    assert snapshot(tree) == before


def test_stopped_and_running_ones_are_copied_from_and_to(engine: Engine, tree: Path, tmp_path: Path) -> None:
    engine.ok("run", "-d", "--name", "box", "--rootfs", str(tree), "sh", "-c", "echo in > /data/mine; sleep 600")
    (tmp_path / "given").write_text("given\n")
    engine.ok("cp", str(tmp_path / "given"), "box:/data/given")
    assert engine.ok("exec", "box", "cat", "/data/given", "/data/mine") == "given\nin"
    engine.ok("kill", "box")
    engine.ok("wait", "box")
    engine.ok("cp", str(tmp_path / "given"), "box:/data/later")
    assert "in" in engine.ok("cp", "box:/data/mine", "-")
    assert {"A /data/given", "A /data/later", "A /data/mine"} <= set(engine.ok("diff", "box").splitlines())
    assert sorted(path.name for path in (tree / "data").iterdir()) == ["inner"]


def test_this_machines_own_root(engine: Engine) -> None:
    """The whole of it: with its own programs, without other containers' files."""
    mark = f"rl-{secrets.token_hex(6)}"
    script = f"cat /etc/os-release && ls -A {engine.layout.root}; touch /etc/{mark} /root/{mark}; echo over"
    done = engine.cli("run", "--name", "box", "--rootfs", "/", "sh", "-c", script)
    said = succeeded(done).splitlines()
    assert said == [*Path("/etc/os-release").read_text().splitlines(), "over"]
    assert not Path(f"/etc/{mark}").exists()
    changed = engine.ok("diff", "box").splitlines()
    assert {f"A /etc/{mark}", f"A /root/{mark}"} <= set(changed)
    assert len(changed) <= 4, changed
    # The upper directory lies in the lower one here.
    assert mark in engine.ok("cp", f"box:/etc/{mark}", "-")


@pytest.mark.parametrize("runs", [False, True], ids=["stopped", "running"])
def test_export_has_nothing_of_the_engines_own_directory(engine: Engine, tree: Path, runs: bool) -> None:
    """Its upper directory, which lies in what it is a view of, would be there once more."""
    around = os.path.dirname(engine.layout.root)
    assert str(tree.parent) == around, "the tree is beside the engine's directory"
    name = os.path.basename(engine.layout.root)
    program = f"/{tree.name}/bin/busybox"
    command = ["sleep", "600"] if runs else ["touch", "/made"]
    engine.ok("run", *(["-d"] if runs else []), "--name", "box", "--rootfs", around, "--entrypoint", program, *command)
    if runs:
        engine.ok("exec", "box", program, "touch", "/made")
    with engine.popen("export", "box") as exporting:
        assert exporting.stdout is not None
        with tarfile.open(fileobj=exporting.stdout, mode="r|") as archive:
            entries = {entry.name.rstrip("/") for entry in archive}
    assert {"made", program.strip("/"), name} <= entries
    assert not [entry for entry in entries if entry.startswith(f"{name}/")]
    assert not Path(around, "made").exists()


def test_mounts_of_the_users_cover_those_of_the_machine(engine: Engine, tree: Path, scratch: Path) -> None:
    """No place to mount them at is made in what the user mounts."""
    inner = tree / "usr/memory"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inner)], check=True)
    try:
        run = ("run", "--rm", "--rootfs", str(tree))
        assert "memory" in engine.ok(*run, "ls", "/usr")
        engine.ok(*run, "-v", f"{scratch}:/usr/", "touch", "/usr/mine")
        assert [path.name for path in scratch.iterdir()] == ["mine"]
    finally:
        subprocess.run(["umount", "-l", str(inner)], check=True)


def test_refusals(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in (
        ("nowhere", "the path must be absolute"),
        ("/nowhere/at/all", "no such directory"),
        (str(tmp_path / "file"), "no such directory"),
        (engine.layout.root, "one of the engine's own directories"),
        ("/proc", "overlayfs can't be mounted on /proc"),
    ):
        done = engine.cli("run", "--rm", "--rootfs", path, "true")
        assert (done.returncode, message in done.stderr) == (125, True), (path, done.stderr)
    assert "needs --rootfs" in engine.cli("run", "--rootfs-image", "busybox", "busybox").stderr
    assert engine.ok("ps", "-aq") == ""
