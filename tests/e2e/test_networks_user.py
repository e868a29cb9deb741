"""Networks of one's own: options, names, connect and disconnect, through every command line."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for

SERVER = ("busybox", "httpd", "-f", "-h", "/www", "-p", "80")
SLEEP = ("busybox", "sleep", "1000")


@pytest.fixture(autouse=True)
def _no_networks_stay(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()
    engine.ok("network", "prune", "-f")


def inspected(client: Client, *names: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.ok("inspect", *names))[0]
    return found


def addresses(client: Client, container: str, name: str) -> list[str]:
    """What ``name`` is inside ``container``, by its resolver."""
    done = client("exec", container, "nslookup", name)
    return re.findall(r"^Address(?: \d+)?: +([0-9.]+)$", done.stdout.partition("Name")[2], re.MULTILINE)


def on(client: Client, container: str, network: str) -> str:
    """A container's address on a network."""
    settings = inspected(client, container)["NetworkSettings"]["Networks"]
    address: str = settings[network]["IPAddress"]
    return address


def pings(client: Client, container: str, target: str) -> bool:
    return client("exec", container, "ping", "-c", "1", "-W", "1", target).returncode == 0


def test_a_network_of_ones_own_from_begin_to_end(client: Client) -> None:
    identifier = client.ok("network", "create", "--label", "a=b", "mine")
    assert re.fullmatch("[0-9a-f]{64}", identifier)
    assert client.ok("network", "ls", "-f", "label=a=b", "--format", "{{.Name}} {{.Driver}}") == "mine bridge"
    assert client.ok("network", "ls", "-q", "-f", "type=custom") == identifier[:12]
    client.ok("run", "-d", "--name", "web", "--network", "mine", *SLEEP)
    found = inspected(client, "--type", "network", "mine")
    (listed,) = found["Containers"].values()
    assert listed["Name"] == "web"
    assert listed["IPv4Address"] == f"{on(client, 'web', 'mine')}/16"
    refused = client("network", "rm", "mine")
    assert refused.returncode == 1
    assert "error while removing network: network mine has active endpoints (name:" in refused.stderr
    assert "network with name mine already exists" in client("network", "create", "mine").stderr
    client.ok("rm", "-f", "web")
    assert client.ok("network", "rm", "mine") == "mine"
    absent = "No such network: mine" if client.older else "network mine not found"
    assert absent in client("network", "rm", "mine").stderr
    assert "pre-defined network and cannot be removed" in client("network", "rm", "bridge").stderr


def test_options_are_kept_and_carried_out(client: Client) -> None:
    chosen = ("--subnet", "10.201.0.0/24", "--ip-range", "10.201.0.128/25", "--gateway", "10.201.0.254")
    client.ok("network", "create", *chosen, "--aux-address", "router=10.201.0.128", "-o",
              "com.docker.network.driver.mtu=1400", "--attachable", "plan")  # fmt: skip
    found = inspected(client, "--type", "network", "plan")
    assert found["IPAM"]["Config"] == [
        {
            "Subnet": "10.201.0.0/24",
            "IPRange": "10.201.0.128/25",
            "Gateway": "10.201.0.254",
            "AuxiliaryAddresses": {"router": "10.201.0.128"},
        }
    ]
    assert found["Attachable"] is True
    assert found["Options"] == {"com.docker.network.driver.mtu": "1400"}
    client.ok("run", "-d", "--name", "one", "--network", "plan", *SLEEP)
    assert on(client, "one", "plan") == "10.201.0.129"
    inside = client.ok("exec", "one", "sh", "-c", "ip addr show eth0; ip route")
    assert "mtu 1400" in inside
    assert "default via 10.201.0.254" in inside
    client.ok("run", "-d", "--name", "two", "--network", "plan", "--ip", "10.201.0.7", *SLEEP)
    assert on(client, "two", "plan") == "10.201.0.7"
    taken = client("run", "--rm", "--network", "plan", "--ip", "10.201.0.7", "busybox", "true")
    assert taken.returncode == 125
    assert "Address already in use" in taken.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subnet", "10.202.0.0/24", "again"], "Pool overlaps with other one on this address space"),
        (["--subnet", "10.203.0.5/24", "x"], "invalid subnet 10.203.0.5/24: it should be 10.203.0.0/24"),
        (["--subnet", "10.203.0.0/24", "--gateway", "10.204.0.1", "x"], None),
        (["bridge"], "operation is not permitted on predefined bridge network"),
        (["-d", "host", "x"], 'only one instance of "host" network is allowed'),
        (["-d", "nosuch", "x"], "nosuch"),
        (["-o", "com.docker.network.bridge.enable_icc=maybe", "x"], "failed to parse"),
        (["-o", "com.docker.network.advertise_addr_ms=9", "x"], "advertise_addr_ms must be in the range 100 to 2000"),
        (["-o", "com.docker.network.enable_ipv4=false", "x"], "IPv4 or IPv6 must be enabled"),
    ],
)
def test_what_is_refused(client: Client, arguments: Sequence[str], message: str | None) -> None:
    client.ok("network", "create", "--subnet", "10.202.0.0/16", "first")
    done = client("network", "create", *arguments)
    assert done.returncode == 1, done.stdout
    if message:
        assert message in done.stderr
    assert client.ok("network", "ls", "-q", "-f", "name=x") == ""


