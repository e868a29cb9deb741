"""What the service makes on the host, repairs, and takes away again."""

import errno
import socket

import pytest
from tests.integration.network.lab import HOST, NEIGHBOUR, Lab, has, on_a_machine, shell

from rundlet.network import creation
from rundlet.network.endpoint import Wanted
from rundlet.network.errors import AddressInUseError, NetworkNotFoundError, PoolExhaustedError, PortUnavailableError
from rundlet.network.portmap import parse_port_spec
from rundlet.network.service import NetworkService


def ports(*specs: str):
    return [request for spec in specs for request in parse_port_spec(spec)]


def web(lab: Lab, service: NetworkService, name: str = "web", spec: str = "8080:80") -> int:
    namespace = lab.attach(service.allocate(name, name, requests=ports(spec)))
    lab.serve(namespace, "tcp", 80)
    return namespace


def forwarding() -> str:
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        return file.read().strip()


def everything() -> str:
    return shell("nft list ruleset; ip -br link; ip -4 -br addr; cat /proc/sys/net/ipv4/ip_forward")


@on_a_machine
def test_remove_all_leaves_nothing(lab: Lab) -> None:
    before = everything()
    service = lab.service()
    web(lab, service)
    assert everything() != before
    service.remove_all()
    assert everything() == before
    service.remove_all()
    service.close()


@on_a_machine
def test_shutdown_leaves_what_running_containers_need(lab: Lab) -> None:
    before = everything()
    service = lab.service()
    web(lab, service)
    running = everything()
    service.shutdown()
    assert everything() == running
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)
    service = lab.service()
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)
    service.release("web")
    service.shutdown()
    assert everything() == before


@on_a_machine
def test_a_start_repairs_what_is_gone(lab: Lab) -> None:
    service = lab.service()
    web(lab, service)
    bridge = service.network("bridge").bridge
    service.close()
    shell(f"nft flush ruleset; ip link del {bridge}")
    assert lab.ask(None, "tcp", "127.0.0.1", 8080, 0.3) == ""
    lab.service()
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)


@on_a_machine
def test_a_flushed_table_comes_back(lab: Lab) -> None:
    neighbour = lab.neighbour()
    service = lab.service()
    fd = service.watch()
    web(lab, service)
    assert service.on_firewall_change() is False, "our own changes are no disturbance"
    for disturbance in ("nft flush ruleset", f"nft flush chain inet rundlet_{lab.instance} prerouting"):
        shell(disturbance)
        assert lab.ask(neighbour, "tcp", HOST, 8080, 0.3) == ""
        assert fd >= 0 and service.on_firewall_change() is True
        assert lab.ask(neighbour, "tcp", HOST, 8080) == NEIGHBOUR
    assert service.on_firewall_change() is False


@on_a_machine
def test_allocate_repairs_a_table_flushed_this_instant(lab: Lab) -> None:
    service = lab.service()
    web(lab, service)
    shell("nft flush ruleset")
    web(lab, service, "web2", "8081:80")
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)
    assert lab.ask(None, "tcp", "127.0.0.1", 8081)
    shell("nft flush ruleset")
    service.release("web")
    assert lab.ask(None, "tcp", "127.0.0.1", 8081)
    assert lab.ask(None, "tcp", "127.0.0.1", 8080, 0.3) == ""


@on_a_machine
def test_recover_releases_the_dead_and_keeps_the_living(lab: Lab) -> None:
    service = lab.service()
    web(lab, service, "living", "8080:80")
    allocation = service.allocate("dead", "dead", requests=ports("8081:80"))
    lab.attach(allocation)
    allocation.close()
    service.close()
    service = lab.service()
    assert service.recover({"living"}) == ["dead"]
    assert service.endpoints("dead") == [] and service.ports("dead") == []
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)
    assert [port.host_port for port in service.ports("living")] == [8080]
    links = shell("ip -br link show type veth").count("\n")
    assert service.sweep() == 1
    assert shell("ip -br link show type veth").count("\n") == links - 1, "the dead container's link"
    assert service.sweep() == 0
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)


