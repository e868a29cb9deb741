"""An SSH agent lent to a build: connections of a step's processes end at the agent's socket on this side."""

from __future__ import annotations

from rundlet.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket as Socket

    from rundlet.client.http import Hijacked
    from rundlet.client.session import Session

_CHUNK = 1 << 16


def serve(session: Session, path: str, agent: str) -> None:
    """Hold one idle line at ``path``; when something comes on it, join it with the agent and hold another.

    Raises ClientError when not even the first can be opened; what happens later ends with the build.
    """
    line = session.hijack(path)
    _start(session, path, agent, line)


def _start(session: Session, path: str, agent: str, line: Hijacked) -> None:
    from threading import Thread

    Thread(target=_wait, args=(session, path, agent, line), daemon=True).start()


def _wait(session: Session, path: str, agent: str, line: Hijacked) -> None:
    first = line.leftover or _receive(line)
    if not first:
        line.close()
        return
    try:
        following = session.hijack(path)
    except (ApiError, ClientError):
        # The build is over, or about to be.
        following = None
    if following is not None:
        _start(session, path, agent, following)
    _join(line, first, agent)


def _receive(line: Hijacked) -> bytes:
    try:
        return line.socket.recv(_CHUNK)
    except OSError:
        return b""


def _join(line: Hijacked, first: bytes, agent: str) -> None:
    import socket
    from threading import Thread

    try:
        other = socket.socket(socket.AF_UNIX)
        other.connect(agent)
        other.sendall(first)
    except OSError:
        line.close()
        return
    back = Thread(target=_copy_back, args=(other, line), daemon=True)
    back.start()
    while data := _receive(line):
        try:
            other.sendall(data)
        except OSError:
            break
    try:
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    back.join()
    line.close()


def _copy_back(source: Socket, line: Hijacked) -> None:
    try:
        while data := source.recv(_CHUNK):
            line.socket.sendall(data)
        line.socket.shutdown(1)
    except OSError:
        pass
    finally:
        source.close()
