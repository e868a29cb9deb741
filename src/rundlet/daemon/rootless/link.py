"""The engine's side of the keeper, from inside the namespaces: a connection that keeps it alive, and requests.

Each request has a connection of its own, so any thread may make one.
"""

import os
import socket
from typing import Any

from rundlet.daemon.rootless import keeper
from rundlet.daemon.rootless.entering import RootlessError, ask
from rundlet.daemon.rootless.outgoing import BUILT_IN
from rundlet.runtime import protocol


class KeeperLink:
    """``state`` is what the keeper said of the namespaces when it was reached."""

    def __init__(self, run: str) -> None:
        """Raises: RootlessError when there is no keeper."""
        self._path = keeper.socket_path(run)
        self._held = self._connect()
        self.state: dict[str, Any] = ask(self._held, {"op": "state"})[0].get("state") or {}

    @property
    def cgroup(self) -> str:
        """The control group that this user was given; empty without one."""
        return str(self.state.get("cgroup") or "")

    def lacks(self) -> tuple[str, ...]:
        """What this engine has to do without, one line each; what would change it."""
        found = []
        if problem := self.state.get("problem"):
            found.append(f"Containers have one user only: {problem}")
        if self.state.get("network") == BUILT_IN:
            found.append(
                "Containers reach the network by the engine's own forwarder: neither pasta nor slirp4netns was found"
            )
        if not self.cgroup:
            found.append(
                "Running in rootless-mode without cgroups. Systemd is required to enable cgroups in rootless-mode."
            )
        return tuple(found)

    def chosen(self) -> tuple[tuple[str, str], ...]:
        """What this engine lives by on this machine: what ``info`` shows of it."""
        users = sum(int(extent[2]) for extent in self.state.get("users") or ())
        network = str(self.state.get("network") or "")
        return (
            ("Users", str(users)),
            ("Network", "built-in forwarder" if network == BUILT_IN else network),
            ("Control Group", self.cgroup or "none"),
        )

    def fileno(self) -> int:
        """Readable when the keeper is gone."""
        number: int = self._held.fileno()
        return number

    def close(self) -> None:
        self._held.close()

    def new_socket(self, family: int, kind: int, _protocol: int = 0) -> socket.socket:
        """A new socket in the machine's network. Raises: OSError."""
        fds = self._request({"op": "socket", "family": family, "type": kind & 0xF})[1]
        return socket.socket(fileno=fds[0])

    def resolve(self, host: str, family: int) -> list[tuple[str, int]]:
        """Addresses and families of ``host``, by the machine's own resolver. Raises: OSError."""
        answer, _ = self._request({"op": "resolve", "host": host, "family": family})
        return [(str(address), int(kind)) for address, kind in answer["addresses"]]

    def _request(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        with self._connect() as connection:
            answer, fds = ask(connection, request)
        if "error" in answer:
            protocol.close_all(fds)
            number = int(answer.get("errno") or 0)
            raise OSError(number, os.strerror(number) if number > 0 else str(answer["error"]))
        return answer, fds

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self._path)
        except OSError as exc:
            connection.close()
            raise RootlessError(f"the keeper of the namespaces does not answer ({self._path}): {exc.strerror}") from exc
        return connection