@on_a_machine
def test_an_address_is_free_again_when_its_link_is_gone(lab: Lab) -> None:
    service = lab.service(bip="10.9.0.1/30")
    lab.attach(service.allocate("one", "one"))
    with pytest.raises(PoolExhaustedError, match="no available IPv4 addresses"):
        service.allocate("two", "two")
    service.release("one")
    assert "rv" in shell("ip -br link show type veth")
    assert service.allocate("two", "two").endpoints[0].address == "10.9.0.2", "a full pool is swept at once"
    assert "rv" not in shell("ip -br link show type veth")
    assert (
        service.allocate("two", "two", wanted=[Wanted("bridge", address="10.9.0.2")]).endpoints[0].address == "10.9.0.2"
    )


@on_a_machine
def test_conflicts_are_told_as_docker_tells_them(lab: Lab) -> None:
    service = lab.service()
    first = service.allocate("one", "one", requests=ports("8080:80"))
    with pytest.raises(PortUnavailableError) as ours:
        service.allocate("two", "two", requests=ports("127.0.0.1:8080:80"))
    assert str(ours.value).startswith(
        "failed to set up container networking: driver failed programming external connectivity on endpoint two ("
    )
    assert str(ours.value).endswith("): Bind for 127.0.0.1:8080 failed: port is already allocated")
    program = socket.create_server(("0.0.0.0", 9090))
    with pytest.raises(PortUnavailableError) as theirs:
        service.allocate("two", "two", requests=ports("81:81", "9090:80"))
    text = "failed to bind host port for 0.0.0.0:9090:172.17.0.3:80/tcp: address already in use"
    assert str(theirs.value).endswith(text)
    program.close()
    assert service.endpoints("two") == []
    again = service.allocate("two", "two", requests=ports("81:81", "9090:80"))
    with pytest.raises(OSError) as taken:
        socket.create_server(("127.0.0.1", 9090), reuse_port=False)
    assert taken.value.errno == errno.EADDRINUSE
    for allocation in (first, again):
        allocation.close()


@on_a_machine
def test_a_port_in_time_wait_can_be_published(lab: Lab) -> None:
    service = lab.service()
    server = socket.create_server(("127.0.0.1", 9091))
    client = socket.create_connection(("127.0.0.1", 9091))
    accepted, _ = server.accept()
    accepted.close()
    client.close()
    server.close()
    assert "TIME-WAIT" in shell("ss -tan sport = :9091") if has("ss") else True
    service.allocate("one", "one", requests=ports("9091:80")).close()


@on_a_machine
def test_random_ports_and_ranges(lab: Lab) -> None:
    service = lab.service()
    low = int(shell("cat /proc/sys/net/ipv4/ip_local_port_range").split()[0])
    one = service.allocate("one", "one", requests=ports("80", "8000-8001:81"))
    two = service.allocate("two", "two", requests=ports("80", "8000-8001:81"))
    chosen = [{port.container_port: port.host_port for port in allocation.ports} for allocation in (one, two)]
    assert chosen == [{80: low, 81: 8000}, {80: low + 1, 81: 8001}]
    with pytest.raises(PortUnavailableError, match=r"Bind for 0\.0\.0\.0:8001 failed: port is already allocated"):
        service.allocate("three", "three", requests=ports("8000-8001:81"))


@on_a_machine
def test_modes(lab: Lab) -> None:
    service = lab.service()
    assert service.allocate("a", "a", "host").sandbox.spec()["mode"] == "host"
    assert service.allocate("a", "a", "none").sandbox.spec()["mode"] == "none"
    assert service.allocate("a", "a", "container:b", join="/proc/1/ns/net").sandbox.spec()["join"] == "/proc/1/ns/net"
    by_id = service.allocate("a", "a", service.network("bridge").id[:12])
    assert by_id.sandbox.spec()["links"][0]["addresses"] == ["172.17.0.2/16"]
    for reference in ("nowhere", ""):
        with pytest.raises(NetworkNotFoundError, match=f"network {reference} not found"):
            service.network(reference)
    with pytest.raises(NetworkNotFoundError):
        service.allocate("b", "b", "nowhere")
    assert [network.name for network in service.networks()] == ["bridge", "host", "none"]
    with pytest.raises(AddressInUseError):
        service.allocate("b", "b", wanted=[Wanted("bridge", address="172.17.0.2")])
    wanted = [Wanted("bridge", address="172.17.9.9")]
    assert service.allocate("b", "b", wanted=wanted).endpoints[0].mac == "02:42:ac:11:09:09"


