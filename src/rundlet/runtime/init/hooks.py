"""Hooks: programs that the configuration wants to be run at points of a container's life.

Each gets the state on standard input and may write to the other two, which an error then quotes. Where they run is
the caller's business: some in the host's namespaces, some in the container's. See: OCI runtime-spec, config.md.
"""

import json
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import pidfd
from rundlet.runtime.init.steps import Context

KINDS: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_ANSWER: Final = 1 << 20
_MOST: Final = 2048  # bytes of a hook's output in an error


class HookError(OSError):
    """A hook that failed; ``filename`` is what to say (init's reports carry no more)."""

    def __init__(self, text: str) -> None:
        super().__init__(0, "hook", text)


class Synchronizer:
    """The line to the runtime's process; ``state`` is what it answered."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.state: dict[str, Any] = {}

    def ask(self) -> None:
        """Have the runtime run its hooks; returns when they are over. Raises: HookError when one failed."""
        os.write(self.fd, b"hooks")
        answer = os.read(self.fd, _ANSWER)
        os.close(self.fd)
        if not answer:
            raise HookError("the runtime ended")
        found = json.loads(answer)
        if "error" in found:
            raise HookError(found["error"])
        self.state = found


class CreationHooks(NamedTuple):
    """Where all is mounted and the host is still in sight: the runtime's hooks, then createContainer's here."""

    line: Synchronizer
    hooks: Sequence[Mapping[str, Any]]
    step: str = "hook"

    def describe(self) -> str:
        return f"hooks of the runtime, and {len(self.hooks)} of createContainer"

    def execute(self, context: Context) -> None:
        self.line.ask()
        os.fchdir(context.root)  # where runc's users find themselves
        run("createContainer", self.hooks, self.line.state)


def run(
    kind: str, hooks: Sequence[Mapping[str, Any]], state: Mapping[str, Any], variables: Mapping[str, str] | None = None
) -> None:
    """One after another. ``variables``: for those that name no environment, by default our own.

    Raises: HookError at the first that fails; the others aren't run then.
    """
    for position, hook in enumerate(hooks):
        said = _run(hook, state, os.environ if variables is None else variables)
        if said:
            raise HookError(f"error running {kind} hook #{position}: {said}")


def run_all(kind: str, hooks: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[str]:
    """Every one, whatever becomes of the others; returns what went wrong."""
    said = [(position, _run(hook, state, os.environ)) for position, hook in enumerate(hooks)]
    return [f"error running {kind} hook #{position}: {text}" for position, text in said if text]


def _run(hook: Mapping[str, Any], state: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """What is to be complained about; empty: nothing."""
    path = hook["path"]
    given = os.memfd_create("state", os.MFD_CLOEXEC)
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        os.write(given, json.dumps(state).encode())
        os.lseek(given, 0, os.SEEK_SET)
        environment = variables
        if hook.get("env") is not None:
            environment = dict(entry.split("=", 1) for entry in hook["env"] if "=" in entry)
        actions = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
        try:
            pid = os.posix_spawn(
                path, hook.get("args") or [path], environment, file_actions=actions, setsigdef=[signal.SIGPIPE]
            )
        except OSError as exc:
            return f"{path}: {exc.strerror}"
        timed_out = _too_late(pid, hook.get("timeout"))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output = os.pread(said, _MOST, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(given)
        os.close(said)
    if timed_out:
        return f"{path}: hook ran past specified timeout of {hook['timeout']}s"
    if code == 0:
        return ""
    how = f"exit status {code}" if code > 0 else f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"{path}: {how}, output: {output}"


def _too_late(pid: int, timeout: float | None) -> bool:
    """Wait for the hook's end; kill it after ``timeout`` seconds."""
    if not timeout:
        return False
    process = pidfd.open(pid)
    try:
        if select.select([process], [], [], timeout)[0]:
            return False
        pidfd.send_signal(process, signal.SIGKILL)
        return True
    finally:
        os.close(process)
