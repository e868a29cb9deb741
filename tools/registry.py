"""A real registry (Debian's ``docker-registry``) on a free loopback port, for as long as a ``with`` block."""

import contextlib
import http.client
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.images import UnavailableError

# `htpasswd -nbB someone secret`: the only hash that docker-registry reads is bcrypt.
HTPASSWD = "someone:$2b$05$MM.LCr5LgL/z4PHmoykP3OppIxYfCxbDkciOMaZXf2po.ejnjCY8y\n"
USER, PASSWORD = "someone", "secret"


@dataclass(frozen=True, slots=True)
class Registry:
    address: str
    storage: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Asks the registry directly, past any client under test."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


def free_port() -> int:
    """A port that nothing listens on now (and, being picked at random by the kernel, hardly anything soon)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_registry(*, auth: bool = False) -> Iterator[Registry]:
    """Raises: UnavailableError when docker-registry is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        raise UnavailableError("docker-registry is not installed")
    with tempfile.TemporaryDirectory(prefix="rundlet-registry-") as name:
        directory = Path(name)
        registry = Registry(f"127.0.0.1:{free_port()}", directory / "storage")
        (directory / "config.yml").write_text(_config(registry, directory, auth=auth))
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, "serve", str(directory / "config.yml")], stdout=log, stderr=log)
        try:
            _wait_until_it_answers(registry, process, directory / "log")
            yield registry
        finally:
            process.terminate()
            process.wait(10)


def _config(registry: Registry, directory: Path, *, auth: bool) -> str:
    text = f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {registry.storage}}}, delete: {{enabled: true}}}}
http: {{addr: {registry.address}, secret: only-for-this-run}}
"""
    if auth:
        (directory / "htpasswd").write_text(HTPASSWD)
        text += f"auth: {{htpasswd: {{realm: test, path: {directory / 'htpasswd'}}}}}\n"
    return text


def _wait_until_it_answers(registry: Registry, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            registry.get("/v2/")
            return
        time.sleep(0.02)
    raise UnavailableError(f"docker-registry did not start: {log.read_text()[-300:]}")
