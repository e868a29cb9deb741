"""The three engines under measurement behind one interface: start, a command line, stop."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Contender(Protocol):
    """An engine that the benchmark drives through its command line."""

    name: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def command(self, *arguments: str) -> list[str]: ...
    def pull(self, image: str) -> list[str]: ...
    def push(self, image: str) -> list[str]: ...
    def version(self) -> str: ...
    def engine_processes(self) -> list[int]: ...


class ContenderError(Exception):
    """A command of one of the engines failed; the text is what it said."""


def run(command: Sequence[str], *, timeout: float = 300) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise ContenderError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _wait_until_it_answers(command: Sequence[str], log: Path) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise ContenderError(f"{command[0]} did not start: {log.read_text()[-500:]}")
        time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Docker:
    name = "docker"

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "docker"
        self._run = Path("/run/bench-docker")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._directory.mkdir(parents=True)
        self._run.mkdir()
        log = self._directory / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["dockerd", "--data-root", str(self._directory / "root"), "--exec-root", str(self._run / "exec"),
                 "--pidfile", str(self._run / "pid"), "-H", f"unix://{self._run}/sock", "--bip", "10.213.0.1/24",
                 "--log-level", "error"],
                stdout=output, stderr=output,
            )  # fmt: skip
        _wait_until_it_answers(self.command("version"), log)

    def stop(self) -> None:
        _end(self._process)
        # dockerd mounts its directory upon itself where mounts are private, and may leave that.
        subprocess.run(["umount", "-l", str(self._directory / "root")], capture_output=True, check=False)

    def command(self, *arguments: str) -> list[str]:
        return ["docker", "-H", f"unix://{self._run}/sock", *arguments]

    def pull(self, image: str) -> list[str]:
        return self.command("pull", "-q", image)

    def push(self, image: str) -> list[str]:
        return self.command("push", "-q", image)

    def version(self) -> str:
        client, server = run(self.command("version", "-f", "{{.Client.Version}} {{.Server.Version}}")).split()
        return f"dockerd {server.partition('+')[0]} (command line {client.partition('+')[0]})"

    def engine_processes(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *children(self._process.pid)]


class Podman:
    """Without a daemon. runc and cgroupfs, because crun and systemd don't suit every machine's control groups."""

    name = "podman"

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "podman"

    def start(self) -> None:
        self._directory.mkdir(parents=True)

    def stop(self) -> None:
        subprocess.run(self.command("rm", "-af", "-t", "0"), capture_output=True, check=False)

    def command(self, *arguments: str) -> list[str]:
        return ["podman", "--root", str(self._directory / "root"), "--runroot", "/run/bench-podman",
                "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments]  # fmt: skip

    def pull(self, image: str) -> list[str]:
        return self.command("pull", "-q", "--tls-verify=false", image)

    def push(self, image: str) -> list[str]:
        return self.command("push", "-q", "--tls-verify=false", image)

    def version(self) -> str:
        return f"podman {run(self.command('version', '-f', '{{.Client.Version}}'))} (runc, cgroupfs)"

    def engine_processes(self) -> list[int]:
        return []


class Rundlet:
    name = "rundlet"

    def __init__(
        self,
        directory: Path,
        environment: Path,
        run_directory: Path = Path("/run/bench-rundlet"),
        flags: Sequence[str] = (),
    ) -> None:
        self._directory = directory / "rundlet"
        self._bin = environment / "bin"
        self._run = run_directory
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._directory.mkdir(parents=True)
        log = self._directory / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [self._bin / "python", "-m", "rundlet.daemon", "--data-root", self._directory / "root",
                 "--exec-root", self._run, "--pidfile", self._directory / "pid", *self._flags],
                stdout=output, stderr=output,
            )  # fmt: skip
        _wait_until_it_answers(self.command("version"), log)

    def stop(self) -> None:
        _end(self._process)

    def command(self, *arguments: str) -> list[str]:
        return [str(self._bin / "rundlet"), "-H", f"unix://{self._run}/rundlet.sock", *arguments]

    def pull(self, image: str) -> list[str]:
        return self.command("pull", "-q", image)

    def push(self, image: str) -> list[str]:
        return self.command("push", "-q", image)

    def version(self) -> str:
        return f"rundlet {run(self.command('version', '-f', '{{.Client.Version}}'))}"

    def engine_processes(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *children(self._process.pid)]


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def private_bytes(pid: int) -> int:
    """What would be free if the process ended: its private pages, clean and dirty."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def installed(program: str) -> bool:
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is not None
