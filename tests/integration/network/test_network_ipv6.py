"""IPv6 networks, and the gateway modes of both families, on a machine of their own."""

import os
import socket
import threading
from functools import partial

import pytest
from tests.integration.network.lab import HOST, NEIGHBOUR, Lab, has, on_a_machine, shell

from rundlet.linux.loop import Loop
from rundlet.linux.netlink import Netlink
from rundlet.network.creation import Pool, Request
from rundlet.network.endpoint import Endpoint, Wanted
from rundlet.network.errors import PortUnavailableError
from rundlet.network.networks import GATEWAY_MODE4, GATEWAY_MODE6, HOST4, ICC, MASQUERADE, TRUSTED
from rundlet.network.portmap import PublishedPort, parse_port_spec
from rundlet.network.proxy.datagrams import Datagrams
from rundlet.network.proxy.worker import Streams
from rundlet.network.service import NetworkService

HOST6, NEIGHBOUR6 = "2001:db8::2", "2001:db8::10"
POOLS = (Pool("10.77.0.0/24"), Pool("fd77::/64"))
BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"
ADDRESS, ADDRESS6 = "10.77.0.2", "fd77::2"


def two_families(lab: Lab) -> int:
    """A neighbour that is reached by both."""
    neighbour = lab.neighbour()
    lab.rtnl.configure("eth0", [f"{HOST6}/64"])

    def configure() -> None:
        with Netlink() as rtnl:
            rtnl.configure("eth0", [f"{NEIGHBOUR6}/64"])

    lab.inside(neighbour, configure)
    return neighbour


def network(service: NetworkService, name: str = "six", **options: object) -> None:
    service.create(Request(name, pools=POOLS, ipv6=True, **options))  # type: ignore[arg-type]


def container(lab: Lab, service: NetworkService, name: str, *specs: str, on: str = "six") -> tuple[int, Endpoint]:
    """One that answers on port 80, by both families and protocols."""
    requests = [request for spec in specs for request in parse_port_spec(spec)]
    allocation = service.allocate(name, name, wanted=[Wanted(on)], requests=requests)
    namespace = lab.attach(allocation)
    for protocol in ("tcp", "udp"):
        lab.serve(namespace, protocol, 80)
    for protocol in ("tcp", "udp"):
        lab.serve(namespace, protocol, 81, "::")
    return namespace, allocation.endpoints[0]


@on_a_machine
def test_ipv6_everywhere(lab: Lab) -> None:
    neighbour = two_families(lab)
    service = lab.service()
    network(service)
    web, made = container(lab, service, "web", "8080:81", "8080:81/udp", "9090:81/sctp")
    other, second = container(lab, service, "other")
    assert (made.address6, made.gateway6, second.address6) == (ADDRESS6, "fd77::1", "fd77::3")
    lab.serve(neighbour, "tcp", 9000, "::")
    for protocol in ("tcp", "udp"):
        assert lab.ask(other, protocol, ADDRESS6, 81) == "fd77::3", protocol
        assert lab.ask(None, protocol, ADDRESS6, 81) == "fd77::1", protocol
        assert lab.ask(None, protocol, HOST6, 8080) == HOST6, protocol
        assert lab.ask(neighbour, protocol, HOST6, 8080) == NEIGHBOUR6, protocol
        assert lab.ask(other, protocol, "fd77::1", 8080) == "fd77::1", protocol
        assert lab.ask(web, protocol, HOST6, 8080) == "fd77::1", f"hairpin {protocol}"
    assert lab.ask(web, "tcp", NEIGHBOUR6, 9000) == HOST6
    # A neighbour that routes to the container does not get past us.
    lab.inside(neighbour, partial(shell, f"ip -6 route add fd77::/64 via {HOST6}"))
    assert lab.ask(neighbour, "tcp", ADDRESS6, 81, wait=0.5) == ""
    service.release("web")
    assert lab.ask(neighbour, "tcp", HOST6, 8080, wait=0.5) == ""


