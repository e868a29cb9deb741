"""A machine of a test's own: a forked child in a new network namespace is "the host"; more namespaces are its
containers and its neighbours. The real host's links, rules and switches stay untouched.
"""

import functools
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from rundlet.linux import libc
from rundlet.linux.netlink import DefaultRoute, Interface, Netlink
from rundlet.network.options import DaemonOptions
from rundlet.network.sandbox import Allocation
from rundlet.network.service import SCHEMA, NetworkService
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database

NEWNET = 0x40000000
HOST, NEIGHBOUR = "192.0.2.2", "192.0.2.10"
NOTHING = b""

_SECONDS = 90

T = TypeVar("T")


class Lab:
    """The host and what is around it. One thread changes namespaces at a time: the test's own."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.home = _current_namespace()
        self.clock = SystemClock()
        self.instance = secrets.token_hex(4)
        self.database = Database.open(f"{directory}/{self.instance}.db", [SCHEMA])
        self.rtnl = Netlink()
        self.rtnl.set_up("lo")
        # A new namespace may begin with the machine's values.
        _sysctl("net.ipv4.ip_forward", "0")
        _sysctl("net.ipv6.conf.all.forwarding", "0")

    def second(self) -> "Lab":
        """Another engine's root on the same machine."""
        switch = "/proc/sys/net/ipv4/ip_forward"
        with open(switch) as file:
            before = file.read()
        other = Lab(self.directory)
        _sysctl("net.ipv4.ip_forward", before)
        return other

    def service(self, **options: Any) -> NetworkService:
        """A started service, as every engine on this root would make it."""
        service = NetworkService(self.database, SystemClock(), self.instance, DaemonOptions(**options))
        service.start()
        return service

    def namespace(self) -> int:
        """A new namespace with lo up."""
        libc.unshare(NEWNET)
        try:
            with Netlink() as rtnl:
                rtnl.set_up("lo")
            return _current_namespace()
        finally:
            libc.setns(self.home, NEWNET)

    def inside(self, namespace: int | None, do: Callable[[], T]) -> T:
        """``do()`` in a namespace; None is the host's. Sockets made there stay there."""
        if namespace is None:
            return do()
        libc.setns(namespace, NEWNET)
        try:
            return do()
        finally:
            libc.setns(self.home, NEWNET)

    def neighbour(self, *, link: str = "eth0", host: str = HOST, own: str = NEIGHBOUR) -> int:
        """Another machine on the host's network ``link``."""
        namespace = self.namespace()
        self.rtnl.create_bridge(f"{link}-sw")  # Only a veth needs a bridge here; it is taken out of it below.
        self.rtnl.create_veth(link, f"{link}-sw", namespace, "eth0")
        shell(f"ip link set {link} nomaster && ip link del {link}-sw")
        self.rtnl.configure(link, [f"{host}/24"])

        def configure() -> None:
            with Netlink() as rtnl:
                rtnl.configure("eth0", [f"{own}/24"])

        self.inside(namespace, configure)
        return namespace

    def attach(self, allocation: Allocation) -> int:
        """A container's namespace, made as the shim makes it."""
        namespace = self.namespace()
        sandbox = allocation.sandbox
        interfaces = []
        for link in sandbox.links:
            names = link["host_name"], link["bridge"], namespace, link["name"], link["mac"]
            flags = {key: link[key] for key in ("mtu", "isolated", "hairpin", "large")}
            self.rtnl.create_veth(*names, **flags)
            interfaces.append(Interface(link["name"], link["addresses"], link["mtu"]))
        for key, value in sandbox.sysctls.items():
            self.inside(namespace, functools.partial(_sysctl, key, value))
        ways_out = [DefaultRoute(route["gateway"], family=_family(route["dst"])) for route in sandbox.routes]

        def configure() -> None:
            with Netlink() as rtnl:
                rtnl.configure_sandbox(interfaces, ways_out)

        self.inside(namespace, configure)
        return namespace

    def serve(self, namespace: int | None, protocol: str, port: int, address: str = "0.0.0.0") -> None:
        """A server that tells every client the address that it sees it by."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        server = self.inside(namespace, lambda: socket.socket(_family(address), kind))
        server.bind((address, port))
        if protocol == "tcp":
            server.listen()
        threading.Thread(target=_answer, args=(server, protocol), daemon=True).start()

    def ask(self, namespace: int | None, protocol: str, address: str, port: int, wait: float = 2.0) -> str:
        """What a server at ``address:port`` answers to a client in ``namespace``; empty: nothing."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        client = self.inside(namespace, lambda: socket.socket(_family(address), kind))
        with client:
            client.settimeout(wait)
            try:
                client.connect((address, port))
                client.send(b"?")
                return client.recv(100).decode()
            except OSError:
                return ""

    def raw_udp(self, namespace: int, interface: str, mac: str, source: str, destination: tuple[str, int]) -> None:
        """Send one hand-made frame with a UDP datagram, whatever the sender's own routes say."""
        sender = self.inside(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        with sender:
            sender.bind((interface, 0x0800))
            own = sender.getsockname()[4]
            address, port = destination
            data = b"evil"
            udp = struct.pack(">HHHH", 4444, port, 8 + len(data), 0) + data
            head = struct.pack(
                ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, *map(_packed, (source, address))
            )
            head = head[:10] + _checksum(head) + head[12:]
            sender.send(bytes.fromhex(mac.replace(":", "")) + own + b"\x08\x00" + head + udp)


def on_a_machine(test: Callable[[Lab], None]) -> Callable[[], None]:
    """Run ``test(lab)`` in a forked child that is a machine of its own; its failure is the test's."""

    @pytest.mark.root
    def run() -> None:
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Threads that other tests left don't matter here.
            pid = os.fork()
        if pid == 0:
            os.close(reader)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_SECONDS)
            os.write(writer, _run_in_child(test).encode()[-60000:])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            report = pipe.read().decode()
        _, status = os.waitpid(pid, 0)
        if status:
            pytest.fail(f"the test's process ended with status {status}", pytrace=False)
        if report:
            pytest.fail(report, pytrace=False)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def shell(command: str) -> str:
    """A command's output; its failure is the test's."""
    done = subprocess.run(command, check=False, shell=True, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def has(program: str) -> bool:
    return shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is not None


def _run_in_child(test: Callable[[Lab], None]) -> str:
    try:
        libc.unshare(NEWNET)
        with tempfile.TemporaryDirectory() as directory:
            test(Lab(directory))
    except BaseException:
        return traceback.format_exc()
    return ""


def _current_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _sysctl(key: str, value: str) -> None:
    with open(f"/proc/sys/{key.replace('.', '/')}", "w") as file:
        file.write(value)


def _answer(server: socket.socket, protocol: str) -> None:
    while True:
        if protocol == "udp":
            _, peer = server.recvfrom(100)
            server.sendto(peer[0].encode(), peer)
        else:
            connection, peer = server.accept()
            with connection:
                connection.send(peer[0].encode())


def _packed(address: str) -> bytes:
    return socket.inet_aton(address)


def _checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)
