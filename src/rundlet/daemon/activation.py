"""Socket activation: sockets that a service manager has bound and handed over. See: sd_listen_fds(3)."""

import os
import socket
from collections.abc import MutableMapping
from typing import Final

from rundlet.errors import RundletError

FIRST: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class ActivationError(RundletError):
    """What was handed over can't be listened on."""

    reason = "bad-activation"


def take(environment: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The sockets that were meant for process ``pid``; the variables are gone afterwards.

    They are close-on-exec from now on: nothing that this process starts may inherit the engine's door.

    Raises: ActivationError for a descriptor that isn't a listening stream socket.
    """
    listen_pid, count, _ = (environment.pop(name, "") for name in _VARIABLES)
    if listen_pid != str(pid) or not count.isdigit():
        return []
    numbers = range(FIRST, FIRST + int(count))
    for number in numbers:
        _close_on_exec(number)
    return [_listening(number) for number in numbers]


def address(sock: socket.socket) -> str:
    """As ``hosts`` has it: ``unix:///path`` or ``tcp://address:port``."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix://{os.fsdecode(name)}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"tcp://{host}:{name[1]}"


def _close_on_exec(number: int) -> None:
    try:
        os.set_inheritable(number, False)
    except OSError as exc:
        raise ActivationError(f"descriptor {number} was announced by LISTEN_FDS and is not open") from exc


def _listening(number: int) -> socket.socket:
    try:
        found = socket.socket(fileno=number)
        accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        raise ActivationError(f"descriptor {number} (of LISTEN_FDS) is not a socket") from exc
    if not accepts or found.type != socket.SOCK_STREAM:
        raise ActivationError(
            f"descriptor {number} (of LISTEN_FDS) is not a listening stream socket: the socket unit needs "
            "ListenStream= and Accept=no"
        )
    return found
