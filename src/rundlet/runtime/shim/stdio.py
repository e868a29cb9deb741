"""The descriptors between the shim and a process that it starts."""

import os
import socket

from rundlet.runtime import protocol
from rundlet.runtime.init.main import Wiring
from rundlet.runtime.shim.streams import Hub


class Pipes:
    """Made before the fork. The child uses :meth:`wiring`, the shim :meth:`connect`. Raises: OSError.

    ``output`` False: everything the process writes goes to its /dev/null. ``report`` and ``console`` are False where
    nothing of ours runs in the child.
    """

    def __init__(
        self, *, tty: bool, stdin: bool, output: bool = True, report: bool = True, console: bool = True
    ) -> None:
        self.report = self._report_child = -1
        self._stdin = self._stdout = self._stderr = (-1, -1)
        self.master: socket.socket | None = None
        self._master_child: socket.socket | None = None
        try:
            if report:
                self.report, self._report_child = os.pipe2(os.O_CLOEXEC)
            if stdin and not tty:
                self._stdin = os.pipe2(os.O_CLOEXEC)
            if output and not tty:
                self._stdout = os.pipe2(os.O_CLOEXEC)
                self._stderr = os.pipe2(os.O_CLOEXEC)
            if tty and console:
                self.master, self._master_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            self.discard()  # out of descriptors: what was made is not to make that worse
            raise

    def wiring(self, keep: tuple[int, ...] = ()) -> Wiring:
        """The child's ends."""
        master_to = self._master_child.fileno() if self._master_child else -1
        return Wiring(self._report_child, self._stdin[0], self._stdout[1], self._stderr[1], master_to, keep)

    def connect(self, hub: Hub) -> None:
        """In the shim, after the fork: let go of the child's ends, give ours to the hub."""
        self.release()
        if self._stdout[0] >= 0:
            hub.outputs(self._stdout[0], self._stderr[0])
        if self._stdin[1] >= 0:
            hub.input(self._stdin[1])

    def release(self) -> None:
        """Close the child's ends."""
        for fd in (self._report_child, self._stdin[0], self._stdout[1], self._stderr[1]):
            if fd >= 0:
                os.close(fd)
        if self._master_child:
            self._master_child.close()

    def discard(self) -> None:
        """Nothing was forked: close both ends."""
        self.release()
        for fd in (self.report, self._stdin[1], self._stdout[0], self._stderr[0]):
            if fd >= 0:
                os.close(fd)
        if self.master:
            self.master.close()


def take_master(connection: socket.socket, hub: Hub) -> int:
    """Receive the terminal's master, which a started process has sent; returns it. Raises: OSError."""
    connection.setblocking(False)
    try:
        _, fds = protocol.receive_packet(connection, 16)
    finally:
        connection.close()
    if len(fds) != 1:
        protocol.close_all(fds)
        raise OSError(0, "no terminal was received")
    master = fds[0]
    hub.outputs(os.dup(master))
    hub.input(os.dup(master))
    return master
