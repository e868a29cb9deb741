"""Neighbours are told where an address is now, unasked: gratuitous ARP and neighbour advertisements."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from functools import partial

import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for

SLEEP = ("busybox", "sleep", "1000")
TOLD = "com.docker.network.advertise_addr_nmsgs"
EVERY = "com.docker.network.advertise_addr_ms"
_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35
_ARP, _IPV6 = b"\x08\x06", b"\x86\xdd"


class Heard:
    """What crosses this engine's bridges from now on."""

    def __init__(self, engine: Engine) -> None:
        self._bridges = f"rd{engine.layout.instance[:4]}-"
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._frames: list[tuple[float, bytes]] = []

    def close(self) -> None:
        self._socket.close()

    def frames(self) -> list[tuple[float, bytes]]:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ((_, _, stamp),), _, (interface, *_) = self._socket.recvmsg(2048, 64)
                if interface.startswith(self._bridges):
                    seconds, nanoseconds = struct.unpack("qq", stamp)
                    self._frames.append((seconds + nanoseconds / 1e9, data))
        return self._frames

    def of(self, address: str) -> list[tuple[float, str]]:
        """When somebody said unasked that it has the address, and which hardware address that one has."""
        found = []
        for when, data in self.frames():
            if ":" in address:
                packed = socket.inet_pton(socket.AF_INET6, address)
                # Override, without Solicited, to all nodes: type 136 in an ICMPv6 message without extension headers.
                said = data[12:14] == _IPV6 and data[20] == 58 and data[54] == 136 and data[58] == 0x20
                if said and data[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1") and data[62:78] == packed:
                    assert (
                        checksum(data[22:54] + len(data[54:]).to_bytes(4, "big") + bytes(3) + b"\x3a" + data[54:]) == 0
                    )
                    found.append((when, data[80:86].hex(":")))
            else:
                packed = socket.inet_aton(address)
                if data[12:14] == _ARP and data[28:32] == packed and data[38:42] == packed:
                    found.append((when, data[22:28].hex(":")))
        return found


def checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.fixture
def heard(engine: Engine) -> Iterator[Heard]:
    made = Heard(engine)
    try:
        yield made
    finally:
        made.close()
        engine.remove_containers()
        engine.ok("network", "prune", "-f")


def test_as_often_as_the_network_says(engine: Engine, heard: Heard) -> None:
    engine.ok("network", "create", "--ipv6", "--subnet", "10.222.0.0/24", "--subnet", "fd22::/64",
              "-o", f"{TOLD}=2", "-o", f"{EVERY}=100", "told")  # fmt: skip
    place = ("--network", "told", "--ip", "10.222.0.9", "--ip6", "fd22::9")
    engine.ok("run", "-d", "--name", "box", *place, *SLEEP)
    mac = engine.field("box", "{{.NetworkSettings.Networks.told.MacAddress}}")
    addresses = ("10.222.0.9", "fd22::9")
    wait_for(lambda: all(len(heard.of(address)) >= 2 for address in addresses))
    for address in addresses:
        (first, one), (second, two) = heard.of(address)
        assert (one, two) == (mac, mac)
        assert second - first > 0.05
    engine.ok("exec", "box", "ping", "-c", "1", "-W", "2", "10.222.0.1")
    assert len(heard.of("10.222.0.9")) == 2


def test_a_neighbours_cache_is_put_right(client: Client, heard: Heard) -> None:
    client.ok("network", "create", "--subnet", "10.222.0.0/24", "moved")
    client.ok("run", "-d", "--name", "neighbour", "--network", "moved", *SLEEP)

    def knows(mac: str) -> bool:
        return mac in client.ok("exec", "neighbour", "ip", "neigh", "show", "10.222.0.9")

    for mac in ("02:42:22:22:22:01", "02:42:22:22:22:02"):
        client.ok(
            "run", "-d", "--name", "box", "--network", "moved", "--ip", "10.222.0.9", "--mac-address", mac, *SLEEP
        )
        if mac.endswith("1"):
            client.ok("exec", "neighbour", "ping", "-c", "1", "-W", "2", "10.222.0.9")
        wait_for(partial(knows, mac))
        client.ok("rm", "-f", "box")


def test_a_running_container_that_joins(engine: Engine, heard: Heard) -> None:
    engine.ok("network", "create", "--subnet", "10.222.0.0/24", "-o", f"{TOLD}=1", "late")
    engine.ok("run", "-d", "--name", "box", *SLEEP)
    engine.ok("network", "connect", "--ip", "10.222.0.9", "late", "box")
    wait_for(lambda: heard.of("10.222.0.9"))
    engine.ok("network", "disconnect", "late", "box")
    engine.ok("exec", "box", "true")  # the shim lives on


@pytest.mark.parametrize("arguments", [(), ("-o", f"{TOLD}=0")], ids=["nobody knows another", "not wanted"])
def test_nobody_is_told_of_what_everybody_knows(engine: Engine, heard: Heard, arguments: tuple[str, ...]) -> None:
    engine.ok("network", "create", "--subnet", "10.222.0.0/24", *arguments, "quiet")
    given = ("--mac-address", "02:42:22:22:22:01") if arguments else ()
    engine.ok("run", "-d", "--name", "box", "--network", "quiet", "--ip", "10.222.0.9", *given, *SLEEP)
    engine.ok("exec", "box", "ping", "-c", "1", "-W", "2", "10.222.0.1")
    assert heard.frames() and not heard.of("10.222.0.9")
