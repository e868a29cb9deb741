"""Rows about the engine as a process: its cold start, its return when it is killed, its memory and processor time."""

import io
import os
import resource
import signal
import socket
import struct
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.contenders import Contender, ContenderError, private_bytes, run
from bench.rows import Limit, Row, milliseconds, settle_disk

HUGE_FILES, HUGE_FILE = 64, 16 << 20
_ONLY = ("docker", "podman")


def engine_rows(big: str, directory: Path, environment: Path, *, quick: bool) -> list[Row]:
    """``big`` is in the registry; ``environment`` has Rundlet installed."""
    some, few = (1, 1) if quick else (7, 3)
    own = _OnDemand(directory / "on-demand", environment)
    huge = _Huge(f"{big.rpartition('/')[0]}/huge:latest", directory / "huge.tar")
    saved = directory / "seconds.tar"

    def save(one: Contender) -> None:
        run(one.pull(big))
        saved.unlink(missing_ok=True)
        run(one.command("save", "-o", str(saved), big))
        run(one.command("rmi", big))

    def load(one: Contender) -> float:
        settle_disk(one, saved)
        return _then_removed(one, big, one.command("load", "-i", str(saved)))

    def pull(one: Contender) -> float:
        settle_disk(one)
        return _then_removed(one, big, one.pull(big))

    return [
        Row("`version` that starts the engine", "ms", some, own.cold, at_most=800, without=_ONLY),
        Row("an engine that is killed answers again", "ms", some, own.killed, after=own.end, at_most=1000,
            without=_ONLY),
        Row("`pull` of 1 GB: the engine's private memory at its highest, workers included", "MB", few, huge.pull,
            before=huge.push, after=huge.forget, at_most=150, without=("podman",)),
        Row("`pull` of the big image: processor seconds of client and engine", "s", few, pull,
            limits=(Limit("docker", 0.5),), without=("podman",)),
        Row("`load` of it, as docker or Rundlet saved it: processor seconds", "s", few, load, before=save,
            limits=(Limit("docker", 0.5),), without=("podman",)),
    ]  # fmt: skip


class _OnDemand:
    """An engine that nobody has started, in directories of its own."""

    def __init__(self, directory: Path, environment: Path) -> None:
        self._program = str(environment / "bin" / "rundlet")
        self._socket = "/run/bench-on-demand/rundlet.sock"
        # `env` costs a millisecond, of hundreds.
        self._env = ["env", f"RUNDLET_ROOT={directory}", f"RUNDLET_RUN={os.path.dirname(self._socket)}"]

    def cold(self, _one: Contender) -> float:
        self.end()
        return milliseconds(self._command("version"))

    def killed(self, _one: Contender) -> float:
        self.end()  # one that is killed again within a minute is given more time each time
        run(self._command("version"))
        engine = self._listener()
        start = time.perf_counter()
        os.kill(engine, signal.SIGKILL)
        while not self._answers(engine):
            if time.perf_counter() - start > 30:
                raise ContenderError("the killed engine did not come back")
            time.sleep(0.002)
        return (time.perf_counter() - start) * 1000

    def end(self, _one: Contender | None = None) -> None:
        if os.path.exists(self._socket):
            run(self._command("engine", "stop"))

    def _command(self, *arguments: str) -> list[str]:
        return [*self._env, self._program, *arguments]

    def _listener(self) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._socket)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", peer)[0])

    def _answers(self, before: int) -> bool:
        """Whether another engine than ``before`` does."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(self._socket)
                connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
                answer = connection.recv(64)
            return b" 200 " in answer and self._listener() != before
        except OSError:
            return False


class _Huge:
    """An image with one layer of a gibibyte that nothing compresses."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    def push(self, one: Contender) -> None:
        if not self._path.exists():
            with tarfile.open(self._path, "w") as archive:
                for number in range(HUGE_FILES):
                    info = tarfile.TarInfo(f"file-{number}")
                    info.size = HUGE_FILE
                    archive.addfile(info, io.BytesIO(os.urandom(HUGE_FILE)))
            run(one.command("import", str(self._path), self._name))
            run(one.push(self._name))
        else:
            run(one.pull(self._name))
        run(one.command("rmi", self._name))

    def pull(self, one: Contender) -> float:
        """MB."""
        settle_disk(one)
        with subprocess.Popen(one.pull(self._name), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as client:
            highest = _highest(one, lambda: client.poll() is None)
            assert client.stderr is not None
            said = client.stderr.read().decode(errors="replace")
        if client.returncode != 0:
            raise ContenderError(said.strip()[-300:])
        run(one.command("rmi", self._name))
        return highest / 1e6

    def forget(self, _one: Contender) -> None:
        self._path.unlink(missing_ok=True)


def _highest(one: Contender, goes_on: Callable[[], bool]) -> int:
    """The most private memory that the engine's processes had together, in bytes, looked at fifty times a second."""
    highest = 0
    pause = threading.Event()
    while goes_on():
        highest = max(highest, sum(_private(pid) for pid in _tree(one)))
        pause.wait(0.02)
    return highest


def _private(pid: int) -> int:
    try:
        return private_bytes(pid)
    except OSError:
        return 0  # it has ended


def _tree(one: Contender) -> list[int]:
    """The engine's processes and all that they have started."""
    found = list(dict.fromkeys(one.engine_processes()))
    for pid in found:
        found += [child for child in _children(pid) if child not in found]
    return found


def _children(pid: int) -> list[int]:
    """Of all its threads."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except OSError:
            continue  # the thread has ended
    return found


def _then_removed(one: Contender, image: str, command: list[str]) -> float:
    """Processor seconds of ``command``, and of the engine meanwhile; the image goes again."""
    client = resource.getrusage(resource.RUSAGE_CHILDREN)
    engine = _computed(one)
    milliseconds(command)
    seconds = _computed(one) - engine
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds += after.ru_utime + after.ru_stime - client.ru_utime - client.ru_stime
    run(one.command("rmi", image))
    return seconds


def _computed(one: Contender) -> float:
    """Seconds of the engine's processes and of their children that have ended."""
    total = 0
    for pid in _tree(one):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")
