"""Tells the neighbours of a container's interfaces where its addresses are now, where the engine wants it told.

A link of the spec says how often and at which intervals (``announce``: [messages, milliseconds]); most say nothing.
What can't be sent is not worth more than that: neighbours find out by asking.
"""

import socket
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from rundlet.linux import announcing
from rundlet.linux.loop import Loop, Timer

Spec = Mapping[str, Any]

_ETHERNET: Final = 1  # ARPHRD_ETHER


class Announcer:
    """A container's; at work for some seconds after a start."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[Timer, socket.socket] = {}

    def begin(self, links: Iterable[Spec], inside: Callable[[Callable[[], socket.socket]], socket.socket]) -> None:
        """Tell of each link that wants it: once now, the rest later. Never raises.

        ``inside`` calls something in the container's network namespace.
        """
        for link in links:
            messages, interval = link.get("announce") or (0, 0)
            if messages:
                try:
                    sending = inside(partial(_socket, link["name"]))
                except OSError:
                    continue  # a kernel without packet sockets
                self._send(sending, link, messages, interval / 1000)

    def stop(self) -> None:
        """The container has ended, or another life of it begins."""
        for timer, sending in self._waiting.items():
            timer.cancel()
            sending.close()
        self._waiting.clear()

    def _send(self, sending: socket.socket, link: Spec, left: int, interval: float) -> None:
        try:
            *_, kind, mac = sending.getsockname()
            for address in link.get("addresses") or () if kind == _ETHERNET else ():
                sending.send(announcing.frame(mac, address.partition("/")[0]))
        except OSError:
            left = 0  # the interface has gone
        if left <= 1:
            sending.close()
            return

        def again() -> None:
            del self._waiting[timer]
            self._send(sending, link, left - 1, interval)

        timer = self._loop.later(interval, again)
        self._waiting[timer] = sending


def _socket(name: str) -> socket.socket:
    """One that only sends, by an interface of this network namespace. Raises: OSError."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        made.bind((name, 0))
    except OSError:
        made.close()
        raise
    return made