def test_names(client: Client) -> None:
    client.ok("network", "create", "names")
    common = ("-d", "--network", "names", "--network-alias", "pool")
    for name in ("web", "api"):
        client.ok("run", "--name", name, *common, *SLEEP)
    one, two = on(client, "web", "names"), on(client, "api", "names")
    identifier = inspected(client, "web")["Id"]
    for name in ("web", "WEB", identifier[:12], "web.names"):
        assert addresses(client, "api", name) == [one], name
    assert sorted(addresses(client, "web", "pool")) == sorted([one, two])
    assert {addresses(client, "web", "pool")[0] for _ in range(8)} == {one, two}, "round robin"
    assert "web.names" in client("exec", "api", "nslookup", one).stdout
    written = client.ok("exec", "web", "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.11" in written
    assert "ndots:0" in written
    assert inspected(client, "web")["NetworkSettings"]["Networks"]["names"]["Aliases"] is not None
    client.ok("rename", "web", "www")
    assert addresses(client, "api", "www") == [one]
    assert addresses(client, "api", "web") == []
    client.ok("rm", "-f", "www")
    assert addresses(client, "api", "pool") == [two]


def test_a_link_is_a_name_of_ones_own(client: Client) -> None:
    client.ok("network", "create", "links")
    client.ok("run", "-d", "--name", "database", "--network", "links", *SLEEP)
    client.ok("run", "-d", "--name", "app", "--network", "links", "--link", "database:db", *SLEEP)
    client.ok("run", "-d", "--name", "other", "--network", "links", *SLEEP)
    assert addresses(client, "app", "db") == [on(client, "database", "links")]
    assert addresses(client, "other", "db") == []


def test_a_program_of_the_container_may_bind_port_53(client: Client) -> None:
    client.ok("network", "create", "dns")
    client.ok("run", "-d", "--name", "peer", "--network", "dns", *SLEEP)
    client.ok("run", "-d", "--name", "server", "--network", "dns", "busybox", "sh", "-c", "echo mine | nc -l -p 53")
    assert addresses(client, "server", "peer") == [on(client, "peer", "dns")]
    assert client("exec", "peer", "sh", "-c", "nc -w 2 server 53 </dev/null").stdout == "mine\n"


def test_networks_are_kept_apart(client: Client, port: int) -> None:
    for name in ("red", "blue"):
        client.ok("network", "create", name)
    client.ok("run", "-d", "--name", "red1", "--network", "red", "-p", f"{port}:80", *SERVER)
    client.ok("run", "-d", "--name", "blue1", "--network", "blue", *SLEEP)
    assert not pings(client, "blue1", on(client, "red1", "red"))
    assert addresses(client, "blue1", "red1") == []
    gateway = inspected(client, "--type", "network", "blue")["IPAM"]["Config"][0]["Gateway"]
    fetched = client("exec", "blue1", "wget", "-q", "-O-", f"http://{gateway}:{port}/")
    assert "served" in fetched.stdout, "a published port is open to all"


def test_an_internal_network(client: Client) -> None:
    client.ok("network", "create", "--internal", "inside")
    client.ok("run", "-d", "--name", "one", "--network", "inside", *SLEEP)
    client.ok("run", "-d", "--name", "two", "--network", "inside", *SLEEP)
    assert pings(client, "one", "two")
    assert "default" not in client.ok("exec", "one", "ip", "route")
    assert "SERVFAIL" in client("exec", "one", "nslookup", "example.org").stdout


def test_containers_that_must_not_talk(client: Client) -> None:
    client.ok("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "quiet")
    for name in ("one", "two"):
        client.ok("run", "-d", "--name", name, "--network", "quiet", *SLEEP)
    assert not pings(client, "one", on(client, "two", "quiet"))
    gateway = inspected(client, "--type", "network", "quiet")["IPAM"]["Config"][0]["Gateway"]
    assert pings(client, "one", gateway)
    # Nor by way of the gateway.
    assert client("exec", "one", "ip", "route").returncode == 0


def test_connect_and_disconnect(client: Client) -> None:
    client.ok("network", "create", "first")
    client.ok("network", "create", "--subnet", "10.205.0.0/24", "second")
    client.ok("run", "-d", "--name", "app", *SLEEP)
    client.ok("run", "-d", "--name", "far", "--network", "second", *SLEEP)
    client.ok("network", "connect", "--ip", "10.205.0.9", "--alias", "also", "second", "app")
    assert on(client, "app", "second") == "10.205.0.9"
    assert pings(client, "app", "far")
    assert addresses(client, "far", "also") == ["10.205.0.9"]
    assert "10.205.0.9" in client.ok("exec", "app", "cat", "/etc/hosts")
    assert "eth1" in client.ok("exec", "app", "ip", "addr")
    again = client("network", "connect", "second", "app")
    assert "endpoint with name app already exists in network second" in again.stderr
    client.ok("network", "disconnect", "bridge", "app")
    assert "default via 10.205.0.1" in client.ok("exec", "app", "ip", "route")
    client.ok("network", "disconnect", "second", "app")
    assert "10.205.0.9" not in client.ok("exec", "app", "cat", "/etc/hosts")
    assert "eth" not in client.ok("exec", "app", "ip", "addr")
    gone = client("network", "disconnect", "second", "app")
    assert "is not connected to network second" in gone.stderr
    client.ok("network", "connect", "first", "app")
    assert "default via" in client.ok("exec", "app", "ip", "route")
    client.ok("restart", "-t", "0", "app")
    assert set(inspected(client, "app")["NetworkSettings"]["Networks"]) == {"first"}


def test_a_stopped_container_joins_at_its_next_start(client: Client) -> None:
    client.ok("network", "create", "later")
    client.ok("create", "--name", "app", *SLEEP)
    client.ok("network", "connect", "later", "app")
    client.ok("start", "app")
    assert on(client, "app", "later")
    assert on(client, "app", "bridge")
    client.ok("stop", "-t", "0", "app")
    client.ok("network", "disconnect", "later", "app")
    client.ok("start", "app")
    assert set(inspected(client, "app")["NetworkSettings"]["Networks"]) == {"bridge"}


def test_a_stopped_container_is_put_on_networks_that_there_are_not(client: Client) -> None:
    """As by Docker: its start tells."""
    identifier = client.ok("create", "--name", "app", *SLEEP)
    client.ok("network", "connect", "--alias", "me", "planned", "app")
    missing = client("start", "app")
    assert missing.returncode == 1 and "network planned not found" in missing.stderr
    client.ok("network", "create", "planned")
    client.ok("start", "app")
    assert set(inspected(client, "app")["NetworkSettings"]["Networks"]) == {"bridge", "planned"}
    unknown = client("network", "connect", "nowhere", "app")
    assert unknown.returncode == 1 and "network nowhere not found" in unknown.stderr
    client.ok("stop", "-t", "0", "app")
    never = client("network", "disconnect", "nowhere", "app")
    assert f"container {identifier} is not connected to the network nowhere" in never.stderr
    client.ok("network", "connect", "--alias", "other", "planned", "app")
    assert "me" in inspected(client, "app")["NetworkSettings"]["Networks"]["planned"]["Aliases"], (
        "as it was asked first"
    )
    client.ok("network", "rm", "planned")
    client.ok("network", "disconnect", "planned", "app")
    client.ok("start", "app")


def test_who_is_on_host_and_none_has_an_endpoint_there(client: Client) -> None:
    for name in ("host", "none"):
        identifier = client.ok("run", "-d", "--name", f"on-{name}", "--network", name, *SLEEP)
        shown = inspected(client, f"on-{name}")["NetworkSettings"]["Networks"][name]
        assert len(shown["EndpointID"]) == 64 and not shown["IPAddress"]
        there = json.loads(client.ok("network", "inspect", name))[0]["Containers"][identifier]
        assert (there["Name"], there["EndpointID"], there["IPv4Address"]) == (f"on-{name}", shown["EndpointID"], "")
        client.ok("stop", "-t", "0", f"on-{name}")
        assert inspected(client, f"on-{name}")["NetworkSettings"]["Networks"][name]["EndpointID"] == ""
        assert identifier not in client.ok("network", "inspect", name)


def test_what_has_another_ones_network_joins_no_other(client: Client) -> None:
    client.ok("network", "create", "mine")
    client.ok("run", "-d", "--name", "on-host", "--network", "host", *SLEEP)
    client.ok("run", "-d", "--name", "alone", "--network", "none", *SLEEP)
    shared = client("network", "connect", "mine", "on-host")
    assert "cannot be connected to any other network" in shared.stderr
    private = client("network", "connect", "mine", "alone")
    assert "cannot be connected to multiple networks with one of the networks in private (none) mode" in private.stderr
    warned = client("run", "--rm", "--network", "host", "-p", "80", "busybox", "true")
    assert warned.returncode == 0
    assert "Published ports are discarded when using host network mode" in warned.stderr
    refused = client("run", "--rm", "--network", "container:alone", "-p", "80", "busybox", "true")
    assert "conflicting options: port publishing and the container type network mode" in refused.stderr


def test_published_ports_move_with_the_way_out(client: Client, port: int) -> None:
    for name in ("a-net", "b-net"):
        client.ok("network", "create", name)
    client.ok("run", "-d", "--name", "web", "--network", "b-net", "-p", f"{port}:80", *SERVER)
    client.ok("network", "connect", "a-net", "web")
    for gone in ("a-net", "b-net"):
        wait_for(lambda: reached(port), hint=f"before {gone} is left")
        client.ok("network", "disconnect", gone, "web")
        if gone == "a-net":
            assert reached(port)
    assert not reached(port)


def reached(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=15) as answer:
            return b"served" in answer.read()
    except OSError:
        return False


def test_prune_takes_what_nobody_is_on(client: Client) -> None:
    for name in ("used", "unused"):
        client.ok("network", "create", name)
    client.ok("run", "-d", "--network", "used", *SLEEP)
    assert client.ok("network", "prune", "-f").split() == ["Deleted", "Networks:", "unused"]
    assert client.ok("network", "ls", "-f", "type=custom", "--format", "{{.Name}}") == "used"


def test_events(client: Client) -> None:
    since = f"{time.time():.6f}"
    client.ok("network", "create", "seen")
    client.ok("run", "-d", "--name", "app", "--network", "seen", *SLEEP)
    client.ok("rm", "-f", "app")
    wait_for(lambda: client("network", "rm", "seen").returncode == 0)
    told = client.ok(
        "events", "--since", since, "--until", f"{time.time():.6f}", "-f", "type=network", "--format", "{{.Action}}"
    )
    assert told.split() == ["create", "connect", "disconnect", "destroy"]


def test_names_outlive_the_engine(engine: Engine, tmp_path: Path) -> None:
    """The resolver answers while no engine is up, knows newcomers afterwards, and is replaced when it is killed."""
    engine.ok("network", "create", "live")
    for name in ("one", "two"):
        engine.ok("run", "-d", "--name", name, "--network", "live", *SLEEP)
    pid = int(engine.ok("inspect", "-f", "{{.State.Pid}}", "one"))

    def looked_up(name: str) -> bool:
        command = ["nsenter", "-t", str(pid), "-n", "busybox", "nslookup", name, "127.0.0.11"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        return "can't" not in done.stdout and done.returncode == 0

    assert looked_up("two")
    killed = engine.kill()
    assert looked_up("two"), "without an engine"
    engine.wait_for_successor(killed)
    engine.ok("run", "-d", "--name", "three", "--network", "live", *SLEEP)
    assert looked_up("three"), "by the next engine"
    os.kill(_resolver(engine), signal.SIGKILL)
    wait_for(lambda: looked_up("two"), hint="another resolver")
    engine.ok("rm", "-f", "one", "two", "three")
    engine.ok("network", "rm", "live")


def _resolver(engine: Engine) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_resolver = (entry / "comm").read_text() == "rundlet-dns\n"
                if is_resolver and str(engine.directory) in (entry / "cmdline").read_text():
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError("no resolver runs")


def test_a_network_that_is_gone_is_disconnected_by_force(client: Client) -> None:
    client.ok("network", "create", "lost")
    client.ok("create", "--name", "box", "--network", "lost", *SLEEP)
    client.ok("network", "connect", "bridge", "box")
    client.ok("network", "rm", "lost")
    client.ok("network", "disconnect", "lost", "box")
    assert "lost" not in inspected(client, "box")["NetworkSettings"]["Networks"]
    client.ok("start", "box")
    refused = client("network", "disconnect", "lost", "box")
    assert refused.returncode == 1 and "network lost not found" in refused.stderr
    forced = client("network", "disconnect", "-f", "lost", "box")
    assert forced.returncode == 1 and "is not connected to the network lost" in forced.stderr


def test_a_container_that_is_gone_is_disconnected_by_force(client: Client) -> None:
    client.ok("network", "create", "left")
    for arguments, message in (
        (("left", "nobody"), "No such container: nobody"),
        (("-f", "left", "nobody"), "endpoint nobody not found"),
        (("-f", "nowhere", "nobody"), "network nowhere not found"),
    ):
        refused = client("network", "disconnect", *arguments)
        assert refused.returncode == 1 and message in refused.stderr


def test_links_and_aliases_of_the_wrong_network(client: Client) -> None:
    client.ok("network", "create", "own")
    client.ok("run", "-d", "--name", "there", "--network", "own", "busybox", "sleep", "1000")
    refused = client("run", "--link", "there", "busybox", "true")
    assert refused.returncode == 125
    assert "Cannot link to /there, as it does not belong to the default network" in refused.stderr
    client.ok("network", "connect", "bridge", "there")
    client.ok("run", "--rm", "--link", "there", "busybox", "ping", "-c", "1", "there")
    client.ok("run", "-d", "--name", "alone", "--network", "none", "busybox", "sleep", "1000")
    for network in ("bridge", "host", "none"):
        refused = client("network", "connect", "--alias", "a", network, "alone")
        assert "network-scoped alias is supported only for containers in user defined networks" in refused.stderr
    odd = client("network", "connect", "--driver-opt", "odd", "own", "alone")
    assert odd.returncode == 1
    if not client.older:
        assert "invalid key/value pair format in driver options" in odd.stderr
    mapped = client("run", "--network", "own", "--ip6", "::ffff:10.1.2.3", "busybox", "true")
    assert mapped.returncode == 125 and "invalid IPv6 address" in mapped.stderr
