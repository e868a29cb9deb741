"""``$NOTIFY_SOCKET``: a service manager that waits for the container's own word that it is ready.

The container gets a socket of its own (it is not told the manager's, and could not be believed there: the manager looks
at who speaks). What comes out of it is passed on as far as it concerns the start, in the name of the process that
the manager is to watch then. As runc does it. See: sd_notify(3).
"""

import os
import select
import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

VARIABLE: Final = "NOTIFY_SOCKET"
_DIRECTORY: Final = "notify"
_FILE: Final = "notify.sock"
_INSIDE: Final = "/run/notify"
_LONGEST: Final = 4096
_BARRIER: Final = 30.0  # seconds for the manager to take notice


def prepared(config: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """The configuration with a socket's directory in the container, if anybody waits. Raises: OSError."""
    if not os.environ.get(VARIABLE):
        return dict(config)
    path = f"{directory}/{_DIRECTORY}"
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)  # noqa: S103 - the container's user must reach the socket
    mount = {
        "destination": _INSIDE,
        "type": "bind",
        "source": path,
        "options": ["bind", "nosuid", "noexec", "nodev", "ro"],
    }
    process = config["process"]
    variables = [*(process.get("env") or ()), f"{VARIABLE}={_INSIDE}/{_FILE}"]
    return {**config, "mounts": [*config["mounts"], mount], "process": process | {"env": variables}}


def forget(directory: str) -> None:
    """Remove what was made there. Raises: OSError."""
    for remove, name in ((os.unlink, f"{_DIRECTORY}/{_FILE}"), (os.rmdir, _DIRECTORY)):
        try:
            remove(f"{directory}/{name}")
        except FileNotFoundError:
            pass


class Relay(NamedTuple):
    """From the container's socket to the manager's."""

    socket: socket.socket
    manager: str

    @classmethod
    def of(cls, directory: str) -> Self | None:
        """The socket, before the program starts that speaks to it; None where nobody waits. Raises: OSError."""
        manager = os.environ.get(VARIABLE)
        try:
            fd = os.open(f"{directory}/{_DIRECTORY}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if not manager:
                return None
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            made.bind(f"/proc/self/fd/{fd}/{_FILE}")  # the path itself may be longer than an address can be
            os.chmod(f"/proc/self/fd/{fd}/{_FILE}", 0o777)  # noqa: S103 - the container's user must reach it
        finally:
            os.close(fd)
        return cls(made, manager)

    def carry(self, process: int, main: int) -> None:
        """Until the container says that it is ready, or its ``process`` (a pidfd) has ended. Raises: OSError.

        ``main`` is the process that the manager is to take for the service's.
        """
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        poll.register(process, select.POLLIN)
        with self.socket:
            while ready := {fd for fd, _ in poll.poll()}:
                if self.socket.fileno() not in ready:
                    return
                lines = self.socket.recv(_LONGEST).split(b"\n")
                said = next((line for line in lines if line.startswith(b"READY=")), None)
                if said is not None:
                    self._tell(said, main)
                    return

    def carry_beside(self, process: int, main: int) -> None:
        """The same in a child, while this process does something else."""
        if os.fork() == 0:
            try:
                self.carry(process, main)
            finally:
                os._exit(0)
        self.socket.close()

    def _tell(self, ready: bytes, main: int) -> None:
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self.manager[1:] if self.manager.startswith("@") else self.manager
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.send(ready + b"\n")
            sender.send(b"MAINPID=%d\n" % main)
            _await(sender)


def _await(sender: socket.socket) -> None:
    """Until the manager has read it all: it looks its senders up, so they had better be there still."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        socket.send_fds(sender, [b"BARRIER=1"], [writing])
    finally:
        os.close(writing)
    try:
        select.select([reading], [], [], _BARRIER)  # closed by the manager; an old one never does
    finally:
        os.close(reading)
