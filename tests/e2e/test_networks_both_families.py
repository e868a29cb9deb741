"""Ports of both families, IPv6 networks, links, volumes that are mounted: through the command lines."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import lacking
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for

SERVER = ("busybox", "sh", "-c", "mkdir -p /www; echo served > /www/index.html; exec httpd -f -h /www -p 80")
SLEEP = ("busybox", "sleep", "1000")


@pytest.fixture(autouse=True)
def _no_networks_stay(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()
    engine.ok("network", "prune", "-f")


@pytest.fixture
def port() -> int:
    """A free one that the kernel gives nobody as an ephemeral one while a container is started again."""
    while True:
        number = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", number))
            return number


def fetch(host: str, port: int) -> str:
    """Empty when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except OSError:
        return ""
    finally:
        connection.close()


def served(host: str, port: int) -> bool:
    return fetch(host, port) == "served"


def need_ipv6() -> None:
    if (
        not Path("/proc/net/if_inet6").exists()
        or "00000000000000000000000000000001" not in Path("/proc/net/if_inet6").read_text()
    ):
        lacking("IPv6 on this host")


def proxies(engine: Engine) -> list[int]:
    """The proxy's process, found by its connection to the engine's directory of names."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and Path(f"/proc/{name}/comm").read_text().strip() == "rundlet-proxy":
                found.append(int(name))
        except OSError:
            continue
    return [pid for pid in found if _listens_below(pid, engine.layout.names)]


def _listens_below(pid: int, directory: str) -> bool:
    inodes = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if directory in line}
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(link.removeprefix("socket:[").rstrip("]") in inodes for link in links)


def test_a_port_is_published_for_both_families(client: Client, port: int) -> None:
    need_ipv6()
    client.ok("run", "-d", "--name", "web", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: fetch("127.0.0.1", port) == "served")
    assert fetch("::1", port) == "served"
    shown = client.ok("ps", "--format", "{{.Ports}}")
    assert shown.startswith(f"0.0.0.0:{port}->80/tcp, ")
    assert shown.endswith(f":::{port}->80/tcp" if client.older else f"[::]:{port}->80/tcp")
    assert client.ok("port", "web").splitlines()[0] == f"80/tcp -> 0.0.0.0:{port}"
    with pytest.raises(OSError, match="in use"), socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", port))
    client.ok("restart", "-t", "0", "web")
    wait_for(lambda: fetch("::1", port) == "served", hint="connections that have ended don't keep the port")
    client.ok("rm", "-f", "web")
    wait_for(lambda: fetch("::1", port) == "")


def test_a_port_is_published_by_another_family_as_soon_as_there_is_a_network_of_it(engine: Engine, port: int) -> None:
    need_ipv6()
    engine.ok("network", "create", "--ipv4=false", "--ipv6", "six")
    engine.ok("network", "create", "four")
    engine.ok("run", "-d", "--name", "web", "--network", "six", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: served("::1", port))
    assert fetch("127.0.0.1", port) == ""
    engine.ok("network", "connect", "four", "web")
    assert served("127.0.0.1", port) and served("::1", port)
    assert engine.ok("port", "web").splitlines() == [f"80/tcp -> 0.0.0.0:{port}", f"80/tcp -> [::]:{port}"]
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("0.0.0.0", port)).close()


def test_a_port_of_ipv6_alone(engine: Engine, port: int) -> None:
    need_ipv6()
    engine.ok("run", "-d", "--name", "web", "-p", f"[::1]:{port}:80", *SERVER)
    wait_for(lambda: fetch("::1", port) == "served")
    assert fetch("127.0.0.1", port) == ""
    assert engine.ok("port", "web") == f"80/tcp -> [::1]:{port}"


def test_the_proxy_is_replaced_and_outlives_the_engine(engine: Engine, port: int) -> None:
    need_ipv6()
    engine.ok("run", "-d", "--name", "web", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: fetch("::1", port) == "served")
    (first,) = proxies(engine)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: proxies(engine) not in ([], [first]))
    wait_for(lambda: fetch("::1", port) == "served", hint="the new proxy has the shim's sockets")
    engine.wait_for_successor(engine.kill())
    assert fetch("::1", port) == "served"
    engine.ok("rm", "-f", "web")
    wait_for(lambda: fetch("::1", port) == "")


def test_ports_follow_the_way_out_by_ipv6_too(engine: Engine, port: int) -> None:
    need_ipv6()
    engine.ok("network", "create", "aa")
    engine.ok("run", "-d", "--name", "web", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: fetch("::1", port) == "served")
    engine.ok("network", "connect", "--gw-priority", "5", "aa", "web")
    engine.ok("network", "disconnect", "bridge", "web")
    wait_for(lambda: fetch("::1", port) == "served")
    assert fetch("127.0.0.1", port) == "served"


def test_an_ipv6_network(client: Client, port: int) -> None:
    need_ipv6()
    pools = ("--subnet", "fd77:5::/64", "--subnet", "10.205.0.0/24")
    client.ok("network", "create", "--ipv6", *pools, "six")
    client.ok("run", "-d", "--name", "web", "--network", "six", "--ip6", "fd77:5::80", "-p", f"{port}:80", *SERVER)
    wait_for(lambda: fetch("::1", port) == "served")
    assert fetch("fd77:5::80", 80) == "served"
    settings = json.loads(client.ok("inspect", "web"))[0]["NetworkSettings"]["Networks"]["six"]
    assert (settings["GlobalIPv6Address"], settings["GlobalIPv6PrefixLen"], settings["IPv6Gateway"]) == (
        "fd77:5::80",
        64,
        "fd77:5::1",
    )
    found = client.ok("run", "--rm", "--network", "six", "busybox", "nslookup", "web")
    assert "fd77:5::80" in found and "10.205.0." in found
    assert "web.six" in client.ok("run", "--rm", "--network", "six", "busybox", "nslookup", "fd77:5::80")
    hosts = client.ok("exec", "web", "cat", "/etc/hosts")
    assert "fd77:5::80\t" in hosts
    taken = client("run", "--rm", "--network", "six", "--ip6", "fd77:5::80", "busybox", "true")
    assert "Address already in use" in taken.stderr
    listed = json.loads(client.ok("network", "inspect", "six"))[0]
    (member,) = listed["Containers"].values()
    assert member["IPv6Address"] == "fd77:5::80/64"
    assert listed["EnableIPv6"] is True


def test_options_of_one_endpoint(engine: Engine) -> None:
    engine.ok("network", "create", "--subnet", "10.206.0.0/24", "opts")
    engine.ok("run", "-d", "--name", "box", *SLEEP)
    switch = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    options = ("--driver-opt", switch, "--link-local-ip", "169.254.7.7", "--gw-priority", "3")
    engine.ok("network", "connect", *options, "opts", "box")
    assert engine.ok("exec", "box", "cat", "/proc/sys/net/ipv4/conf/eth1/log_martians") == "1"
    assert "169.254.7.7" in engine.ok("exec", "box", "ip", "addr", "show", "eth1")
    assert "via 10.206.0.1 dev eth1" in engine.ok("exec", "box", "ip", "route")
    engine.ok("network", "create", "more")
    odd = ("--driver-opt", "com.docker.network.endpoint.ifname=a/b")
    refused = engine.cli("network", "connect", *odd, "more", "box")
    assert refused.returncode == 1 and "invalid interface name: a/b" in refused.stderr
    named = "name=opts,driver-opt=com.docker.network.endpoint.ifname=lan0"
    assert "lan0" in engine.ok("run", "--rm", "--network", named, "busybox", "ip", "addr")


def test_links_on_the_default_bridge(client: Client) -> None:
    client.ok("run", "-d", "--name", "db", "--expose", "5432", "-e", "SECRET=s", *SLEEP)
    address = client.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db")
    client.ok("run", "-d", "--name", "app", "--link", "db:my-db", *SLEEP)
    variables = client.ok("exec", "app", "env").splitlines()
    assert {
        "MY_DB_NAME=/app/my-db",
        f"MY_DB_PORT=tcp://{address}:5432",
        f"MY_DB_PORT_5432_TCP_ADDR={address}",
        "MY_DB_ENV_SECRET=s",
    } <= set(variables)
    assert client.ok("inspect", "-f", "{{json .HostConfig.Links}}", "app") == '["/db:/app/my-db"]'
    assert "app/my-db" in client.ok("ps", "--no-trunc", "--filter", "name=db", "--format", "{{.Names}}")
    # The name follows it to another address.
    client.ok("stop", "-t", "0", "db")
    client.ok("run", "-d", "--name", "between", *SLEEP)
    client.ok("start", "db")
    moved = client.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db")
    assert f"{moved}\tmy-db" in client.ok("exec", "app", "cat", "/etc/hosts")
    client.ok("exec", "app", "ping", "-c", "1", "-W", "2", "my-db")
    client.ok("stop", "-t", "0", "db")
    failed = client("run", "--rm", "--link", "db", *SLEEP)
    assert failed.returncode == 125 and "Cannot link to a non running container: /db AS /" in failed.stderr
    absent = client("run", "--rm", "--link", "nosuch:x", *SLEEP)
    assert "could not get container for nosuch" in absent.stderr
    client.ok("rm", "--link", "app/my-db")
    assert client.ok("inspect", "-f", "{{json .HostConfig.Links}}", "app") == "null"


def test_links_in_a_ring(engine: Engine) -> None:
    """A link needs the other to exist, so that a ring takes a network of one's own, where links are names."""
    engine.ok("network", "create", "ring")
    engine.ok("run", "-d", "--name", "one", "--network", "ring", "--link", "two:other", *SLEEP)
    engine.ok("run", "-d", "--name", "two", "--network", "ring", "--link", "one:other", *SLEEP)
    for name in ("one", "two"):
        engine.ok("exec", name, "ping", "-c", "1", "-W", "2", "other")
    engine.ok("run", "-d", "--name", "self", "--network", "ring", "--link", "self:self", *SLEEP)
    engine.ok("exec", "self", "ping", "-c", "1", "-W", "2", "self")


