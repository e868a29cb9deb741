"""A real engine on directories of its own, and the command lines that talk to it."""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests import leaks

from rundlet.util.layout import Layout

SOURCE = Path(__file__).resolve().parent.parent / "src"
Done = subprocess.CompletedProcess[str]


PATIENCE = 45.0  # how long a busy machine takes says nothing about the code; a hang is still found


def wait_for(what: Callable[[], object], seconds: float = PATIENCE, *, hint: str = "") -> None:
    """Polls until ``what()`` is true, at least for ``PATIENCE`` seconds; the only waiting in the end-to-end tests."""
    seconds = max(seconds, PATIENCE)
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds} s: {hint or what}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def rundlet_command() -> list[str]:
    """The installed command where it stands beside this interpreter, else the module."""
    installed = Path(sys.executable).parent / "rundlet"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "rundlet"]


class Engine:
    """One engine process (and what it starts) under a short temporary directory.

    ``cli`` and ``docker`` run a command against it and return what it printed; ``ok`` and ``docker_ok`` insist on exit
    status 0 and return the stripped standard output.
    """

    def __init__(self, flags: Sequence[str] = (), *, directory: Path | None = None) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="rl-", dir="/tmp"))
        self._owns_directory = directory is None
        self.flags = list(flags)
        self.layout = Layout(root=str(self.directory / "root"), run=str(self.directory / "run"))
        self.socket = self.layout.engine_socket
        self.host = f"unix://{self.socket}"
        self.pidfile = self.directory / "pid"
        self.log = self.directory / "engine.log"
        self._launchers: list[subprocess.Popen[bytes]] = []  # of every start: each is waited for

    # ── the process ──────────────────────────────────────────────────────────────────────────────────────────

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "rundlet.daemon",
            "--data-root",
            self.layout.root,
            "--exec-root",
            self.layout.run,
            "--pidfile",
            str(self.pidfile),
            *self.flags,
        ]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The caller's, without what would point a client elsewhere, with this engine as the host."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "RUNDLET_"))}
        kept |= {
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.directory / "docker-config"),
            "PYTHONPATH": str(SOURCE),
            "HOME": str(self.directory),
        }
        return kept | dict(extra or {})

    def start(self) -> "Engine":
        """Returns when the engine says that it listens. Raises: AssertionError with its log when it does not."""
        reader, writer = os.pipe()
        environment = self.environment()
        del environment["DOCKER_HOST"]
        with self.log.open("ab") as log:
            launcher = subprocess.Popen(
                [*self.command(), "--ready-fd", str(writer)],
                pass_fds=[writer],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
            )
        self._launchers.append(launcher)
        os.close(writer)
        try:
            ready, _, _ = select.select([reader], [], [], 30)
            answer = os.read(reader, 4096) if ready else b"(nothing within 30 s)"
        finally:
            os.close(reader)
        if not answer.startswith(b"ok"):
            launcher.kill()
            launcher.wait()
            raise AssertionError(f"the engine did not start: {answer.decode()!r}\n{self.log.read_text()[-3000:]}")
        return self

    @property
    def pid(self) -> int:
        """Of the engine that serves now: another one after the launcher has restarted it."""
        if self.pidfile.exists():
            return int(self.pidfile.read_text())
        return self.listener()

    def _reap(self) -> None:
        for launcher in self._launchers:
            launcher.poll()

    def gone(self, pid: int) -> bool:
        self._reap()
        return not alive(pid)

    def terminate(self) -> None:
        """SIGTERM; containers stay."""
        pid = self.pid
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: self.gone(pid), 20, hint="the engine ends after SIGTERM")

    def kill(self) -> int:
        """SIGKILL; the launcher starts another one. Returns the killed process's ID."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.gone(pid), 10, hint="the engine is killed")
        return pid

    def wait_for_successor(self, killed: int, seconds: float = 10.0) -> None:
        wait_for(
            lambda: self.pidfile.exists() and self.pid not in {killed, 0} and self.answers(),
            seconds,
            hint="another engine is up",
        )

    def answers(self) -> bool:
        return self.cli("version").returncode == 0

    def stop(self) -> None:
        """Removes every container, ends the engine, and insists that nothing is left of either on the machine."""
        try:
            if self.listens():
                self.remove_containers()
                self.terminate()
            own_mount = f"mount: {self.directory} "
            left = leaks.settle(
                lambda: [item for item in leaks.with_marks(self.marks(), 0) if not item.startswith(own_mount)], 5.0
            )
        finally:
            self._kill_remains()
            self._remove_directory()
        assert not left, leaks.report(left)

    def listens(self) -> bool:
        try:
            return alive(self.listener())
        except OSError:
            return False

    def marks(self) -> tuple[str, ...]:
        """What everything that belongs to this engine has in its name."""
        short = self.layout.instance[:4]
        return (self.layout.instance, str(self.directory), f"rd{short}-", f"rv{short}-")

    def _kill_remains(self) -> None:
        """After a failure: ends and removes, one by one, what carries this engine's marks."""
        for _ in range(20):  # the launcher starts a killed engine again until it is itself killed
            found = [item for item in leaks.with_marks(self.marks(), patience=0) if item.startswith("process: ")]
            if not found:
                break
            for item in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(item.split()[1]), signal.SIGKILL)
            time.sleep(0.05)
        for launcher in self._launchers:
            launcher.wait(60)
        for item in sorted(leaks.with_marks(self.marks(), patience=1), reverse=True):
            kind, _, name = item.partition(": ")
            if kind == "cgroup":
                with contextlib.suppress(OSError):
                    os.rmdir(name)
            elif kind == "link":
                subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
            elif kind == "table":
                subprocess.run(["nft", "delete", *name.split()], capture_output=True, check=False)

    def _remove_directory(self) -> None:
        if not self._owns_directory:
            return
        for item in sorted(leaks.mounts(), reverse=True):
            if item.startswith(f"{self.directory}/"):
                subprocess.run(["umount", "-l", item.split()[0]], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def on_demand(self) -> dict[str, str]:
        """The environment of a command line that is to start this engine by itself."""
        environment = self.environment({"RUNDLET_ROOT": self.layout.root, "RUNDLET_RUN": self.layout.run})
        del environment["DOCKER_HOST"]
        return environment

    def listener(self) -> int:
        """The process that listens on the socket, as the kernel says."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid: int = struct.unpack("3i", credentials)[0]
            return pid

    # ── the command lines ────────────────────────────────────────────────────────────────────────────────────

    def run_command(
        self,
        command: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin or b""
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=max(timeout, PATIENCE),
            env=self.environment(env),
            check=False,
            cwd=cwd,
        )
        return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def cli(
        self,
        *arguments: str,
        stdin: str | bytes | None = None,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        command = [*rundlet_command(), *arguments]
        return self.run_command(command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)

    def ok(self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 60) -> str:
        return succeeded(self.cli(*arguments, stdin=stdin, timeout=timeout))

    def docker(
        self, *arguments: str, binary: str = "docker", stdin: str | bytes | None = None, timeout: float = 60
    ) -> Done:
        return self.run_command([binary, *arguments], stdin=stdin, timeout=timeout)

    def docker_ok(self, *arguments: str, binary: str = "docker", stdin: str | bytes | None = None) -> str:
        return succeeded(self.docker(*arguments, binary=binary, stdin=stdin))

    def popen(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """A running ``rundlet``, its output on pipes."""
        return subprocess.Popen(
            [*rundlet_command(), *arguments],
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    # ── shorthands ───────────────────────────────────────────────────────────────────────────────────────────

    def remove_containers(self) -> None:
        containers = self.ok("ps", "-aq").split()
        if containers:
            done = self.cli("rm", "-f", "-v", *containers)
            # One that was started with --rm may end in between.
            ending = ("No such container", "is already in progress")
            failures = [line for line in done.stderr.splitlines() if not any(text in line for text in ending)]
            assert not failures, failures

    def field(self, container: str, template: str) -> str:
        return self.ok("inspect", "-f", template, container)

    def host_pid(self, container: str) -> int:
        """The container's first process as the host numbers it."""
        return int(self.field(container, "{{.State.Pid}}"))

    def cgroup(self, container: str, controller: str, name: str) -> str:
        """A control file of the container's cgroup, on v1 (``controller`` names the hierarchy) or v2."""
        for line in Path(f"/proc/{self.host_pid(container)}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(f"/sys/fs/cgroup/{controllers}{path}/{name}").read_text().strip()
            if controllers == "":
                unified = path
        return Path(f"/sys/fs/cgroup{unified}/{name}").read_text().strip()


def succeeded(done: Done) -> str:
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()
