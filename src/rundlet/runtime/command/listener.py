"""``SCMP_ACT_NOTIFY``: calls of the container that an agent outside answers.

The filter's listener is a descriptor that whoever loads the filter gets. The container's process says its number on
the pipe of reports, which takes no more than a ``write`` (any other call may be one that waits for the agent already);
the runtime takes a copy, sends that to the agent with what the specification wants said, and lets the process go on.
See: OCI runtime-spec, config-linux.md, "The Container Process State"; seccomp_unotify(2).
"""

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import pidfd, seccomp
from rundlet.runtime.command.errors import CommandError
from rundlet.runtime.init.report import Report
from rundlet.runtime.init.rights import Filter
from rundlet.runtime.init.steps import Context, Step

_NOTIFY: Final = "SCMP_ACT_NOTIFY"
_FD_NAME: Final = "seccompFd"


class NotifyingFilter(NamedTuple):
    """The filter, and the wait until its listener is where it belongs."""

    program: bytes
    answer: int
    step: str = "seccomp"

    def describe(self) -> str:
        return f"seccomp filter of {len(self.program) // 8} instructions, with a listener"

    def execute(self, context: Context) -> None:
        listener = seccomp.load(self.program)
        context.reporter.listener(listener)
        said = os.read(self.answer, 1)
        os.close(listener)
        os.close(self.answer)
        if not said:
            raise OSError(0, "", "the listener was not handed on")


class Agent:
    """Who is to get the listener, and the pipe by which the container's process hears that it was sent."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        self._path: str = profile["listenerPath"]
        self._metadata: str = profile.get("listenerMetadata") or ""
        self.reading, self._writing = os.pipe2(os.O_CLOEXEC)
        self._sent = False

    @classmethod
    def of(cls, profile: Mapping[str, Any] | None) -> "Agent | None":
        """None where the profile notifies nobody. Raises: CommandError for one that says whom to notify nowhere."""
        rules = (profile or {}).get("syscalls") or ()
        if profile is None or not any(rule.get("action") == _NOTIFY for rule in rules):
            return None
        if not profile.get("listenerPath"):
            raise CommandError("seccomp listenerPath is not set")
        return cls(profile)

    def adapt(self, steps: Iterable[Step]) -> list[Step]:
        """The plan with the filter that waits."""
        return [NotifyingFilter(item.program, self.reading) if isinstance(item, Filter) else item for item in steps]

    def serve(self, reports: Sequence[Report], pid: int, state: Mapping[str, Any]) -> None:
        """Send the listener that process ``pid`` reported, once. Raises: CommandError."""
        reported = next((item.errno for item in reports if item.kind == "listener"), None)
        if reported is None or not pid or self._sent:
            return
        self._sent = True
        document = {
            "ociVersion": state["ociVersion"],
            "fds": [_FD_NAME],
            "pid": pid,
            "metadata": self._metadata,
            "state": state,
        }
        listener = _taken(pid, reported)
        try:
            self._send(json.dumps(document).encode(), listener)
        finally:
            os.close(listener)
        os.write(self._writing, b"0")

    def _send(self, message: bytes, listener: int) -> None:
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.connect(address)
            except OSError as exc:
                said = f"failed to connect with seccomp agent specified in the seccomp profile: {exc.strerror or exc}"
                raise CommandError(f"{said}: {self._path}") from exc
            try:
                socket.send_fds(sender, [message], [listener])
            except OSError as exc:
                raise CommandError(f"cannot send seccomp fd to {self._path}: {exc.strerror}") from exc

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


def _taken(pid: int, number: int) -> int:
    """A copy of another process's descriptor. Raises: CommandError."""
    process = pidfd.open(pid)
    try:
        return pidfd.getfd(process, number)
    except OSError as exc:
        raise CommandError(f"seccomp listener of process {pid}: {exc.strerror}") from exc
    finally:
        os.close(process)