def test_a_volume_that_is_mounted(engine: Engine) -> None:
    engine.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=1777", "ram")
    where = engine.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "ram")

    def mounted() -> bool:
        return f" {where} " in Path("/proc/self/mountinfo").read_text()

    assert not mounted()
    engine.ok("run", "-d", "--name", "one", "-v", "ram:/ram", *SLEEP)
    engine.ok("exec", "one", "sh", "-c", "echo shared > /ram/file")
    engine.wait_for_successor(engine.kill())
    assert engine.ok("run", "--rm", "-v", "ram:/ram", "busybox", "cat", "/ram/file") == "shared"
    assert mounted()
    assert engine.cli("exec", "one", "dd", "if=/dev/zero", "of=/ram/big", "bs=1M", "count=2").returncode == 1
    engine.ok("rm", "-f", "one")
    wait_for(lambda: not mounted())
    failed = engine.cli("run", "--rm", "--mount", "type=volume,src=bad,dst=/x,volume-opt=type=nosuchfs,"
                        "volume-opt=device=none", "busybox", "true")  # fmt: skip
    assert "failed to mount local volume: mount none:" in failed.stderr
    engine.ok("volume", "rm", "ram", "bad")


def test_a_volume_without_a_quota_and_one_without_a_device(engine: Engine) -> None:
    engine.ok("volume", "create", "-o", "size=0", "plain")
    assert engine.ok("volume", "inspect", "-f", "{{.Options.size}}", "plain") == "0"
    engine.ok("run", "--rm", "-v", "plain:/x", "busybox", "sh", "-c", "echo kept > /x/file")
    assert engine.ok("run", "--rm", "-v", "plain:/x", "busybox", "cat", "/x/file") == "kept"
    engine.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=", "hollow")
    refused = engine.cli("run", "--rm", "-v", "hollow:/x", "busybox", "true")
    assert refused.returncode == 125 and "missing device in volume options" in refused.stderr
    engine.ok("volume", "rm", "plain", "hollow")


