"""An engine of an ordinary user who is made for the test, with the programs that the test lets that user have."""

import contextlib
import importlib.metadata
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests import leaks, netns
from tests.conftest import lacking, need
from tests.engines import SOURCE, Done, succeeded, wait_for

_BASE = ("sh", "env", "ip", "mount")
_DEPENDENCIES = ("aiohttp", "msgspec", "isal", "cryptography", "backports.zstd")


def interpreter() -> str:
    """A Python of our own version that every user can run."""
    for candidate in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        asked = [candidate, "-c", "import sys; print(*sys.version_info[:2])"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(asked, capture_output=True, text=True, user=65534, cwd="/", check=True)
            if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
                return candidate
    lacking("no Python of this version that another user can run")
    raise AssertionError


def install(target: Path) -> str:
    """Rundlet and what it imports, copied to where every user can read it; returns the interpreter."""
    site = target / "site"
    shutil.copytree(SOURCE / "rundlet", site / "rundlet", ignore=shutil.ignore_patterns("__pycache__"))
    todo, done = list(_DEPENDENCIES), set()
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            _copy(importlib.metadata.distribution(name), site, todo)
    for directory, _, _ in os.walk(target):
        os.chmod(directory, 0o755)
    base = interpreter()
    subprocess.run([base, "-m", "venv", "--without-pip", str(target / "venv")], check=True, capture_output=True)
    packages = next((target / "venv/lib").glob("python3*/site-packages"))
    (packages / "rundlet.pth").write_text(f"{site}\n")
    return str(target / "venv/bin/python")


def _copy(found: importlib.metadata.Distribution, site: Path, todo: list[str]) -> None:
    for file in found.files or ():
        if file.parts[0] != ".." and "__pycache__" not in file.parts:
            place = site / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(found.locate_file(file)), place)
    todo += [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in found.requires or () if "extra ==" not in line]


