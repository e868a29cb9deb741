"""``rundlet system dial-stdio``: standard input and output become a connection to the engine.

What ``-H ssh://…`` runs on the other machine.
"""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = ""
SHORT = "Proxy the stdio stream to the daemon connection. Should not be invoked manually."
ARGS = (0, 0)
FLAGS = ()
READ_SIZE = 65536


def run(call: Invocation) -> int:
    from rundlet.cli.streams import write_all

    connection = call.context.session.connect_directly().socket
    remote = connection.fileno()
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(remote, select.POLLIN)
    while True:
        for fd, _events in poll.poll():
            if fd == remote:
                data = connection.recv(READ_SIZE)
                if not data:
                    return 0
                write_all(1, data)
            else:
                data = os.read(0, READ_SIZE)
                if data:
                    connection.sendall(data)
                else:
                    connection.shutdown(1)
                    poll.unregister(0)
