"""Hooks of a container's configuration, which CDI devices bring, under our own runtime.

The starter forks a helper before it moves anywhere, so the helper's namespaces are the engine's. It is told init's
number, is asked by init for the hooks of the creation, takes the end of their line for the program's execution, and
stays for the container's end only if there are hooks for it. Without hooks there is no helper, and the shim knows
nothing of any of this.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from rundlet.linux import libc, pidfd
from rundlet.runtime.init import hooks, mounts
from rundlet.runtime.init import main as init_main
from rundlet.runtime.init.hooks import CreationHooks, HookError, Synchronizer
from rundlet.runtime.init.steps import Context, Step

_LONGEST: Final = 64
_PID: Final = b"pid:"
_STARTING: Final = b"starting"


class StartHooks(NamedTuple):
    """Directly before the program, with its rights: the hooks of startContainer."""

    line: int
    asked: Synchronizer
    hooks: Sequence[Mapping[str, Any]]
    variables: Mapping[bytes, bytes]
    step: str = "hook"

    def hold(self, context: Context) -> None:
        if self.hooks:
            variables = {os.fsdecode(name): os.fsdecode(value) for name, value in self.variables.items()}
            hooks.run("startContainer", self.hooks, self.asked.state | {"status": "created"}, variables)
        os.write(self.line, _STARTING)


def begin(spec: Mapping[str, Any]) -> int:
    """Fork the helper; returns the line to it, -1 where there are no hooks. Raises: OSError."""
    wanted = spec["oci"].get("hooks") or {}
    if not any(wanted.values()):
        return -1
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid, _ = libc.clone3(0, pidfd=False)
    if pid == 0:
        _serve(spec, wanted, theirs.detach())
    theirs.close()
    return ours.detach()


def tell(line: int, pid: int) -> None:
    """Init's process number, to the helper."""
    os.write(line, _PID + str(pid).encode())


def adapt(
    steps: Sequence[Step], oci: Mapping[str, Any], line: int, variables: Mapping[bytes, bytes]
) -> tuple[list[Step], StartHooks]:
    """The plan with the hooks of the creation in their place, and what comes before the program."""
    asked, wanted = Synchronizer(os.dup(line)), oci["hooks"]
    result: list[Step] = []
    for item in steps:
        if isinstance(item, mounts.Pivot):
            result.append(CreationHooks(asked, wanted.get("createContainer") or ()))
        result.append(item)
    return result, StartHooks(line, asked, wanted.get("startContainer") or (), variables)


def _serve(spec: Mapping[str, Any], wanted: Mapping[str, Any], line: int) -> NoReturn:
    try:
        init_main.close_others({0, 1, 2, line})
        helper = _Helper(spec, wanted, line)
        try:
            helper.run()
        finally:
            helper.clean_up()
    except BaseException as exc:
        sys.stderr.write(f"hooks of container {spec['id'][:12]}: {exc}\n")
        sys.stderr.flush()
    finally:
        os._exit(0)


class _Helper:
    """In the child."""

    def __init__(self, spec: Mapping[str, Any], wanted: Mapping[str, Any], line: int) -> None:
        self._spec = spec
        self._wanted = wanted
        self._line = line
        self._pid = 0
        self._process = -1
        self._bundle = f"{os.path.dirname(os.path.dirname(spec['socket']))}/runtime/{spec['id'][:12]}.{os.getpid()}"
        self._config = f"{self._bundle}/config.json"

    def run(self) -> None:
        self._write_bundle()
        started = self._follow()
        if self._process < 0:
            return
        if started:
            self._after_start()
        if self._wanted.get("poststop"):
            select.select([self._process], [], [])
            self._complain(hooks.run_all("poststop", self._wanted["poststop"], self._state("stopped", 0)))

    def clean_up(self) -> None:
        os.unlink(self._config)
        os.rmdir(self._bundle)

    def _write_bundle(self) -> None:
        """Hooks look for the root file system there."""
        rootfs = self._spec["rootfs"]
        config = self._spec["oci"] | {"root": {"path": rootfs.get("merged") or rootfs.get("path")}}
        os.makedirs(self._bundle, 0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._config, flags, 0o600), "wb") as file:
            file.write(json.dumps(config).encode())

    def _follow(self) -> bool:
        """Until nobody has the other end any more; whether the program was about to be executed then."""
        asked, started = False, False
        while message := os.read(self._line, _LONGEST):
            if message.startswith(_PID):
                self._pid = int(message[len(_PID) :])
                self._process = pidfd.open(self._pid)
            elif message == _STARTING:
                started = True
            else:
                asked = True
            # Init may be faster than the one who cloned it and says its number.
            if asked and self._pid:
                asked = False
                os.write(self._line, json.dumps(self._created()).encode())
        return started

    def _created(self) -> dict[str, Any]:
        said = self._state("creating", self._pid)
        try:
            for kind in ("prestart", "createRuntime"):
                hooks.run(kind, self._wanted.get(kind) or (), said)
        except HookError as exc:
            return {"error": str(exc.filename)}
        return said

    def _after_start(self) -> None:
        try:
            hooks.run("poststart", self._wanted.get("poststart") or (), self._state("running", self._pid))
        except HookError as exc:
            self._complain([str(exc.filename)])
            try:
                pidfd.send_signal(self._process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _state(self, status: str, pid: int) -> dict[str, Any]:
        oci = self._spec["oci"]
        said = {"ociVersion": oci["ociVersion"], "id": self._spec["id"], "pid": pid, "status": status}
        annotations = {"annotations": oci["annotations"]} if oci.get("annotations") else {}
        return said | {"bundle": self._bundle} | annotations

    def _complain(self, said: Sequence[str]) -> None:
        for text in said:
            sys.stderr.write(f"container {self._spec['id'][:12]}: {text}\n")
        sys.stderr.flush()
