"""Published ports of an ordinary user's engine: a container sees where its clients are, whatever carries packets."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.engines import wait_for
from tests.rootless import Beyond, Person, UserEngine, beyond

PROGRAMS = {"pasta": ("newuidmap", "newgidmap", "pasta"), "slirp4netns": ("newuidmap", "newgidmap", "slirp4netns")}
GATEWAY = "{{.NetworkSettings.Networks.bridge.Gateway}}"
GATEWAY_IPV6 = "{{.NetworkSettings.Networks.six.IPv6Gateway}}"
WHO = """
import socket, threading
tcp = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(("::", 9000))
def told(peer):
    return f"{peer[0].removeprefix('::ffff:')} {peer[1]}".encode()
def answer():
    while True:
        _, peer = udp.recvfrom(2048)
        udp.sendto(told(peer), peer)
threading.Thread(target=answer, daemon=True).start()
print("bound", flush=True)
while True:
    client, peer = tcp.accept()
    with client:
        client.sendall(told(peer))
"""
ASK = """
import socket, sys
host, tcp_port, udp_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
for _ in range(2):
    with socket.create_connection((host, tcp_port), timeout=20) as tcp:
        print("tcp", "%s %d" % tcp.getsockname()[:2] == tcp.recv(100).decode())
with socket.socket(family, socket.SOCK_DGRAM) as udp:
    udp.settimeout(1)
    udp.connect((host, udp_port))
    seen = ""
    for _ in range(20):
        udp.send(b"who")
        try:
            seen = udp.recv(100).decode()
            break
        except OSError:
            continue
    print("udp", seen == "%s %d" % udp.getsockname()[:2])
"""


@pytest.fixture(scope="module")
def far() -> Iterator[Beyond]:
    need("ip")
    with beyond() as made:
        yield made


@pytest.mark.parametrize("way", ["pasta", "slirp4netns", "ours"])
def test_a_container_sees_its_clients_addresses(person: Person, busybox_tar: Path, far: Beyond, way: str) -> None:
    python = os.path.realpath(person.python)
    if not python.startswith("/usr/"):
        lacking("Python below /usr")
    programs = PROGRAMS.get(way, ())
    for program in programs:
        need(program)
    engine = UserEngine(person, programs).start()
    try:
        engine.ok("import", "-", "box", stdin=busybox_tar.read_bytes())
        places = ("/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro")
        mounts = [word for place in places for word in ("-v", place)]
        ports = ["-p", "0.0.0.0::9000", "-p", "0.0.0.0::9000/udp"]
        engine.ok("run", "-d", "--name", "who", *ports, *mounts, "box", python, "-c", WHO)
        wait_for(lambda: engine.ok("logs", "who") == "bound", 30)
        tcp, udp = (engine.ok("port", "who", f"9000/{kind}").rpartition(":")[2] for kind in ("tcp", "udp"))
        asked = far.python(ASK, far.ours, tcp, udp)
        said, _ = asked.communicate(timeout=90)
        assert said.decode().splitlines() == ["tcp True", "tcp True", "udp True"]
        with socket.create_connection((far.ours, int(tcp)), timeout=20) as own:
            assert own.recv(100).decode() == f"{far.ours} {own.getsockname()[1]}"
        # What is nobody's but this machine's is the bridge's address to the container, as for root's engine.
        with socket.create_connection(("127.0.0.1", int(tcp)), timeout=20) as own:
            assert own.recv(100).decode().split()[0] == engine.ok("inspect", "-f", GATEWAY, "who")
        engine.ok("rm", "-f", "who")
        if os.path.exists("/proc/sys/net/ipv6"):
            engine.ok("network", "create", "--ipv6", "--subnet", "fd98:114::/64", "six")
            ports = ["--network", "six", "-p", "[::]::9000", "-p", "[::]::9000/udp"]
            engine.ok("run", "-d", "--name", "six", *ports, *mounts, "box", python, "-c", WHO)
            wait_for(lambda: engine.ok("logs", "six") == "bound", 30)
            tcp, udp = (engine.ok("port", "six", f"9000/{kind}").rpartition(":")[2] for kind in ("tcp", "udp"))
            said, _ = far.python(ASK, far.ours_ipv6, tcp, udp).communicate(timeout=90)
            assert said.decode().splitlines() == ["tcp True", "tcp True", "udp True"]
            with socket.create_connection(("::1", int(tcp)), timeout=20) as own:
                assert own.recv(100).decode().split()[0] == engine.ok("inspect", "-f", GATEWAY_IPV6, "six")
            engine.ok("rm", "-f", "six")
    finally:
        engine.stop()
