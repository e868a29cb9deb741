"""bridge, none, host, container: and published ports, through every command line."""

import http.client
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import lacking, need
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for

SERVER = ("busybox", "httpd", "-f", "-h", "/www", "-p", "80")


def fetch(host: str, port: int) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def served(host: str, port: int) -> bool:
    try:
        return fetch(host, port) == b"<h1>served from a container</h1>\n"
    except OSError:
        return False


def host_address() -> str:
    """An address of this host that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            lacking("this host has no address but loopback")
        address: str = probe.getsockname()[0]
        return address


def test_the_default_bridge_gives_an_address_and_a_way_out(client: Client) -> None:
    client.ok("run", "-d", "--name", "on-bridge", "busybox", "sleep", "1000")
    address = client.ok("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "on-bridge")
    gateway = client.ok("inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "on-bridge")
    assert address in client.ok("exec", "on-bridge", "ip", "-4", "addr", "show", "eth0")
    assert f"default via {gateway}" in client.ok("exec", "on-bridge", "ip", "route")
    assert client("exec", "on-bridge", "ping", "-c", "1", "-W", "2", gateway).returncode == 0


def test_containers_reach_each_other(client: Client) -> None:
    client.ok("run", "-d", "--name", "server", *SERVER)
    address = client.ok("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "server")
    wait_for(lambda: served(address, 80))
    assert "served from a container" in client.ok("run", "--rm", "busybox", "wget", "-q", "-O-", f"http://{address}/")


def test_a_published_port_answers_everywhere(client: Client, port: int) -> None:
    client.ok("run", "-d", "--name", "web", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: served("127.0.0.1", port), hint="on 127.0.0.1")
    assert served(host_address(), port)
    assert served("localhost", port)
    gateway = client.ok("inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "web")
    assert "served" in client.ok("run", "--rm", "busybox", "wget", "-q", "-O-", f"http://{gateway}:{port}/")
    assert f"0.0.0.0:{port}->80/tcp" in client.ok("ps", "--format", "{{.Ports}}")
    client.ok("rm", "-f", "web")
    assert not served("127.0.0.1", port)


def test_a_port_on_loopback_only(client: Client, port: int) -> None:
    client.ok("run", "-d", "-p", f"127.0.0.1:{port}:80", *SERVER)
    wait_for(lambda: served("127.0.0.1", port))
    assert not served(host_address(), port)


def test_a_random_port_and_publish_all(client: Client) -> None:
    client.ok("run", "-d", "--name", "random", "-p", "80", *SERVER)
    number = int(client.ok("inspect", "-f", '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "random"))
    wait_for(lambda: served("127.0.0.1", number))
    assert number >= 1024


UDP_ECHO = """
$socket = IO::Socket::INET->new(LocalPort => 9, Proto => "udp") or die $!;
$socket->send($bytes) while $socket->recv($bytes, 100);
"""


def test_udp(client: Client, port: int, debian_tar: Path) -> None:
    client.ok("import", str(debian_tar), "debian")
    client.ok("run", "-d", "-p", f"{port}:9/udp", "debian", "perl", "-MIO::Socket::INET", "-e", UDP_ECHO)

    def answers() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            try:
                probe.sendto(b"hello", ("127.0.0.1", port))
                return probe.recv(100) == b"hello"
            except OSError:
                return False

    wait_for(answers)


def test_a_taken_port_is_refused_and_nothing_stays(client: Client) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        number = taken.getsockname()[1]
        done = client("run", "-d", "--name", "late", "-p", f"{number}:80", *SERVER)
        assert done.returncode == 125
        assert "address already in use" in done.stderr or "port is already allocated" in done.stderr
    client.ok("rm", "-f", "late")


def test_two_containers_cannot_publish_one_port(client: Client, port: int) -> None:
    client.ok("run", "-d", "--name", "first", "-p", f"{port}:80", *SERVER)
    done = client("run", "-d", "--name", "second", "-p", f"{port}:80", *SERVER)
    assert done.returncode == 125
    assert "port is already allocated" in done.stderr or "address already in use" in done.stderr
    wait_for(lambda: served("127.0.0.1", port))
    client.ok("rm", "-f", "first")
    client.ok("start", "second")
    wait_for(lambda: served("127.0.0.1", port), hint="the port is free again")


def test_no_network(client: Client) -> None:
    assert client.ok("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo"


def test_the_host_network(client: Client, engine: Engine) -> None:
    seen = client.ok("run", "--rm", "--network", "host", "busybox", "ip", "-o", "link").splitlines()
    names = {line.split(":")[1].strip().partition("@")[0] for line in seen}
    assert {"lo"} <= names
    assert client.ok("run", "--rm", "--network", "host", "busybox", "hostname") == socket.gethostname()


def test_the_network_of_another_container(client: Client) -> None:
    client.ok("run", "-d", "--name", "owner", *SERVER)
    assert "served" in client.ok(
        "run", "--rm", "--network", "container:owner", "busybox", "sh", "-c",
        "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O- http://127.0.0.1/ && exit; sleep 0.2; done",
    )  # fmt: skip


def test_another_containers_namespaces_stay_the_same_when_it_is_renamed(client: Client, engine: Engine) -> None:
    owner = client.ok("run", "-d", "--name", "owner", "--ipc", "shareable", *SERVER)
    shared = [word for kind in ("network", "ipc", "pid") for word in (f"--{kind}", "container:owner")]
    client.ok("create", "--name", "joined", *shared, "busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/")
    modes = engine.field("joined", "{{.HostConfig.NetworkMode}} {{.HostConfig.IpcMode}} {{.HostConfig.PidMode}}")
    assert modes.split() == [f"container:{owner}"] * 3
    client.ok("rename", "owner", "other")
    wait_for(lambda: client("start", "-a", "joined").returncode == 0, 20, hint="the server is reached")


def test_names_in_etc_hosts_and_resolv_conf(client: Client) -> None:
    text = client.ok("run", "--rm", "-h", "box", "busybox", "cat", "/etc/hosts")
    assert "127.0.0.1\tlocalhost" in text
    assert any(line.split()[1:2] == ["box"] for line in text.splitlines())
    assert "nameserver" in client.ok("run", "--rm", "busybox", "cat", "/etc/resolv.conf")


def test_an_unknown_network(client: Client) -> None:
    done = client("run", "--rm", "--network", "nowhere", "busybox", "true")
    assert done.returncode == 125
    assert "network nowhere not found" in done.stderr


def test_a_flushed_table_comes_back(new_engine: Callable[..., Engine], port: int) -> None:
    engine = new_engine()
    engine.ok("run", "-d", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: served("127.0.0.1", port))
    subprocess.run([need("nft"), "delete", "table", "inet", f"rundlet_{engine.layout.instance}"], check=True)
    wait_for(lambda: served("127.0.0.1", port), 10, hint="the engine makes its table again")


def test_two_hundred_kilobytes_through_a_port(client: Client, port: int) -> None:
    client.ok("run", "-d", "-p", f"127.0.0.1:{port}:80", "busybox", "sh", "-c",
              "head -c 200000 /dev/zero > /www/index.html; exec httpd -f -h /www -p 80")  # fmt: skip
    wait_for(lambda: fetched_length(port) == 200000)


def fetched_length(port: int) -> int:
    try:
        return len(fetch("127.0.0.1", port))
    except OSError:
        return 0
