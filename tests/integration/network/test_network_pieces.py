"""Streams from the machine go to containers in pieces beyond 64 KB, and to everything else in what it can take."""

import hashlib
import os
import re
import socket
import threading

import pytest
from tests.integration.network.lab import Lab, on_a_machine

from rundlet.linux.netlink import Netlink

_SIZE = 32 << 20
_PIECE = 1 << 20
_OLD_LARGEST = 65536 + 14
"""Bytes of a frame before the kernel could do more."""
_ETH_P_IP = 0x0800
_SO_RCVBUFFORCE = 33

_KERNEL = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


@pytest.mark.skipif(_KERNEL < (6, 3), reason="IPv4 in pieces beyond 64 KB came with Linux 6.3")
@on_a_machine
def test_a_stream_to_a_container_goes_in_large_pieces_and_whole(lab: Lab) -> None:
    lab.rtnl.create_bridge("br")
    lab.rtnl.configure("br", ["10.0.0.1/24"])
    container, machine = lab.namespace(), lab.namespace()
    lab.rtnl.create_veth("rv0", "br", container, "eth0", large=True)
    # A port of the bridge that nobody has told anything, as a network card would be.
    lab.rtnl.create_veth("plain", "br", machine, "eth0")
    _configure(lab, container, "10.0.0.2/24")
    _configure(lab, machine, "10.0.0.3/24")
    digest, largest = _pour(lab, container, "10.0.0.2")
    assert digest == _expected()
    assert largest > 2 * _OLD_LARGEST
    digest, largest = _pour(lab, machine, "10.0.0.3")
    assert digest == _expected()
    assert 0 < largest <= _OLD_LARGEST


def _configure(lab: Lab, namespace: int, address: str) -> None:
    def configure() -> None:
        with Netlink() as own:
            own.configure("eth0", [address])

    lab.inside(namespace, configure)


def _pieces() -> list[bytes]:
    return [bytes([number]) * _PIECE for number in range(_SIZE // _PIECE)]


def _expected() -> str:
    return hashlib.sha256(b"".join(_pieces())).hexdigest()


def _pour(lab: Lab, namespace: int, address: str) -> tuple[str, int]:
    """What arrived, hashed, and the size of the largest frame that it came in."""
    server = lab.inside(namespace, lambda: socket.create_server((address, 80)))
    kinds = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    frames = lab.inside(namespace, lambda: socket.socket(socket.AF_PACKET, kinds, socket.htons(_ETH_P_IP)))
    taken: list[str] = []
    with server, frames:
        frames.bind(("eth0", _ETH_P_IP))
        frames.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 * _SIZE)
        reader = threading.Thread(target=_take, args=(server, taken))
        reader.start()
        with socket.create_connection((address, 80), timeout=30) as client:
            for piece in _pieces():
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            reader.join(30)
        largest = 0
        while True:
            try:
                largest = max(largest, len(frames.recv(_PIECE)))
            except BlockingIOError:
                return taken[0], largest


def _take(server: socket.socket, taken: list[str]) -> None:
    connection, _ = server.accept()
    found = hashlib.sha256()
    with connection:
        while data := connection.recv(_PIECE):
            found.update(data)
    taken.append(found.hexdigest())