@on_a_machine
def test_ids_stay_and_the_subnet_moves_only_when_it_must(lab: Lab) -> None:
    service = lab.service()
    before = service.networks()
    service.shutdown()
    service = lab.service()
    assert service.networks() == before
    service.shutdown()
    shell("ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up")
    service = lab.service()
    assert [n.id for n in service.networks()] == [n.id for n in before]
    assert service.network("bridge").subnets[0].subnet == "172.18.0.0/16"
    web(lab, service)
    shell("ip link add other type bridge; ip addr add 172.18.5.1/24 dev other; ip link set other up")
    service.close()
    service = lab.service(bip="10.9.0.1/24")
    assert service.network("bridge").subnets[0].subnet == "172.18.0.0/16", "a container uses it"
    service.release("web")
    service.sweep()
    service.shutdown()
    assert lab.service(bip="10.9.0.1/24").network("bridge").subnets[0].gateway == "10.9.0.1"


@on_a_machine
def test_forwarding_that_we_turn_on_is_for_containers_only(lab: Lab) -> None:
    left = lab.neighbour()
    right = lab.neighbour(link="eth1", host="198.51.100.2", own="198.51.100.10")
    lab.inside(left, lambda: shell(f"ip route add default via {HOST}"))
    lab.inside(right, lambda: shell("ip route add default via 198.51.100.2"))
    lab.serve(right, "tcp", 9000)
    assert forwarding() == "0"
    service = lab.service()
    assert forwarding() == "1"
    assert lab.ask(left, "tcp", "198.51.100.10", 9000, 0.3) == ""
    client = lab.attach(service.allocate("client", "client"))
    assert lab.ask(client, "tcp", "198.51.100.10", 9000) == "198.51.100.2"
    service.close()
    service = lab.service()
    assert lab.ask(left, "tcp", "198.51.100.10", 9000, 0.3) == "", "the next engine remembers"
    service.remove_all()
    assert forwarding() == "0"


@on_a_machine
def test_a_router_stays_a_router(lab: Lab) -> None:
    left = lab.neighbour()
    right = lab.neighbour(link="eth1", host="198.51.100.2", own="198.51.100.10")
    lab.inside(left, lambda: shell(f"ip route add default via {HOST}"))
    lab.inside(right, lambda: shell("ip route add default via 198.51.100.2"))
    lab.serve(right, "tcp", 9000)
    shell("sysctl -qw net.ipv4.ip_forward=1")
    service = lab.service()
    assert lab.ask(left, "tcp", "198.51.100.10", 9000) == NEIGHBOUR
    service.remove_all()
    assert forwarding() == "1"


@on_a_machine
def test_containers_live_beside_a_firewall_that_drops(lab: Lab) -> None:
    """Docker's FORWARD policy, in its nf_tables form: an exception in its place for them, kept and taken back."""
    neighbour = lab.neighbour()
    lab.serve(neighbour, "tcp", 9000)
    shell("iptables -P FORWARD DROP; iptables -A FORWARD -i nothing -j ACCEPT")
    rules = shell("iptables -S")
    service = lab.service()
    service.watch()
    inside = web(lab, service)

    def works() -> bool:
        inward = lab.ask(neighbour, "tcp", HOST, 8080, 0.5)
        return inward == NEIGHBOUR and lab.ask(inside, "tcp", NEIGHBOUR, 9000, 0.5) == HOST

    assert works()
    bridge = service.network("bridge").bridge
    assert f'-A FORWARD -o {bridge} -m comment --comment "rundlet_{lab.instance}: to {bridge}" -j ACCEPT' in shell(
        "iptables -S"
    ), "iptables shows it as its own"
    shell("iptables -F FORWARD")
    assert not works()
    service.on_firewall_change()
    assert works()
    shell("iptables -N DOCKER-USER; iptables -F FORWARD; iptables -A FORWARD -j DOCKER-USER")
    service.on_firewall_change()
    assert works()
    assert f"-A DOCKER-USER -o {bridge}" in shell("iptables -S")
    shell("iptables -F FORWARD; iptables -A FORWARD -i nothing -j ACCEPT; iptables -N KEEP")
    service.remove_all()
    assert shell("iptables -S") == rules.replace("-P OUTPUT ACCEPT\n", "-P OUTPUT ACCEPT\n-N DOCKER-USER\n-N KEEP\n")


