"""Published ports, from everywhere that they can be asked from."""

import os
import socket
import struct

from tests.integration.network.lab import HOST, NEIGHBOUR, Lab, on_a_machine, shell

from rundlet.network.portmap import parse_port_spec
from rundlet.network.service import NetworkService


def requests(*specs: str):
    return [request for spec in specs for request in parse_port_spec(spec)]


def container(lab: Lab, service: NetworkService, name: str, *specs: str) -> tuple[int, str]:
    """A container that answers on port 80 of both protocols; its namespace and its address."""
    allocation = service.allocate(name, name, requests=requests(*specs))
    namespace = lab.attach(allocation)
    lab.serve(namespace, "tcp", 80)
    lab.serve(namespace, "udp", 80)
    return namespace, allocation.endpoints[0].address


@on_a_machine
def test_a_published_port_answers_everywhere_and_sees_its_client(lab: Lab) -> None:
    check_everywhere(lab)


@on_a_machine
def test_the_same_where_bridged_frames_pass_the_firewall_or_do_not(lab: Lab) -> None:
    """Docker and Kubernetes turn br_netfilter on; its default differs."""
    switch = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    if not os.path.exists(switch):
        return
    with open(switch, "r+") as file:
        other = "0" if file.read().strip() == "1" else "1"
        file.write(other)
    check_everywhere(lab)


