"""``ssh://`` endpoints: the other machine's ``rundlet system dial-stdio``, at the end of an ssh connection."""

from __future__ import annotations

import os
import socket

from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.client.endpoint import Endpoint

REMOTE = ("rundlet", "system", "dial-stdio")
CONNECT_SECONDS = 30


def command(endpoint: Endpoint) -> list[str]:
    """What is run here. A path in the URL is the socket of the engine there."""
    words = ["ssh", "-o", f"ConnectTimeout={CONNECT_SECONDS}", "-T"]
    if endpoint.user:
        words += ["-l", endpoint.user]
    if endpoint.port:
        words += ["-p", str(endpoint.port)]
    remote = ["rundlet", "-H", f"unix://{endpoint.prefix}", *REMOTE[1:]] if endpoint.prefix else list(REMOTE)
    return [*words, "--", endpoint.address, *remote]


def connect(endpoint: Endpoint) -> socket.socket:
    """A stream to the engine there; its end ends ssh. Raises ClientError."""
    near, far = socket.socketpair()
    words = command(endpoint)
    try:
        pid = os.posix_spawnp(
            words[0],
            words,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, far.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, far.fileno(), 1),
            ],
        )
    except OSError as exc:
        near.close()
        raise ClientError(f"error during connect: cannot run ssh: {exc.strerror}") from exc
    finally:
        far.close()
    return _Connection(near, pid)


class _Connection(socket.socket):
    """The near end; closing it waits for ssh, so that nothing is left behind."""

    def __init__(self, near: socket.socket, pid: int) -> None:
        super().__init__(fileno=near.detach())
        self._child = pid

    def close(self) -> None:
        super().close()
        if self._child:
            child, self._child = self._child, 0
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                pass