@on_a_machine
def test_a_bridge_without_ipv6_listens_to_no_router(lab: Lab) -> None:
    service = lab.service()
    bridge = service.network("bridge").bridge
    for switch, value in (("disable_ipv6", "1"), ("accept_ra", "0")):
        with open(f"/proc/sys/net/ipv6/conf/{bridge}/{switch}") as file:
            assert file.read().strip() == value
    with open("/proc/sys/net/ipv6/conf/all/forwarding") as file:
        assert file.read().strip() == "0"
    network(service)
    with open("/proc/sys/net/ipv6/conf/all/forwarding") as file:
        assert file.read().strip() == "1"
    service.remove("six")
    service.remove_all()
    with open("/proc/sys/net/ipv6/conf/all/forwarding") as file:
        assert file.read().strip() == "0"


@on_a_machine
def test_this_host_is_no_router_for_others(lab: Lab) -> None:
    """Forwarding came on for the containers: what else would be forwarded stays out."""
    neighbour = two_families(lab)
    beyond = lab.neighbour(link="eth1", host="198.51.100.2", own="198.51.100.10")
    lab.rtnl.configure("eth1", ["2001:db8:1::2/64"])
    lab.inside(
        beyond,
        partial(shell, "ip addr add 2001:db8:1::10/64 dev eth0 nodad; ip -6 route add default via 2001:db8:1::2"),
    )
    lab.inside(neighbour, partial(shell, f"ip -6 route add default via {HOST6}"))
    lab.serve(beyond, "tcp", 7000, "::")
    service = lab.service()
    network(service)
    assert lab.ask(None, "tcp", "2001:db8:1::10", 7000)
    assert lab.ask(neighbour, "tcp", "2001:db8:1::10", 7000, wait=0.5) == ""


@on_a_machine
def test_routed_networks_are_reached_at_their_own_addresses(lab: Lab) -> None:
    neighbour = two_families(lab)
    service = lab.service()
    network(service, options={GATEWAY_MODE4: "routed", GATEWAY_MODE6: "routed"})
    inside, made = container(lab, service, "web", "8080:80", "8080:81/udp", "8080:81")
    lab.serve(neighbour, "tcp", 9000, "::")
    lab.inside(
        neighbour, partial(shell, f"ip route add 10.77.0.0/24 via {HOST}; ip -6 route add fd77::/64 via {HOST6}")
    )
    assert {(port.container_port, port.host_port) for port in service.ports("web")} == {(80, 0), (81, 0)}
    assert lab.ask(neighbour, "tcp", ADDRESS, 80) == NEIGHBOUR
    assert lab.ask(neighbour, "tcp", ADDRESS6, 81) == NEIGHBOUR6
    assert lab.ask(neighbour, "udp", ADDRESS6, 81) == NEIGHBOUR6
    assert lab.ask(neighbour, "udp", ADDRESS, 80, wait=0.5) == "", "not published"
    assert lab.ask(neighbour, "tcp", HOST, 8080, wait=0.5) == "", "no port of the host"
    assert lab.ask(inside, "tcp", NEIGHBOUR6, 9000) == made.address6, "no translation"
    service.release("web")
    assert lab.ask(neighbour, "tcp", ADDRESS, 80, wait=0.5) == ""


@on_a_machine
def test_unprotected_networks_answer_at_every_port(lab: Lab) -> None:
    neighbour = two_families(lab)
    service = lab.service()
    network(service, options={GATEWAY_MODE4: "nat-unprotected"})
    container(lab, service, "web", "8080:80")
    lab.inside(
        neighbour, partial(shell, f"ip route add 10.77.0.0/24 via {HOST}; ip -6 route add fd77::/64 via {HOST6}")
    )
    assert lab.ask(neighbour, "udp", ADDRESS, 80) == NEIGHBOUR
    assert lab.ask(neighbour, "tcp", HOST, 8080) == NEIGHBOUR
    assert lab.ask(neighbour, "tcp", ADDRESS6, 81, wait=0.5) == ""


@on_a_machine
def test_isolated_networks_have_no_host(lab: Lab) -> None:
    two_families(lab)
    service = lab.service()
    network(service, internal=True, options={GATEWAY_MODE4: "isolated", GATEWAY_MODE6: "isolated"})
    one, _ = container(lab, service, "one")
    _, made = container(lab, service, "two")
    assert made.gateway == made.gateway6 == ""
    bridge = service.network("six").bridge
    assert "10.77.0.1" not in shell(f"ip addr show {bridge}")
    # No address is the host's, so the first container has the first one.
    assert lab.ask(one, "tcp", made.address, 80) == "10.77.0.1"
    assert made.address == ADDRESS
    assert "10.77" not in shell(f"ip route show dev {bridge}")


