"""The engine's word to a service manager. See: sd_notify(3)."""

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Sends states to the socket that the service manager named; does nothing where it named none."""

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> "Notifier":
        """From ``$NOTIFY_SOCKET``, which is gone afterwards: what the engine starts must not speak in its name."""
        return cls(environment.pop("NOTIFY_SOCKET", ""))

    @property
    def wanted(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._path)

    def ready(self) -> None:
        """The engine answers requests."""
        self._send(f"READY=1\nMAINPID={os.getpid()}")

    def stopping(self) -> None:
        """The engine has begun to end."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._path:
            return
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.connect(address)
                sender.send(text.encode())
            except OSError:
                pass  # the manager is gone, or stopped listening: the engine runs as well without it
