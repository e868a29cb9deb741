"""The process that stays outside of an ordinary user's namespaces, on the machine's own network.

It maps the users of a new namespace, holds the namespaces open while no engine runs but containers do, and makes
sockets in the machine's network for the engine inside. One thread; it ends by itself when no engine is connected and
no shim answers any more, and the namespaces go with the last process in them. Only this user's processes may connect.

Requests and answers are JSON packets, see :mod:`rundlet.runtime.protocol`::

    {"op": "adopt", "pid": 7, "map": true}    {"ok": true, "state": {…}}            first, by whoever started it
    {"op": "namespaces"}                      {"ok": true, "state": {…}}, 3 descriptors: user, mnt, net
    {"op": "socket", "family": 2, "type": 1}  {"ok": true}, the descriptor of an unbound, unconnected socket
    {"op": "resolve", "host": "…"}            {"ok": true, "addresses": [["192.0.2.1", 2], …]}
"""

import hashlib
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any, Final

from rundlet.daemon.rootless import delegation
from rundlet.daemon.rootless.mapping import map_ids, present
from rundlet.daemon.rootless.outgoing import WayOut
from rundlet.daemon.rootless.ranges import RangeError
from rundlet.linux import libc
from rundlet.runtime import protocol

FIRST_FD: Final = 3
NAMESPACES: Final = ("user", "mnt", "net")
_BACKLOG: Final = 32
_LOOK_SECONDS: Final = 2.0
_LINGER: Final = 8  # looks in a row that find nobody before the end


def socket_path(run: str) -> str:
    return f"{run}/keeper.sock"


def main(arguments: list[str]) -> int:
    """``RUN``, the engine's run directory; the connection to whoever started us is descriptor 3."""
    os.setsid() if os.getsid(0) != os.getpid() else None
    os.chdir("/")
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    libc.close_range(FIRST_FD + 1)
    libc.set_name("rundlet-keeper")
    keeper = Keeper(arguments[0])
    try:
        keeper.run(socket.socket(fileno=FIRST_FD))
    finally:
        keeper.close()
    return 0


