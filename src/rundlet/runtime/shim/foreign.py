"""Starting a container under another OCI runtime: the shim itself moves into the sandbox."""

import os
import socket
from collections.abc import Callable
from typing import Any

from rundlet.linux import ns
from rundlet.runtime import external
from rundlet.runtime.init import plan
from rundlet.runtime.shim import starter
from rundlet.runtime.shim.failures import StartError, from_exception
from rundlet.runtime.shim.loop import Loop
from rundlet.runtime.shim.sandbox import Sandbox
from rundlet.runtime.shim.stdio import Pipes
from rundlet.runtime.shim.streams import Hub


class ForeignStart:
    """One start. After :meth:`run` the process, user and home are known."""

    def __init__(self, loop: Loop, spec: dict[str, Any], hub: Hub) -> None:
        self._loop = loop
        self._spec = spec
        self._hub = hub
        self.process: external.ExternalProcess | None = None
        self.user = plan.User(0, 0, ())
        self.home = "/"
        self.host_network = -1

    def run(
        self,
        on_started: Callable[[], None],
        on_failed: Callable[[StartError], None],
        on_ended: Callable[[int], None],
        take_console: Callable[[socket.socket], None],
    ) -> external.ExternalProcess:
        """Raises: StartError."""
        spec, step = self._spec, "rootfs"
        try:
            self.host_network = ns.open_namespace("self", "network")
            sandbox = Sandbox(spec)
            sandbox.enter()
            step = "network"
            sandbox.connect()
            step = "user"
            self.user, self.home = starter.resolve_user(spec, sandbox.rootfs)
            step = "runtime"
            network = None if spec["net"]["mode"] == "host" else self._namespace()
            config = external.bundle(spec, sandbox.rootfs, self.user, network, self.home)
            process = external.ExternalProcess(self._loop, spec, on_started, on_failed, on_ended, self.host_network)
            self._start(process, config, take_console)
        except Exception as exc:
            raise from_exception(step, exc) from exc
        self.process = process
        return process

    def _namespace(self) -> str:
        """The container's, by a descriptor: the shim itself is in the host's for a moment whenever it runs the runtime.

        A runtime that looks just then would take it for the host's. The descriptor stays open as long as the shim.
        """
        return f"/proc/{os.getpid()}/fd/{ns.open_namespace('self', 'network')}"

    def _start(
        self, process: external.ExternalProcess, config: dict[str, Any], take_console: Callable[[socket.socket], None]
    ) -> None:
        stdio = self._spec["stdio"]
        pipes = Pipes(tty=bool(stdio["tty"]), stdin=bool(stdio.get("open_stdin")), report=False, console=False)
        wiring = pipes.wiring()
        try:
            process.start(config, (wiring.stdin, wiring.stdout, wiring.stderr), take_console if stdio["tty"] else None)
        finally:
            pipes.connect(self._hub)