def test_a_bound_volume_keeps_what_it_is_bound_to(engine: Engine, scratch: Path) -> None:
    (scratch / "kept").write_text("yes")
    engine.ok("volume", "create", "-o", "type=none", "-o", f"device={scratch}", "-o", "o=bind,ro", "bound")
    assert engine.ok("run", "--rm", "-v", "bound:/b", "busybox", "cat", "/b/kept") == "yes"
    assert engine.cli("run", "--rm", "-v", "bound:/b", "busybox", "touch", "/b/new").returncode == 1
    engine.ok("volume", "rm", "bound")
    assert (scratch / "kept").read_text() == "yes"


def test_addresses_are_never_given_twice_by_engines_that_are_killed(engine: Engine) -> None:
    engine.ok("network", "create", "--subnet", "10.207.0.0/26", "--ipv6", "--subnet", "fd77:7::/64", "few")
    failures: list[str] = []

    def start(number: int) -> None:
        done = engine.cli("run", "-d", "--name", f"n{number}", "--network", "few", *SLEEP, timeout=120)
        if done.returncode and "Cannot connect" not in done.stderr and "EOF" not in done.stderr:
            failures.append(done.stderr)

    for wave in range(2):
        threads = [threading.Thread(target=start, args=(8 * wave + number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        engine.wait_for_successor(engine.kill())
        for thread in threads:
            thread.join()
    wait_for(lambda: engine.cli("ps", "-q").returncode == 0)
    listed = json.loads(engine.ok("network", "inspect", "few"))[0]["Containers"].values()
    for key in ("IPv4Address", "IPv6Address"):
        addresses = [one[key] for one in listed]
        assert len(addresses) == len(set(addresses)), addresses


def test_two_networks_of_one_family_each(engine: Engine, port: int) -> None:
    """Each family goes its own way: routes, ports, and the port that is shown for both."""
    need_ipv6()
    engine.ok("network", "create", "four")
    engine.ok("network", "create", "--ipv4=false", "--ipv6", "six")
    engine.ok("create", "--name", "web", "--network", "four", "-p", f"{port}:80", *SERVER)
    engine.ok("network", "connect", "six", "web")
    engine.ok("start", "web")
    shown = json.loads(engine.field("web", "{{json .NetworkSettings.Ports}}"))
    both = [{"HostIp": "0.0.0.0", "HostPort": str(port)}, {"HostIp": "::", "HostPort": str(port)}]
    assert shown == {"80/tcp": both}
    own = engine.field("web", "{{.NetworkSettings.Networks.six.IPv6Gateway}}")
    for host in ("127.0.0.1", "::1", own):
        wait_for(partial(served, host, port))
    routes = engine.ok("exec", "web", "sh", "-c", "ip route; ip -6 route")
    assert f"default via {own} " in routes
    assert f"default via {engine.field('web', '{{.NetworkSettings.Networks.four.Gateway}}')} " in routes
    engine.ok("network", "disconnect", "six", "web")
    assert "default via" not in engine.ok("exec", "web", "ip", "-6", "route")
    assert fetch("127.0.0.1", port) == "served"


def test_ports_of_a_routed_network_are_shown_without_one_of_the_host(engine: Engine) -> None:
    mode = "com.docker.network.bridge.gateway_mode_ipv4=routed"
    engine.ok("network", "create", "-o", mode, "routed")
    engine.ok("run", "-d", "--name", "web", "--network", "routed", "-p", "8080:80", "--expose", "81", *SERVER)
    shown = json.loads(engine.field("web", "{{json .NetworkSettings.Ports}}"))
    assert shown == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}], "81/tcp": None}
    assert engine.ok("ps", "--format", "{{.Ports}}") == "80-81/tcp"
    address = engine.field("web", "{{.NetworkSettings.Networks.routed.IPAddress}}")
    wait_for(lambda: fetch(address, 80) == "served")
