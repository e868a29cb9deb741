"""Starting a container under another OCI runtime: the shim itself moves into the sandbox, and stays for restarts."""

import os
import socket
from collections.abc import Callable
from typing import Any

from rundlet.linux import ns
from rundlet.linux.loop import Loop
from rundlet.runtime import external
from rundlet.runtime.init import plan
from rundlet.runtime.shim import starter
from rundlet.runtime.shim.failures import StartError, from_exception
from rundlet.runtime.shim.sandbox import Sandbox
from rundlet.runtime.shim.stdio import Pipes
from rundlet.runtime.shim.streams import Hub


class ForeignStart:
    """After :meth:`run` the process, user and home are known. Another call is another start, in the same sandbox."""

    def __init__(self, loop: Loop, spec: dict[str, Any]) -> None:
        self._loop = loop
        self._spec = spec
        self._config: dict[str, Any] | None = None
        self._step = "rootfs"
        self.process: external.ExternalProcess | None = None
        self.user = plan.User(0, 0, ())
        self.home = "/"
        self.host_network = -1

    def run(
        self,
        hub: Hub,
        on_started: Callable[[], None],
        on_failed: Callable[[StartError], None],
        on_ended: Callable[[int], None],
        take_console: Callable[[socket.socket], None],
    ) -> external.ExternalProcess:
        """Raises: StartError."""
        try:
            if self._config is None:
                self._config = self._enter()
            self._step = "runtime"
            process = external.ExternalProcess(
                self._loop, self._spec, on_started, on_failed, on_ended, self.host_network
            )
            self._start(hub, process, self._config, take_console)
        except Exception as exc:
            raise from_exception(self._step, exc) from exc
        self.process = process
        return process

    def _enter(self) -> dict[str, Any]:
        """Move into the sandbox, once; returns what the runtime is to be told."""
        spec = self._spec
        self.host_network = ns.open_namespace("self", "network")
        sandbox = Sandbox(spec)
        sandbox.enter()
        self._step = "network"
        sandbox.connect()
        self._step = "user"
        self.user, self.home = starter.resolve_user(spec, sandbox.rootfs)
        self._step = "runtime"
        network = None if spec["net"]["mode"] == "host" else self._namespace()
        return external.bundle(spec, sandbox.rootfs, self.user, network, self.home)

    def _namespace(self) -> str:
        """The container's, by a descriptor: the shim itself is in the host's for a moment whenever it runs the runtime.

        A runtime that looks just then would take it for the host's. The descriptor stays open as long as the shim.
        """
        return f"/proc/{os.getpid()}/fd/{ns.open_namespace('self', 'network')}"

    def _start(
        self,
        hub: Hub,
        process: external.ExternalProcess,
        config: dict[str, Any],
        take_console: Callable[[socket.socket], None],
    ) -> None:
        stdio = self._spec["stdio"]
        pipes = Pipes(tty=bool(stdio["tty"]), stdin=bool(stdio.get("open_stdin")), report=False, console=False)
        wiring = pipes.wiring()
        try:
            process.start(config, (wiring.stdin, wiring.stdout, wiring.stderr), take_console if stdio["tty"] else None)
        finally:
            pipes.connect(hub)
