"""A file as the body of a request."""

from __future__ import annotations

import errno
import os
import stat

from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rundlet.client.http import Socket

PIECE = 256 << 10
_AT_ONCE = 1 << 30
_ROOM = 4 << 20
# Numbers of Linux: the module that has the first costs more to load than it helps.
_SOL_SOCKET = 1
_SO_SNDBUFFORCE = 32
_NOT_CARRIED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class FileBody:
    """What is left of the file ``fd``, which is closed at the end.

    The length of a regular file is said beforehand, and where nothing lies between us and the socket the kernel carries
    it there by itself: an archive never passes through this process. Everything else goes piece by piece.
    """

    __slots__ = ("_fd", "size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = _left(fd)
        """Bytes; 0 where nobody can say beforehand."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := os.read(self._fd, PIECE):
                yield piece
        finally:
            os.close(self._fd)

    def send_to(self, socket: Socket) -> None:
        """Write :attr:`size` bytes to ``socket``. Raises ClientError when the file has become shorter, OSError."""
        left = self.size
        # What has bytes pending has TLS in it.
        carried = getattr(socket, "pending", None) is None
        if carried and left > PIECE:
            _widen(socket)
        try:
            while left:
                if carried:
                    try:
                        sent = os.sendfile(socket.fileno(), self._fd, None, min(left, _AT_ONCE))
                    except OSError as exc:
                        if exc.errno not in _NOT_CARRIED:
                            raise
                        carried = False
                        continue
                else:
                    piece = os.read(self._fd, min(left, PIECE))
                    socket.sendall(piece)
                    sent = len(piece)
                if not sent:
                    raise ClientError("the file has become shorter while it was sent")
                left -= sent
        finally:
            os.close(self._fd)


def _widen(socket: Socket) -> None:
    """Much may be under way, so that neither side waits for the other often. Only root gets more than everybody has."""
    try:
        socket.setsockopt(_SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM)
    except OSError:
        pass  # it is as wide as this user's sockets are


def _left(fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return 0
    # Files of /proc say that they hold nothing: those are sent in pieces, too.
    return max(0, status.st_size - os.lseek(fd, 0, os.SEEK_CUR))
