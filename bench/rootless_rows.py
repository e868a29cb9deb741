"""Rows about an ordinary user's engine, beside root's and podman of the same user: a user is made for the run.

All three use the same installation, one that every user can read, so that the interpreter makes no difference.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools import images
from tools.images import ROOT

from bench.contenders import Contender, Podman, Rundlet, run
from bench.rows import IMAGE, Limit, Row, milliseconds

ENVIRONMENT = ROOT / ".cache" / "bench-user-venv"
ROOTS = "root's engine"
_INTERPRETER = "/usr/bin/python3"
_PODMAN = ("--cgroup-manager", "cgroupfs", "--runtime", "runc", "--storage-driver", "overlay")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def install() -> None:
    """Rundlet for every user: by the system's interpreter, which root's home doesn't hide."""
    python = ENVIRONMENT / "bin" / "python"
    again = ["--force-reinstall", "--no-deps"] if python.exists() else []
    if not again:
        subprocess.run([_INTERPRETER, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, *again, str(ROOT)], check=True)


class _User:
    """Somebody with ranges of IDs and a home, as whom commands are run."""

    def __init__(self, directory: Path) -> None:
        self.name = f"bench{secrets.token_hex(3)}"
        self.home = directory / "home"
        subprocess.run(["useradd", "-m", "-d", str(self.home), "-s", "/bin/sh", self.name], check=True)
        entry = pwd.getpwnam(self.name)
        self.uid, self.gid = entry.pw_uid, entry.pw_gid
        self.runtime = Path(f"/run/{self.name}")  # it ends with the isolation
        self.runtime.mkdir(mode=0o700)
        os.chown(self.runtime, self.uid, self.gid)

    def words(self) -> list[str]:
        """What goes before a command: it becomes the command, without a process of its own."""
        user = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "env", "-i", "-C", "/"]
        return [*user, f"HOME={self.home}", f"USER={self.name}", f"XDG_RUNTIME_DIR={self.runtime}", f"PATH={_PATH}"]

    def remove(self) -> None:
        """With what holds namespaces for the next command: ``podman pause``, Rundlet's keeper."""
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == self.uid:
                    os.kill(int(name), signal.SIGKILL)
        subprocess.run(["userdel", "-r", self.name], capture_output=True, check=False)


class _UsersRundlet(Rundlet):
    """``rundlet`` here is the user's."""

    def __init__(self, directory: Path, user: _User) -> None:
        super().__init__(directory, ENVIRONMENT)
        self._user = user

    def start(self) -> None:
        run(self.command("version"))  # which starts it

    def stop(self) -> None:
        run(self.command("engine", "stop"))

    def command(self, *arguments: str) -> list[str]:
        return [*self._user.words(), str(self._bin / "rundlet"), *arguments]


class _RootsRundlet(Rundlet):
    name = ROOTS

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, ENVIRONMENT)
        self._run = Path("/run/bench-root")

    def command(self, *arguments: str) -> list[str]:
        return ["setpriv", "--clear-groups", "env", "-C", "/", *super().command(*arguments)]


class _UsersPodman(Podman):
    """With overlay, which it would choose itself where / is a shared mount; runc as in the other rows."""

    def __init__(self, directory: Path, user: _User) -> None:
        super().__init__(directory)
        self._user = user

    def start(self) -> None:
        run(self.command("version"))

    def command(self, *arguments: str) -> list[str]:
        return [*self._user.words(), "podman", *_PODMAN, *arguments]


@contextlib.contextmanager
def contenders() -> Iterator[list[Contender]]:
    """The user's Rundlet and podman, and root's Rundlet, with the small image."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rundlet-bench-", dir="/var/tmp")))
        directory.chmod(0o755)
        user = _User(directory)
        stack.callback(user.remove)
        chosen: list[Contender] = [
            _UsersRundlet(directory, user),
            _UsersPodman(directory, user),
            _RootsRundlet(directory / "root"),
        ]
        for one in chosen:
            one.start()
            stack.callback(one.stop)
            run(one.command("import", str(_image(directory)), IMAGE))
        yield chosen


def _image(directory: Path) -> Path:
    """Where the user can read it."""
    place = directory / "image.tar"
    if not place.exists():
        shutil.copyfile(images.debian_tar(), place)
        place.chmod(0o644)
    return place


def rootless_rows(*, quick: bool) -> list[Row]:
    many = 2 if quick else 15
    return [
        Row("`run --rm IMG /bin/true` of an ordinary user", "ms", many, _run_true, before=_warm_up,
            limits=(Limit("podman", 0.4), Limit(ROOTS, 1.3))),
    ]  # fmt: skip


def _run_true(one: Contender) -> float:
    return milliseconds(one.command("run", "--rm", IMAGE, "/bin/true"))


def _warm_up(one: Contender) -> None:
    _run_true(one)
