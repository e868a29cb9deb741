"""An engine inside a plain chroot(2): nobody who is put into one of its containers may arrive outside."""

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine

pytestmark = [pytest.mark.root]

_LEFT_OUT = ("lost+found",)


class ChrootEngine(Engine):
    """Its root is a directory that shows the machine's own; ``mounted``: the directory is a mount's root, too."""

    def __init__(self, mounted: bool) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="rl-chroot-", dir="/tmp"))
        self.mounted = mounted

    def command(self) -> list[str]:
        place = shlex.quote(str(self.place))
        steps = ["set -e", f"mount -t tmpfs tmpfs {place}", f"mkdir {place}/root", f"cd {place}/root"]
        if self.mounted:
            steps += ["mount --bind . .", f"cd {place}/root"]
        for entry in sorted(Path("/").iterdir()):
            name = shlex.quote(entry.name)
            if entry.is_symlink():
                steps.append(f"ln -s {shlex.quote(str(entry.readlink()))} {name}")
            elif entry.is_dir() and entry.name not in _LEFT_OUT:
                steps.append(f"mkdir {name}; mount --rbind /{name} {name}")
        steps.append('exec chroot . "$@"')
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", "\n".join(steps), "sh", *super().command()]


@pytest.fixture(params=[False, True], ids=["directory", "mount"])
def engine(request: pytest.FixtureRequest, busybox_tar: Path) -> Iterator[ChrootEngine]:
    engine = ChrootEngine(request.param)
    try:
        engine.start()
        engine.ok("import", str(busybox_tar), "busybox")
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(engine.place)


def test_exec_and_cp_stay_inside(engine: ChrootEngine, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    flags = ("-d", "--name", "box", "--ipc", "shareable", "-v", f"{tmp_path}:/bound")
    engine.ok("run", *flags, "busybox", "sh", "-c", "echo in > /mark; sleep 600")
    assert engine.ok("exec", "box", "cat", "/mark", "/bound/given") == "in\nfrom the host"
    # No way up either: the machine's root has this directory, the container's doesn't.
    for above in ("", "/../../..", "/proc/1/root", "/proc/self/root/.."):
        assert engine.cli("exec", "box", "ls", f"{above}{engine.directory}").returncode == 1
    engine.ok("cp", str(tmp_path / "given"), "box:/put")
    assert engine.ok("exec", "box", "cat", "/put") == "from the host"
    # The other's /dev/shm is fetched from its namespace, then our own bind must come from our own root.
    other = ("--ipc", "container:box", "-v", f"{tmp_path}:/bound")
    assert engine.ok("run", "--rm", *other, "busybox", "cat", "/bound/given") == "from the host"


def test_stopped_container_is_copied_from(engine: ChrootEngine) -> None:
    engine.ok("run", "--name", "over", "busybox", "sh", "-c", "echo left > /file")
    assert "A /file" in engine.ok("diff", "over").splitlines()
    assert "left" in engine.ok("cp", "over:/file", "-")