@on_a_machine
def test_a_table_that_belongs_to_another_program_is_told_of(lab: Lab) -> None:
    """firewalld's table can be changed by firewalld only: its ``owner`` flag."""
    from rundlet.linux import nft, nlmsg

    owner = nft.Nft()
    batch = nft.Batch(nft.FAMILY_INET, "firewalld")
    batch.add_table()
    request = batch.requests[0]
    batch.requests[0] = request._replace(body=request.body + nlmsg.be32(2, 2))
    batch.add_chain("filter_FORWARD", nft.Hook("filter", nft.HOOK_FORWARD, 10))
    owner.commit(batch)
    service = lab.service()
    assert [warning.split(":")[0] for warning in service.warnings()] == [
        "the firewall's chain firewalld filter_FORWARD drops the traffic of containers and can't be changed"
    ]
    owner.close()
    service.remove_all()


@on_a_machine
def test_the_old_iptables_too(lab: Lab) -> None:
    if not has("iptables-legacy"):
        return
    neighbour = lab.neighbour()
    shell("iptables-legacy -P FORWARD DROP")
    service = lab.service()
    web(lab, service)
    assert lab.ask(neighbour, "tcp", HOST, 8080) == NEIGHBOUR
    service.close()
    service = lab.service()
    assert shell("iptables-legacy -S FORWARD").count("-A FORWARD") == 2
    # Somebody else begins anew while the engine runs: nobody is told.
    shell("iptables-legacy -F FORWARD")
    service.allow_legacy()
    assert lab.ask(neighbour, "tcp", HOST, 8080) == NEIGHBOUR
    service.allow_legacy()
    assert shell("iptables-legacy -S FORWARD").count("-A FORWARD") == 2
    service.remove_all()
    assert shell("iptables-legacy -S FORWARD") == "-P FORWARD DROP\n"


@on_a_machine
def test_two_networks_reach_each_other_by_published_ports_only(lab: Lab) -> None:
    service = lab.service()
    service.create(creation.Request("second"))
    one = web(lab, service)
    two = lab.attach(service.allocate("two", "two", "second"))
    lab.serve(two, "tcp", 80)
    other = service.network("second").subnets[0]
    assert other.subnet == "172.18.0.0/16"
    assert lab.ask(one, "tcp", "172.18.0.2", 80, 0.3) == ""
    assert lab.ask(two, "tcp", "172.17.0.2", 80, 0.3) == ""
    for gateway in (other.gateway, service.host_gateways()[0]):
        assert lab.ask(two, "tcp", gateway, 8080) == "172.18.0.2", "its own address is kept"


@on_a_machine
def test_two_engines_are_kept_apart(lab: Lab) -> None:
    """Two engines on one machine: their containers reach each other by published ports only."""
    service = lab.service()
    one = web(lab, service)
    other = lab.second()
    service = other.service()
    two = lab.attach(service.allocate("other", "other"))
    lab.serve(two, "tcp", 80)
    assert service.network("bridge").subnets[0].subnet == "172.18.0.0/16"
    assert lab.ask(one, "tcp", "172.18.0.2", 80, 0.3) == ""
    assert lab.ask(two, "tcp", "172.17.0.2", 80, 0.3) == ""
    assert lab.ask(two, "tcp", "172.17.0.1", 8080)
    service.remove_all()
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)
