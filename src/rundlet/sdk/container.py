"""One container."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from contextlib import suppress
from typing import Any, Self, cast

from rundlet.sdk.api import Api, exchange, split
from rundlet.sdk.errors import ConflictError, EngineError, ExitError, NotFoundError, WaitTimeoutError
from rundlet.sdk.models import Output, Result, collected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAMES = {1: "stdout", 2: "stderr"}
_POLL = 0.05


class Container:
    """Made by :meth:`Engine.container`, :meth:`Engine.get` or :meth:`Engine.containers`.

    In a ``with`` statement it is started on the way in and removed on the way out, whatever happened. Every method
    raises EngineError: NotFoundError once it is removed, ConflictError in a state that does not allow it.
    """

    def __init__(self, api: Api, identifier: str) -> None:
        self.id = identifier
        self._api = api
        self._path = f"/containers/{identifier}"

    def __repr__(self) -> str:
        return f"<Container {self.id[:12]}>"

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with suppress(NotFoundError):
            self.remove(force=True, volumes=True)

    # What it is

    def inspect(self) -> dict[str, Any]:
        """All that the engine knows, as the Engine API has it."""
        return cast("dict[str, Any]", self._api.get(f"{self._path}/json"))

    @property
    def name(self) -> str:
        return str(self.inspect()["Name"]).removeprefix("/")

    @property
    def status(self) -> str:
        """created, running, paused, restarting, removing, exited or dead."""
        return str(self.inspect()["State"]["Status"])

    @property
    def health(self) -> str:
        """starting, healthy or unhealthy; "none" without a health check."""
        return str((self.inspect()["State"].get("Health") or {}).get("Status") or "none")

    def port(self, port: int | str) -> tuple[str, int]:
        """(address, port) of this machine that lead to ``port`` (``80``, ``"53/udp"``). Raises NotFoundError."""
        wanted = str(port) if "/" in str(port) else f"{port}/tcp"
        for binding in (self.inspect()["NetworkSettings"]["Ports"] or {}).get(wanted) or ():
            address = binding["HostIp"]
            return ("127.0.0.1" if address in ("", "0.0.0.0", "::") else address), int(binding["HostPort"])
        raise NotFoundError(f"port {wanted} of container {self.id[:12]} is not published")

    def address(self, network: str = "") -> str:
        """Its address on ``network``; on any, when none is named. Raises NotFoundError."""
        networks = self.inspect()["NetworkSettings"]["Networks"]
        for name, settings in networks.items():
            if network in ("", name) and settings["IPAddress"]:
                return str(settings["IPAddress"])
        raise NotFoundError(f"container {self.id[:12]} has no address on {network or 'any network'}")

    # Its life

    def start(self) -> Self:
        self._api.post(f"{self._path}/start")
        return self

    def run(self, input: bytes | None = None) -> Result:
        """Start it and return when it has ended, with all that it said; ``input`` is its standard input.

        It reads ``input`` only when it was made with ``stdin=True``. Raises no ExitError.
        """
        framed = not self.inspect()["Config"]["Tty"]
        if input is not None and not framed:
            raise EngineError("input has an end, which a terminal's has not: use either input or tty")
        query = {"stream": True, "stdin": input is not None, "stdout": True, "stderr": True}
        with self._api.hijacked(f"{self._path}/attach", None, query) as stream:
            self.start()
            out = collected(
                Output(_NAMES[number], data) for number, data in split(exchange(stream, input), framed=framed)
            )
        return Result(self.wait(), *out)

    def stop(self, timeout: int | None = None) -> None:
        """SIGTERM (or what the image says), and SIGKILL after ``timeout`` seconds."""
        self._api.post(f"{self._path}/stop", t=timeout)

    def restart(self, timeout: int | None = None) -> None:
        self._api.post(f"{self._path}/restart", t=timeout)

    def kill(self, signal: str | int = "KILL") -> None:
        self._api.post(f"{self._path}/kill", signal=str(signal))

    def pause(self) -> None:
        self._api.post(f"{self._path}/pause")

    def unpause(self) -> None:
        self._api.post(f"{self._path}/unpause")

    def wait(self) -> int:
        """Return its exit status once it has ended."""
        return int(self._api.post(f"{self._path}/wait")["StatusCode"])

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """``volumes``: those without a name go with it."""
        self._api.delete(self._path, force=force, v=volumes)

    # What it says

    def logs(self, *, follow: bool = False, tail: int | None = None, timestamps: bool = False) -> Iterator[Output]:
        """What it has said; with ``follow`` also what it will say, until its end."""
        query = {"stdout": True, "stderr": True, "follow": follow, "timestamps": timestamps, "tail": tail}
        framed = not self.inspect()["Config"]["Tty"]
        for stream, data in self._api.frames(f"{self._path}/logs", framed=framed, **query):
            yield Output(_NAMES[stream], data)

    def wait_for_log(self, text: str, timeout: float = 30.0) -> None:
        """Return when a line with ``text`` was said. Raises WaitTimeoutError, and at its end without it, too."""
        deadline = time.monotonic() + timeout
        wanted = text.encode()
        while True:
            over = self.status not in ("created", "running", "restarting")
            if wanted in b"".join(output.data for output in self.logs()):
                return
            if over or time.monotonic() > deadline:
                raise WaitTimeoutError(f"container {self.id[:12]} did not say {text!r} " + ("" if over else "in time"))
            time.sleep(_POLL)

    def wait_healthy(self, timeout: float = 30.0) -> None:
        """Return when its health check succeeds. Raises WaitTimeoutError."""
        deadline = time.monotonic() + timeout
        while (health := self.health) != "healthy":
            if health == "none":
                raise ConflictError(f"container {self.id[:12]} has no health check")
            if time.monotonic() > deadline:
                raise WaitTimeoutError(f"container {self.id[:12]} is {health} after {timeout} seconds")
            time.sleep(_POLL)

    # Commands and files in it

    def exec(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes = b"",
        check: bool = True,
    ) -> Result:
        """Run a command to its end. Raises ExitError for another status than 0, unless not ``check``."""
        running = self.popen(*command, env=env, user=user, workdir=workdir, stdin=stdin)
        out = collected(running)
        result = Result(running.code(), *out)
        if check and result.code:
            raise ExitError(command[0], result, result.code, (result.stderr or result.stdout).decode(errors="replace"))
        return result

    def popen(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes = b"",
    ) -> Execution:
        """A command that runs while its output is iterated over."""
        body = {
            "Cmd": list(command),
            "AttachStdin": bool(stdin),
            "AttachStdout": True,
            "AttachStderr": True,
            "Env": [f"{name}={value}" for name, value in (env or {}).items()],
            "User": user,
            "WorkingDir": workdir,
        }
        return Execution(self._api, str(self._api.post(f"{self._path}/exec", body)["Id"]), stdin)

    def read(self, path: str) -> bytes:
        """A file's content. Raises NotFoundError, EngineError when it is none."""
        data = self._api.download(f"{self._path}/archive", path=path)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            member = archive.next()
            file = archive.extractfile(member) if member is not None and member.isreg() else None
            if file is None:
                raise EngineError(f"{path} is not a file")
            return file.read()

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file there, root's, in a directory that exists. Raises NotFoundError."""
        directory, name = posixpath.split(path)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), mode, int(time.time())
            archive.addfile(member, io.BytesIO(data))
        self._api.upload("PUT", f"{self._path}/archive", buffer.getvalue(), path=directory or "/")

    def commit(self, reference: str, changes: Sequence[str] = ()) -> str:
        """An image of what it has become; returns its ID."""
        repository, _, tag = reference.rpartition(":") if ":" in reference.rpartition("/")[2] else (reference, "", "")
        query = {"container": self.id, "repo": repository, "tag": tag or "latest", "changes": "\n".join(changes)}
        return str(self._api.post("/commit", None, **query)["Id"])


class Execution:
    """A further command in a container: iterate over its output, then ask for its :meth:`code`."""

    def __init__(self, api: Api, identifier: str, stdin: bytes) -> None:
        self.id = identifier
        self._api = api
        self._stdin = stdin

    def __iter__(self) -> Iterator[Output]:
        with self._api.hijacked(f"/exec/{self.id}/start", {"Detach": False, "Tty": False}) as stream:
            for number, data in split(exchange(stream, self._stdin or None), framed=True):
                yield Output(_NAMES[number], data)

    def code(self) -> int:
        """Its exit status, once the output has ended. Raises ConflictError while it runs."""
        found = self._api.get(f"/exec/{self.id}/json")
        if found["Running"]:
            raise ConflictError("the command still runs")
        return int(found["ExitCode"])
