"""What Compose files and scripts ask of networks besides the usual, and what they find then."""

import json
from collections.abc import Callable
from typing import Any

from tests.engines import Engine

NewEngine = Callable[..., Engine]


def inspected(engine: Engine, network: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.ok("network", "inspect", network))[0]
    return found


def posted(engine: Engine, path: str, body: dict[str, Any]) -> dict[str, Any]:
    options = ("--unix-socket", engine.socket, "-H", "Content-Type: application/json", "-d", json.dumps(body))
    answer: dict[str, Any] = json.loads(engine.run_command(["curl", "-sS", *options, f"http://d{path}"]).stdout)
    return answer


def test_an_ipv6_subnet_without_ipv6(engine: Engine) -> None:
    """Docker goes on without it; here somebody says so."""
    made = engine.cli("network", "create", "--subnet", "10.213.8.0/24", "--subnet", "fd21:3::/64", "plain")
    assert made.returncode == 0 and "IPv6 is not enabled: fd21:3::/64 is not used" in made.stderr
    try:
        shown = inspected(engine, "plain")
        assert [pool["Subnet"] for pool in shown["IPAM"]["Config"]] == ["10.213.8.0/24", "fd21:3::/64"]
        assert shown["EnableIPv6"] is False
        assert "fd21" not in engine.ok("run", "--rm", "--network", "plain", "busybox", "ip", "addr")
    finally:
        engine.ok("network", "rm", "plain")


def test_options_of_somebody_elses_are_kept(engine: Engine) -> None:
    """Those of another driver too, as its users may change drivers only."""
    options = {"org.example.owner": "me", "parent": "eth0", "com.docker.network.driver.overlay.vxlanid": "7"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    engine.ok("network", "create", *words, "kept")
    try:
        assert inspected(engine, "kept")["Options"] == options
        done = engine.cli(
            "run", "--rm", "--network", "name=kept,driver-opt=com.docker.network.other=1", "busybox", "true"
        )
        assert done.returncode == 0, done.stderr
    finally:
        engine.ok("network", "rm", "kept")


def test_who_names_other_networks_alone_is_not_on_the_default_one(engine: Engine) -> None:
    """docker-py's ``networking_config`` without ``network``."""
    engine.ok("network", "create", "--subnet", "10.213.9.0/24", "own")
    mac = "02:42:0a:d5:09:42"
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"],
            "NetworkingConfig": {"EndpointsConfig": {"own": {"MacAddress": mac}}}}  # fmt: skip
    try:
        assert posted(engine, "/v1.47/containers/create?name=alone", body)["Id"]
        engine.ok("start", "alone")
        links = engine.ok("exec", "alone", "ip", "-o", "-4", "addr")
        assert "10.213.9.2/24" in links and "eth1" not in links
        assert engine.field("alone", "{{json .NetworkSettings.Networks}}").count("NetworkID") == 1
        assert mac in engine.ok("exec", "alone", "ip", "link", "show", "eth0")
        assert engine.field("alone", "{{.HostConfig.NetworkMode}}") == "bridge"
        engine.ok("stop", "-t", "0", "alone")
        shown = engine.field("alone", "{{with .NetworkSettings.Networks.own}}{{.NetworkID}} {{.EndpointID}}{{end}}")
        assert shown == engine.ok("network", "inspect", "-f", "{{.ID}} ", "own").strip()  # it was on it
    finally:
        engine.cli("rm", "-f", "alone")
        engine.ok("network", "rm", "own")


def test_ipv6_that_the_container_does_without(engine: Engine) -> None:
    engine.ok("network", "create", "--ipv6", "both")
    off = ("--sysctl", "net.ipv6.conf.all.disable_ipv6=1")
    try:
        engine.ok("run", "-d", "--name", "four", "--network", "both", *off, "busybox", "sleep", "1000")
        assert engine.field("four", "{{.NetworkSettings.Networks.both.GlobalIPv6Address}}") == ""
        assert "::" not in engine.ok("exec", "four", "cat", "/etc/hosts")
        looked = engine.cli("run", "--rm", "--network", "both", "busybox", "nslookup", "-type=aaaa", "four")
        assert "fd" not in looked.stdout.partition("Name:")[2], looked.stdout
    finally:
        engine.cli("rm", "-f", "four")
        engine.ok("network", "rm", "both")


def test_two_containers_alone_on_the_smallest_subnet(engine: Engine) -> None:
    """Nobody has to be a router where nothing leads out."""
    mode = ("-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated")
    engine.ok("network", "create", "--internal", "--subnet", "10.213.10.0/31", *mode, "pair")
    try:
        engine.ok("run", "-d", "--name", "left", "--network", "pair", "busybox", "sleep", "1000")
        engine.ok("run", "--rm", "--network", "pair", "busybox", "ping", "-c1", "-W3", "left")
    finally:
        engine.cli("rm", "-f", "left")
        engine.ok("network", "rm", "pair")