class Keeper:
    """``state`` is what engines, ``info`` and ``doctor`` are told."""

    def __init__(self, run: str) -> None:
        self.run_directory = run
        self.namespaces: list[int] = []
        self.state: dict[str, Any] = {}
        self.way_out: WayOut | None = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connections: dict[int, socket.socket] = {}
        self.bound = False
        self.starting: list[int] = []  # of engines that were let in and have not connected yet: descriptors
        self.idle = 0
        self.looked = time.monotonic()
        self.poll = select.poll()

    def run(self, first: socket.socket) -> None:
        """Serve until nobody needs it any more."""
        self._add(first)
        while self.idle < _LINGER:
            for fd, _ in self.poll.poll(_LOOK_SECONDS * 1000):
                self._readable(fd)
            if self.way_out is not None:
                self.way_out.look_after()
            self._look()

    def close(self) -> None:
        if self.way_out is not None:
            self.way_out.close()
        if self.bound:
            try:
                os.unlink(socket_path(self.run_directory))
            except OSError:
                pass

    def _readable(self, fd: int) -> None:
        if fd == self.listener.fileno():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # it has gone again, or no descriptor is free: whoever waits is asked for again
            if protocol.peer_is(connection, os.geteuid()):
                self._add(connection)
            else:
                connection.close()
            return
        connection = self.connections[fd]
        try:
            data, fds = protocol.receive_packet(connection)
            protocol.close_all(fds)
            if not data:
                raise ConnectionResetError
            request = protocol.decode(data)
        except (OSError, protocol.ProtocolError):
            self._drop(fd)
            return
        self._serve(connection, request)

    def _add(self, connection: socket.socket) -> None:
        self.connections[connection.fileno()] = connection
        self.poll.register(connection, select.POLLIN)

    def _drop(self, fd: int) -> None:
        self.poll.unregister(fd)
        self.connections.pop(fd).close()

    def _serve(self, connection: socket.socket, request: dict[str, Any]) -> None:
        operation = getattr(self, f"_do_{request.get('op')}", None)
        try:
            if operation is None:
                raise OSError(22, f"unknown operation {request.get('op')!r}")
            operation(connection, request)
        except (OSError, RangeError, ValueError, KeyError) as exc:
            self._answer(connection, request, {"error": str(exc), "errno": getattr(exc, "errno", None) or 0})

    def _answer(
        self, connection: socket.socket, request: dict[str, Any], answer: dict[str, Any], fds: list[int] | None = None
    ) -> None:
        try:
            protocol.send_packet(connection, protocol.encode(answer | {"seq": request.get("seq", 0)}), fds or [])
        except OSError:
            pass  # it went away; its end is noticed by the poll

    # Requests

    def _do_adopt(self, connection: socket.socket, request: dict[str, Any]) -> None:
        """Take over the namespaces of a process: new ones, whose users are to be mapped, or those of a survivor."""
        pid = int(request["pid"])
        mapped = map_ids(pid) if request.get("map") else present(pid)
        state: dict[str, Any] = {"users": mapped.users, "groups": mapped.groups, "problem": mapped.problem}
        self.namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in NAMESPACES]
        self.way_out = WayOut(self.namespaces[2], self.namespaces[0], self.run_directory)
        state["network"] = self.way_out.start()
        # A service manager that runs the engine keeps it in the service's group; what it starts moves to ours.
        moving = [os.getpid()] if request.get("service") or not request.get("map") else [os.getpid(), pid]
        state["cgroup"] = delegation.obtain(_scope(self.run_directory), moving, 0 if request.get("map") else pid)
        self.state = state
        if request.get("map"):
            self._expect(pid)
        self._listen()
        self._answer(connection, request, {"ok": True, "state": state})

    def _do_namespaces(self, connection: socket.socket, request: dict[str, Any]) -> None:
        if not self.namespaces:
            raise OSError(11, "no namespaces yet")
        peer = _peer(connection)
        self._expect(peer)
        if self.state["cgroup"]:
            delegation.bring_in(self.state["cgroup"], peer)
        self._answer(connection, request, {"ok": True, "state": self.state}, self.namespaces)

    def _do_state(self, connection: socket.socket, request: dict[str, Any]) -> None:
        state = self.state
        if state["cgroup"] and not delegation.within(state["cgroup"], _peer(connection)):
            state = state | {"cgroup": ""}  # it could start nothing there
        self._answer(connection, request, {"ok": True, "state": state})

    def _do_socket(self, connection: socket.socket, request: dict[str, Any]) -> None:
        made = socket.socket(int(request["family"]), int(request["type"]))
        with made:
            self._answer(connection, request, {"ok": True}, [made.fileno()])

    def _do_resolve(self, connection: socket.socket, request: dict[str, Any]) -> None:
        """By the machine's own libc, in a thread: it may take as long as the machine's name servers like."""
        threading.Thread(target=self._resolve, args=(connection, request), daemon=True).start()

    def _resolve(self, connection: socket.socket, request: dict[str, Any]) -> None:
        family = int(request.get("family") or 0)
        try:
            found = socket.getaddrinfo(str(request["host"]), None, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            self._answer(connection, request, {"error": exc.args[-1] if exc.args else str(exc), "errno": -1})
            return
        addresses = [[str(item[4][0]), int(item[0])] for item in found]
        self._answer(connection, request, {"ok": True, "addresses": addresses})

    def _expect(self, pid: int) -> None:
        """``pid`` is going to be an engine: however long that takes it."""
        try:
            self.starting.append(os.pidfd_open(pid))
        except OSError:
            pass  # it has ended

    def _anybody_starting(self) -> bool:
        ended = {fd for fd in self.starting if select.select([fd], [], [], 0)[0]}
        protocol.close_all(list(ended))
        self.starting = [fd for fd in self.starting if fd not in ended]
        return bool(self.starting)

    # Life

    def _listen(self) -> None:
        path = socket_path(self.run_directory)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self.listener.bind(path)
        self.listener.listen(_BACKLOG)
        self.bound = True
        self.poll.register(self.listener, select.POLLIN)

    def _look(self) -> None:
        """Whether anybody is left: a connected engine, or a shim that a later engine will want to find."""
        now = time.monotonic()
        if self.connections or self._anybody_starting():
            self.idle = 0
            self.looked = now
            return
        if now - self.looked < _LOOK_SECONDS:
            return
        self.looked = now
        self.idle = 0 if survivor(self.run_directory) else self.idle + 1


def _peer(connection: socket.socket) -> int:
    """The process at the other end."""
    # struct ucred: pid, uid, gid
    return int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)


def _scope(run: str) -> str:
    """How the names of the units begin that this engine's processes are in."""
    return f"rundlet-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def survivor(run: str) -> int:
    """The process number of a shim that answers; 0 when there is none."""
    directory = f"{run}/s"
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    for name in names:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(f"{directory}/{name}")
                # struct ucred: pid, uid, gid
                credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            except OSError:
                continue
            return int.from_bytes(credentials[:4], sys.byteorder)
    return 0