@on_a_machine
def test_internal_networks_keep_to_themselves(lab: Lab) -> None:
    neighbour = two_families(lab)
    service = lab.service()
    network(service, internal=True)
    service.create(Request("out", ipv6=True))
    inside, _ = container(lab, service, "in", "8080:80")
    outside, far = container(lab, service, "outside", on="out")
    lab.serve(neighbour, "tcp", 9000)
    # Whoever may change routes inside gains nothing.
    lab.inside(inside, partial(shell, "ip route add default via 10.77.0.1; ip -6 route add default via fd77::1"))
    assert lab.ask(inside, "tcp", NEIGHBOUR, 9000, wait=0.5) == ""
    assert lab.ask(inside, "tcp", far.address, 80, wait=0.5) == ""
    assert lab.ask(inside, "tcp", far.address6, 81, wait=0.5) == ""
    assert lab.ask(outside, "tcp", ADDRESS, 80, wait=0.5) == ""
    assert lab.ask(neighbour, "tcp", HOST, 8080, wait=0.5) == ""


@on_a_machine
def test_how_containers_leave(lab: Lab) -> None:
    neighbour = two_families(lab)
    shell("ip addr add 192.0.2.77/24 dev eth0")
    lab.serve(neighbour, "tcp", 9000)
    service = lab.service()
    service.create(Request("plain", pools=(Pool("10.78.0.0/24"),), options={MASQUERADE: "false"}))
    service.create(Request("named", pools=(Pool("10.79.0.0/24"),), options={HOST4: "192.0.2.77"}))
    lab.inside(neighbour, partial(shell, f"ip route add 10.78.0.0/24 via {HOST}"))
    plain, made = container(lab, service, "plain", on="plain")
    named, _ = container(lab, service, "named", on="named")
    assert lab.ask(plain, "tcp", NEIGHBOUR, 9000) == made.address
    assert lab.ask(named, "tcp", NEIGHBOUR, 9000) == "192.0.2.77"


@on_a_machine
def test_containers_kept_apart_and_interfaces_trusted(lab: Lab) -> None:
    neighbour = two_families(lab)
    service = lab.service()
    network(service, options={ICC: "false", TRUSTED: "eth0"})
    if os.path.exists(BRIDGED):
        with open(BRIDGED, "w") as file:
            file.write("0")  # Else a frame that was translated stays in the bridge, which keeps it from the port.
    one, _ = container(lab, service, "one", "8080:80")
    two, made = container(lab, service, "two")
    assert lab.ask(one, "tcp", made.address, 80, wait=0.5) == ""
    assert lab.ask(one, "tcp", made.address6, 81, wait=0.5) == ""
    assert lab.ask(two, "tcp", HOST, 8080) != "", "what is published is"
    lab.inside(neighbour, partial(shell, f"ip route add 10.77.0.0/24 via {HOST}"))
    assert lab.ask(neighbour, "tcp", made.address, 80) == NEIGHBOUR


@on_a_machine
def test_the_proxy_serves_what_the_firewall_can_not(lab: Lab) -> None:
    """From ::1, and from any IPv6 address of the host to a container that has IPv4 only."""
    neighbour = two_families(lab)
    service = NetworkService(lab.database, lab.clock, lab.instance, proxy=True)
    service.start()
    requests = [r for spec in ("8080:80", "8080:80/udp", "[::1]:8081:80") for r in parse_port_spec(spec)]
    allocation = service.allocate("web", "web", requests=requests)
    namespace = lab.attach(allocation)
    lab.serve(namespace, "tcp", 80)
    lab.serve(namespace, "udp", 80)
    assert allocation.reservation is not None
    proxied = allocation.reservation.proxied
    assert [port for port, _ in proxied] == [
        PublishedPort("tcp", 80, "::", 8080),
        PublishedPort("udp", 80, "::", 8080),
        PublishedPort("tcp", 80, "::1", 8081),
    ]
    loop = Loop()
    for port, held in proxied:
        kind = Streams if port.protocol == "tcp" else Datagrams
        kind(loop, held, (allocation.reservation.target, port.container_port))
    threading.Thread(target=loop.run, daemon=True).start()
    for protocol in ("tcp", "udp"):
        assert lab.ask(None, protocol, "::1", 8080) == "172.17.0.1", protocol
        assert lab.ask(neighbour, protocol, HOST6, 8080) == "172.17.0.1", protocol
        assert lab.ask(neighbour, protocol, HOST, 8080) == NEIGHBOUR, protocol
    assert lab.ask(None, "tcp", "::1", 8081) == "172.17.0.1"
    assert lab.ask(neighbour, "tcp", HOST6, 8081, wait=0.5) == ""
    assert os.path.exists("/proc/net/if_inet6")


