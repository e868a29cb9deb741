"""An engine whose networks and whose TCP address are told otherwise by its flags."""

import http.client
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.certificates import certificate
from tests.e2e.test_networks_both_families import SERVER, fetch
from tests.engines import Engine, wait_for

NewEngine = Callable[..., Engine]


def test_an_engine_told_otherwise(new_engine: NewEngine, port: int) -> None:
    flags = ("--icc=false", "--mtu", "1400", "--dns", "192.0.2.53", "--dns-search", "example.org", "--ip", "127.0.0.1")
    engine = new_engine(*flags, "--userland-proxy=false", "--default-network-opt",
                        "bridge=com.docker.network.driver.mtu=1350")  # fmt: skip
    engine.ok("run", "-d", "--name", "one", "-p", f"{port}:80", *SERVER)
    assert engine.ok("port", "one") == f"80/tcp -> 127.0.0.1:{port}"
    wait_for(lambda: fetch("127.0.0.1", port) == "served")
    assert fetch("::1", port) == ""
    address = engine.field("one", "{{.NetworkSettings.IPAddress}}")
    assert engine.cli("run", "--rm", "busybox", "ping", "-c", "1", "-W", "1", address).returncode == 1
    assert "mtu 1400" in engine.ok("run", "--rm", "busybox", "ip", "link", "show", "eth0")
    resolver = engine.ok("run", "--rm", "busybox", "cat", "/etc/resolv.conf")
    assert "nameserver 192.0.2.53" in resolver and "search example.org" in resolver
    engine.ok("network", "create", "mine")
    assert "mtu 1350" in engine.ok("run", "--rm", "--network", "mine", "busybox", "ip", "link", "show", "eth0")
    engine.ok("network", "rm", "mine")


def test_the_default_bridges_own_addresses(new_engine: NewEngine) -> None:
    """Where its containers' addresses come from, who their routers are, and what is done about names."""
    own = ("--bip", "10.214.77.1/24", "--fixed-cidr", "10.214.77.128/25", "--default-gateway", "10.214.77.9")
    six = ("--ipv6", "--fixed-cidr-v6", "fd5e:77::/64", "--default-gateway-v6", "fd5e:77::9")
    engine = new_engine(*own, *six, "--ip-masq=false", "--dns-opt", "ndots:3", "--host-gateway-ip", "192.0.2.9")
    shown = engine.ok("run", "--rm", "--add-host", "host:host-gateway", "busybox", "sh", "-c",
                      "ip addr show eth0; ip route; ip -6 route; cat /etc/resolv.conf /etc/hosts")  # fmt: skip
    assert "inet 10.214.77.12" in shown and "inet6 fd5e:77::" in shown
    assert "default via 10.214.77.9 " in shown and "default via fd5e:77::9 " in shown
    assert "options ndots:3" in shown and "192.0.2.9\thost" in shown
    table = engine.run_command(["nft", "list", "table", "inet", f"rundlet_{engine.layout.instance}"]).stdout
    assert "set masqueraded" in table and "10.214.77.0/24" not in table.partition("set masqueraded")[2].split("}")[0]


def test_tcp_with_certificates_only(new_engine: NewEngine, tmp_path: Path, port: int) -> None:
    certificate(tmp_path)
    files = {name: str(tmp_path / f"{name}.pem") for name in ("cert", "key")}
    tls = ("--tlsverify", "--tlscacert", files["cert"], "--tlscert", files["cert"], "--tlskey", files["key"])
    address = f"tcp://127.0.0.1:{port}"
    engine = new_engine("-H", address, *tls)
    os.symlink(files["cert"], tmp_path / "ca.pem")
    trusted = {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    done = engine.cli("run", "--rm", "-i", "busybox", "cat", stdin="over tls", env=trusted)
    assert done.stdout == "over tls", done.stderr
    assert engine.cli("ps", env={"DOCKER_HOST": address}).returncode == 1
    stranger = ssl.create_default_context(cafile=files["cert"])
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=stranger, timeout=5)
    with pytest.raises(OSError):
        connection.request("GET", "/_ping")
        connection.getresponse()
    connection.close()


@pytest.mark.parametrize("flags", [(), ("--tls",)])
def test_tcp_without_certificates_wants_plain_words(flags: tuple[str, ...], port: int) -> None:
    engine = Engine(["-H", f"tcp://127.0.0.1:{port}", *flags])
    try:
        with pytest.raises(AssertionError, match=r"is root on this machine|could not load the TLS key pair"):
            engine.start()
    finally:
        engine.stop()