def check_everywhere(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service()
    web, address = container(lab, service, "web", "8080:80", "8080:80/udp")
    other, other_address = container(lab, service, "other")
    gateway = service.host_gateways()[0]
    assert (address, other_address, gateway) == ("172.17.0.2", "172.17.0.3", "172.17.0.1")
    for protocol in ("tcp", "udp"):
        assert lab.ask(None, protocol, "127.0.0.1", 8080) == gateway, protocol
        assert lab.ask(None, protocol, "127.0.0.2", 8080) == gateway, protocol
        assert lab.ask(None, protocol, HOST, 8080) == HOST, protocol
        assert lab.ask(neighbour, protocol, HOST, 8080) == NEIGHBOUR, protocol
        assert lab.ask(other, protocol, HOST, 8080) == gateway, protocol
        assert lab.ask(other, protocol, gateway, 8080) == gateway, protocol
        assert lab.ask(web, protocol, HOST, 8080) == gateway, f"hairpin {protocol}"
        assert lab.ask(other, protocol, address, 80) == other_address, protocol
        assert lab.ask(None, protocol, address, 80) == gateway, protocol


@on_a_machine
def test_containers_reach_the_world_with_the_hosts_address(lab: Lab) -> None:
    neighbour = lab.neighbour()
    lab.serve(neighbour, "tcp", 9000)
    lab.serve(neighbour, "udp", 9000)
    service = lab.service()
    inside, _ = container(lab, service, "client")
    assert lab.ask(inside, "tcp", NEIGHBOUR, 9000) == HOST
    assert lab.ask(inside, "udp", NEIGHBOUR, 9000) == HOST


@on_a_machine
def test_a_port_on_one_address_answers_there_only(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service()
    shell("ip addr add 192.0.2.3/24 dev eth0")
    container(lab, service, "web", "192.0.2.3:8080:80")
    assert lab.ask(neighbour, "tcp", "192.0.2.3", 8080) == NEIGHBOUR
    assert lab.ask(None, "tcp", "192.0.2.3", 8080)
    assert lab.ask(neighbour, "tcp", HOST, 8080) == ""
    assert lab.ask(None, "tcp", "127.0.0.1", 8080) == ""


@on_a_machine
def test_a_port_on_loopback_is_this_machines_alone(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service()
    _, address = container(lab, service, "web", "127.0.0.1:8080:80", "127.0.0.1:8080:80/udp")
    other, _ = container(lab, service, "other")
    for protocol in ("tcp", "udp"):
        assert lab.ask(None, protocol, "127.0.0.1", 8080) == service.host_gateways()[0]
        assert lab.ask(None, protocol, HOST, 8080, 0.3) == ""
        assert lab.ask(neighbour, protocol, HOST, 8080, 0.3) == ""
        assert lab.ask(other, protocol, HOST, 8080, 0.3) == ""
    # A neighbour that routes 127.0.0.1, or the container's own address, to this host.
    lab.inside(neighbour, lambda: shell(f"ip route add 172.17.0.0/16 via {HOST}"))
    assert lab.ask(neighbour, "tcp", address, 80, 0.3) == ""
    received = _datagrams(lab, None, "127.0.0.1", 5353)
    host_mac = lab.rtnl.link("eth0").mac
    lab.raw_udp(neighbour, "eth0", host_mac, NEIGHBOUR, ("127.0.0.1", 5353))
    lab.raw_udp(neighbour, "eth0", host_mac, NEIGHBOUR, ("127.0.0.1", 8080))
    assert received(0.3) == []


@on_a_machine
def test_a_neighbour_reaches_a_container_by_published_ports_only(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service()
    _, address = container(lab, service, "web", "8080:80")
    lab.inside(neighbour, lambda: shell(f"ip route add 172.17.0.0/16 via {HOST}"))
    assert lab.ask(neighbour, "tcp", address, 80, 0.3) == ""
    assert lab.ask(neighbour, "tcp", HOST, 8080) == NEIGHBOUR
    # The control: without our rules it does get there.
    shell(f"nft delete table inet rundlet_{lab.instance}")
    assert lab.ask(neighbour, "tcp", address, 80) == NEIGHBOUR


@on_a_machine
def test_published_ports_at_containers_own_addresses_where_that_is_allowed(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service(direct=True)
    inside, address = container(lab, service, "web", "8080:80", "8081:80", "127.0.0.1:8082:81")
    lab.serve(inside, "tcp", 81)
    lab.serve(inside, "tcp", 82)
    lab.inside(neighbour, lambda: shell(f"ip route add 172.17.0.0/16 via {HOST}"))
    assert lab.ask(neighbour, "tcp", address, 80) == NEIGHBOUR
    assert lab.ask(neighbour, "tcp", HOST, 8080) == lab.ask(neighbour, "tcp", HOST, 8081) == NEIGHBOUR
    assert lab.ask(neighbour, "tcp", address, 81, 0.3) == lab.ask(neighbour, "tcp", address, 82, 0.3) == ""
    service.release("web")
    assert lab.ask(neighbour, "tcp", address, 80, 0.3) == ""


@on_a_machine
def test_a_frame_from_a_container_never_reaches_the_hosts_loopback(lab: Lab) -> None:
    """CVE-2020-8558."""
    service = lab.service()
    inside, address = container(lab, service, "evil")
    received = _datagrams(lab, None, "127.0.0.1", 5353)
    bridge = next(link for link in lab.rtnl.links() if link.kind == "bridge")
    for source in (address, "127.0.0.1"):
        lab.raw_udp(inside, "eth0", bridge.mac, source, ("127.0.0.1", 5353))
    assert received(0.3) == []
    # The control: the very same frame arrives when our rules are gone.
    shell(f"nft delete table inet rundlet_{lab.instance}")
    lab.raw_udp(inside, "eth0", bridge.mac, address, ("127.0.0.1", 5353))
    assert received(0.5) == [b"evil"]


@on_a_machine
def test_a_flow_older_than_the_port_is_redirected_and_a_released_one_forgotten(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service()
    client = lab.inside(neighbour, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.settimeout(0.3)
    client.connect((HOST, 8080))

    def ask() -> str:
        try:
            client.send(b"?")
            return client.recv(100).decode()
        except OSError:
            return ""

    assert ask() == ""
    container(lab, service, "web", "8080:80/udp")
    assert ask() == NEIGHBOUR
    service.release("web")
    service.sweep()
    assert ask() == ""


def _datagrams(lab: Lab, namespace: int | None, address: str, port: int):
    """A UDP socket; calling the result gives what arrived within some seconds."""
    listener = lab.inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    listener.bind((address, port))

    def received(wait: float) -> list[bytes]:
        listener.settimeout(wait)
        found = []
        try:
            while True:
                found.append(listener.recv(100))
        except TimeoutError:
            return found

    return received


@on_a_machine
def test_sctp_is_sent_on(lab: Lab) -> None:
    """The firewall alone does it: the kernel may have no SCTP sockets, neither here nor inside."""
    neighbour = lab.neighbour()
    service = lab.service()
    inside, _ = container(lab, service, "phone", "9899:38412/sctp")
    listening = lab.inside(inside, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP))
    sender = lab.inside(neighbour, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP))
    with listening, sender:
        listening.settimeout(30)
        sender.sendto(sctp_init(5000, 9899), (HOST, 0))
        packet, (source, _port) = listening.recvfrom(2048)
        sent = packet[(packet[0] & 15) * 4 :]
        assert source == NEIGHBOUR
        assert struct.unpack(">HH", sent[:4]) == (5000, 38412)
        assert sent[8:12] == crc32c(sent[:8] + bytes(4) + sent[12:]), "the checksum covers the new port"


SCTP = 132


def sctp_init(source: int, destination: int) -> bytes:
    """A packet that opens an association. See: RFC 9260, section 3.3.2."""
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 7)
    head = struct.pack(">HHI", source, destination, 0)
    return head + crc32c(head + bytes(4) + chunk) + chunk


def crc32c(data: bytes) -> bytes:
    """As SCTP writes it: the least significant byte first."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return struct.pack("<I", value ^ 0xFFFFFFFF)