def test_options_for_all_networks_and_the_hosts_own_addresses(new_engine: NewEngine) -> None:
    """Both families of ``host-gateway``; families by option; before API 1.48 every network has IPv4."""
    options = ("bridge=com.docker.network.enable_ipv4=false", "bridge=com.docker.network.enable_ipv6=true")
    flags = [word for option in options for word in ("--default-network-opt", option)]
    engine = new_engine("--ipv6", "--fixed-cidr-v6", "fd5e:78::/64", *flags)
    hosts = engine.ok("run", "--rm", "--add-host", "up:host-gateway", "busybox", "cat", "/etc/hosts")
    assert "fd5e:78::1\tup" in hosts and hosts.count("\tup") == 2
    engine.ok("network", "create", "six")
    assert [inspected(engine, "six")[name] for name in ("EnableIPv4", "EnableIPv6")] == [False, True]
    assert inspected(engine, "six")["Options"]["com.docker.network.enable_ipv4"] == "false"
    engine.ok("network", "create", "--ipv4", "four")
    shown = inspected(engine, "four")
    assert shown["EnableIPv4"] and "com.docker.network.enable_ipv4" not in shown["Options"]
    six = {"Name": "old", "EnableIPv4": False, "EnableIPv6": True}
    posted(engine, "/v1.46/networks/create", six | {"Options": {"com.docker.network.enable_ipv4": "1"}})
    assert inspected(engine, "old")["EnableIPv4"] is True
    engine.ok("network", "rm", "six", "four", "old")


def test_what_a_container_cannot_have_of_a_network(engine: Engine) -> None:
    """All that is wrong is told at once, as Docker 28 does, and before a container is made."""
    own = "user specified IP address is supported only when connecting to networks with user configured subnets"
    odd = {"IPAMConfig": {"IPv4Address": "odd"}}
    mac = {"MacAddress": "odd"}
    engine.ok("network", "create", "plain")
    engine.ok("run", "-d", "--name", "one", "busybox", "sleep", "100")
    try:
        told = [
            posted(engine, "/networks/plain/connect", {"Container": "one", "EndpointConfig": wanted})["message"]
            for wanted in (odd, mac)
        ]
        assert told == [
            f"invalid endpoint settings:\n* invalid IPv4 address: odd\n* {own}",
            "invalid MAC address odd",
        ]
        for body, message in (
            ({"MacAddress": "odd"}, "invalid config for network bridge: invalid MAC address odd"),
            (
                {
                    "HostConfig": {"NetworkMode": "plain"},
                    "NetworkingConfig": {"EndpointsConfig": {"plain": {"IPAMConfig": {"IPv4Address": "10.1.1.1"}}}},
                },
                f"invalid config for network plain: invalid endpoint settings:\n{own}",
            ),
        ):
            assert posted(engine, "/containers/create", {"Image": "busybox", "Cmd": ["true"], **body}) == {
                "message": message
            }
        for verb in ("connect", "disconnect"):
            assert posted(engine, f"/networks/plain/{verb}", {}) == {"message": 'invalid name or ID supplied: ""'}
        refused = posted(engine, "/networks/host/connect", {"Container": "one"})["message"]
        assert refused.startswith("cannot connect container to host network")
    finally:
        engine.ok("rm", "-f", "one")
        engine.ok("network", "rm", "plain")


def test_a_network_for_others_settings_alone(engine: Engine) -> None:
    engine.ok("network", "create", "--config-only", "settings")
    engine.ok("network", "create", "--config-from", "settings", "plain")
    try:
        assert inspected(engine, "settings")["IPAM"]["Config"] is None
        for wrong in ("nothing", "plain"):
            done = engine.cli("network", "create", "--config-from", wrong, "other")
            assert f'configuration network "{wrong}" does not exist' in done.stderr
        done = engine.cli("network", "create", "--config-from", "settings", "--ipv6", "other")
        assert "user specified configurations are not supported" in done.stderr
        assert 'configuration network "settings" is in use' in engine.cli("network", "rm", "settings").stderr
        done = engine.cli("run", "--rm", "--network", "settings", "busybox", "true")
        assert "failed to set up container networking: cannot create endpoint on configuration-only" in done.stderr
    finally:
        engine.ok("network", "rm", "plain", "settings")


def test_a_network_is_of_no_other_scope(engine: Engine) -> None:
    assert inspected(engine, "host")["IPAM"]["Config"] is None
    ask = ["curl", "-sS", "--unix-socket", engine.socket]
    answers = [engine.run_command([*ask, f"http://d/networks/host?scope={scope}"]) for scope in ("local", "swarm")]
    assert [json.loads(done.stdout).get("message") for done in answers] == [None, "network host not found"]