@on_a_machine
def test_other_firewalls_of_ipv6_let_our_networks_through(lab: Lab) -> None:
    """ip6tables' FORWARD drops with Docker and with ufw; a table of ours that was flushed comes back whole."""
    neighbour = two_families(lab)
    shell("nft 'table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'")
    service = lab.service()
    service.watch()
    network(service)
    container(lab, service, "web", "8080:81")
    bridge = service.network("six").bridge
    assert shell("nft list table ip6 filter").count(f'"{bridge}"') == 2
    assert service.network("bridge").bridge not in shell("nft list table ip6 filter")
    assert lab.ask(neighbour, "tcp", HOST6, 8080) == NEIGHBOUR6
    shell("nft flush ruleset")
    assert service.on_firewall_change()
    assert lab.ask(neighbour, "tcp", HOST6, 8080) == NEIGHBOUR6
    shell("nft 'table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'")
    service.on_firewall_change()
    assert lab.ask(neighbour, "tcp", HOST6, 8080) == NEIGHBOUR6
    service.remove_all()
    assert bridge not in shell("nft list ruleset")


@on_a_machine
def test_the_old_ip6tables_too(lab: Lab) -> None:
    if not has("ip6tables-legacy"):
        return
    neighbour = two_families(lab)
    shell("ip6tables-legacy -P FORWARD DROP")
    service = lab.service()
    network(service)
    container(lab, service, "web", "8080:81")
    assert lab.ask(neighbour, "tcp", HOST6, 8080) == NEIGHBOUR6
    service.close()
    service = lab.service()
    rules = shell("ip6tables-legacy -S FORWARD")
    assert rules.count("-A FORWARD") == 2 and service.network("bridge").bridge not in rules
    service.remove_all()
    assert shell("ip6tables-legacy -S FORWARD") == "-P FORWARD DROP\n"


@on_a_machine
def test_ports_are_published_by_the_other_family_as_soon_as_it_is_there(lab: Lab) -> None:
    service = lab.service()
    service.create(Request("six", pools=(Pool("fd77::/64"),), ipv4=False, ipv6=True))
    service.create(Request("four", pools=(Pool("10.78.0.0/24"),)))
    requests = parse_port_spec("8080:81") + parse_port_spec("82")
    service.allocate("web", "web", wanted=[Wanted("six")], requests=requests)
    before = service.ports("web")
    assert {port.host_address for port in before} == {"::"}
    with socket.create_server(("0.0.0.0", 8080)):
        with pytest.raises(PortUnavailableError, match="address already in use"):
            service.connect("web", "web", Wanted("four"), requests=requests)
        assert service.ports("web") == before
    change = service.connect("web", "web", Wanted("four"), requests=requests)
    try:
        added = [port for port in service.ports("web") if port not in before]
        assert {port.host_address for port in added} == {"0.0.0.0"}
        assert [(port.container_port, port.host_port) for port in added] == [
            (port.container_port, port.host_port) for port in before
        ], "by the same numbers"
        assert change.reservation is not None and sorted(change.reservation.ports) == added
        assert f"{change.endpoint.address} . 81" in shell(f"nft list table inet rundlet_{lab.instance}")
    finally:
        change.close()
    service.undo("web", "web", change)
    assert service.ports("web") == before
    assert f"{change.endpoint.address} . 81" not in shell(f"nft list table inet rundlet_{lab.instance}")