class Person:
    """An ordinary user with a home, ranges of IDs, and nothing else."""

    def __init__(self) -> None:
        need("useradd")
        self.name = f"rl{secrets.token_hex(3)}"
        self.directory = Path(tempfile.mkdtemp(prefix="rl-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.home = self.directory / "home"
        subprocess.run(["useradd", "-m", "-d", str(self.home), "-s", "/bin/sh", self.name], check=True)
        self.uid = pwd.getpwnam(self.name).pw_uid
        self.gid = pwd.getpwnam(self.name).pw_gid
        self.python = install(self.directory)

    def has_ranges(self) -> bool:
        return all(f"{self.name}:" in Path(f"/etc/{table}").read_text() for table in ("subuid", "subgid"))

    def path(self, programs: Sequence[str]) -> str:
        """A directory of links: what the user has on PATH."""
        place = self.directory / ("bin-" + "-".join(programs))
        place.mkdir(exist_ok=True)
        for program in (*_BASE, *programs):
            link = place / program
            if not link.exists():
                link.symlink_to(need(program))
        return str(place)

    def processes(self) -> list[int]:
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == self.uid or self._maps(int(name)):
                    found.append(int(name))
        return found

    def _maps(self, pid: int) -> bool:
        """Whether it is in a user namespace of this user's: a container's process may run as one of the range."""
        first = Path(f"/proc/{pid}/uid_map").read_text().split()
        return first[:2] == ["0", str(self.uid)]

    def remove(self) -> None:
        for _ in range(40):  # a launcher starts a killed engine again until it is itself killed
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self.processes():
                break
        subprocess.run(["userdel", self.name], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(f"/tmp/rundlet-{self.uid}", ignore_errors=True)


class UserEngine:
    """One engine of ``person``, in the foreground, with ``programs`` on PATH."""

    def __init__(self, person: Person, programs: Sequence[str]) -> None:
        self.person = person
        self.base = person.directory / secrets.token_hex(2)
        self.base.mkdir()
        os.chown(self.base, person.uid, person.gid)
        self.run_directory = str(self.base / "run")
        self.socket = f"{self.run_directory}/rundlet.sock"
        self.environment = {
            "HOME": str(person.home),
            "USER": person.name,
            "PATH": person.path(programs),
            "LANG": "C.UTF-8",
            "RUNDLET_ROOT": str(self.base / "root"),
            "RUNDLET_RUN": self.run_directory,
        }
        self.log = self.base / "engine.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "UserEngine":
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.person.python, "-m", "rundlet", "engine"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        wait_for(lambda: self._listens() or self._process_ended(), 60, hint="the user's engine listens")
        assert self._listens(), self.log.read_text()
        return self

    def _process_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def _as_user(self) -> dict[str, Any]:
        return {
            "user": self.person.uid,
            "group": self.person.gid,
            "extra_groups": [],
            "cwd": "/",
            "env": self.environment,
        }

    def cli(self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        options = self._as_user() | {"env": self.environment | dict(env or {})}
        command = [self.person.python, "-m", "rundlet", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=90, check=False, **options)
        return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        return succeeded(self.cli(*arguments, stdin=stdin))

    def pid(self) -> int:
        return int(Path(self.run_directory, "rundlet.pid").read_text())

    def keeper(self) -> int:
        """The process that holds the namespaces."""
        return self._find("rootless.keeper")

    def way_out(self) -> int:
        """The process that carries packets; 0 while there is none."""
        return int(Path(self.run_directory, "way-out.pid").read_text() or 0)

    def _find(self, word: str) -> int:
        for pid in self.person.processes():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                if word in command and self.run_directory in command:
                    return pid
        raise AssertionError(f"no process with {word}")

    def stop(self) -> None:
        """Ends all of it, and insists that nothing of it is left outside of its namespaces."""
        containers = self.ok("ps", "-aq").split()
        if containers:
            self.ok("rm", "-f", *containers)
        self.ok("engine", "stop")
        if self._process is not None:
            self._process.wait(60)
        mine = str(self.base)
        assert not [item for item in leaks.mounts() if mine in item]
        for name in ("rootless.keeper",):
            with contextlib.suppress(AssertionError, ProcessLookupError):
                os.kill(self._find(name), signal.SIGTERM)


class Beyond(NamedTuple):
    """Another machine beyond this one's network: a network namespace of this name, the addresses of the link to it."""

    name: str
    ours: str
    address: str
    ours_ipv6: str
    address_ipv6: str

    def python(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Run ``program`` there."""
        command = ["ip", "netns", "exec", self.name, sys.executable, "-c", program, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE)


@contextlib.contextmanager
def beyond() -> Iterator[Beyond]:
    name = f"rl{secrets.token_hex(3)}"
    far = Beyond(name, "10.98.113.1", "10.98.113.2", "fd98:113::1", "fd98:113::2")
    ours, theirs = f"{name}a", f"{name}b"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    with netns.named(name):
        try:
            ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
            ip("addr", "add", f"{far.ours}/24", "dev", ours)
            if os.path.exists("/proc/sys/net/ipv6"):
                ip("addr", "add", f"{far.ours_ipv6}/64", "dev", ours, "nodad")
                ip("-n", name, "addr", "add", f"{far.address_ipv6}/64", "dev", theirs, "nodad")
            ip("link", "set", ours, "up")
            ip("-n", name, "addr", "add", f"{far.address}/24", "dev", theirs)
            ip("-n", name, "link", "set", theirs, "up")
            yield far
        finally:
            subprocess.run(["ip", "link", "delete", ours], check=False, capture_output=True)


@contextlib.contextmanager
def elsewhere() -> Iterator[str]:
    """Another machine, beyond this one's network: it serves a page on port 8000, and every name is 192.0.2.77 to it."""
    with beyond() as far:
        server = far.python(_SERVER, far.address)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield far.address
        finally:
            server.kill()
            server.communicate()


_SERVER = """
import socket, sys, threading
address = sys.argv[1]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((address, 53))
tcp = socket.create_server((address, 8000))
def answer():
    while True:
        data, peer = udp.recvfrom(65536)
        end = data.index(b"\\0", 12) + 5
        head = data[:2] + bytes.fromhex("81800001000100000000")
        record = bytes.fromhex("c00c00010001000000010004") + socket.inet_aton("192.0.2.77")
        udp.sendto(head + data[12:end] + record, peer)
threading.Thread(target=answer, daemon=True).start()
print("ready", flush=True)
while True:
    client, peer = tcp.accept()
    with client:
        client.recv(65536)
        client.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nelsewhere\\n")
"""
