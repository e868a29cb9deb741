"""Several networks in one container: the way out, what moves with it, and what the shim is told to change."""

import json
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from tests.integration.network.lab import Lab, on_a_machine, shell

from rundlet.linux import uppers
from rundlet.linux.netlink import DefaultRoute, Interface, Netlink
from rundlet.network.creation import Pool, Request
from rundlet.network.endpoint import Wanted
from rundlet.network.errors import (
    ActiveEndpointsError,
    EndpointExistsError,
    NetworkForbiddenError,
    NetworkNotFoundError,
    NotConnectedError,
    PoolOverlapError,
)
from rundlet.network.networks import Network
from rundlet.network.portmap import parse_port_spec
from rundlet.network.service import NetworkService
from rundlet.util.clock import SystemClock


def routes(service: NetworkService, *wanted: Wanted) -> list[str]:
    allocation = service.allocate("c", "c", wanted=wanted)
    allocation.close()
    return [route["gateway"] for route in allocation.sandbox.routes]


@on_a_machine
def test_networks_come_and_go_whole(lab: Lab) -> None:
    service = lab.service()
    made = service.create(Request("mine", pools=(Pool("10.5.0.0/24"),), internal=True))
    assert f"{made.bridge}" in shell("ip -br link show type bridge")
    assert "10.5.0.1/24" in shell(f"ip addr show {made.bridge}")
    assert made.bridge in shell(f"nft list set inet rundlet_{lab.instance} internal")
    with pytest.raises(PoolOverlapError):
        service.create(Request("other", pools=(Pool("10.5.0.128/25"),)))
    service.allocate("c", "c", wanted=[Wanted("mine")]).close()
    with pytest.raises(ActiveEndpointsError):
        service.remove("mine")
    service.release("c")
    service.remove("mine")
    assert made.bridge not in shell("ip -br link")
    assert made.bridge not in shell(f"nft list table inet rundlet_{lab.instance}")
    with pytest.raises(NetworkNotFoundError):
        service.network("mine")
    taken = {"com.docker.network.bridge.name": service.network("bridge").bridge}
    with pytest.raises(NetworkForbiddenError, match="networks have same bridge name"):
        service.create(Request("mine", options=taken))
    named = service.create(Request("mine", options={"com.docker.network.bridge.name": "br-mine"}))
    assert named.bridge == "br-mine"
    assert "br-mine" in shell("ip -br link show type bridge")


@on_a_machine
def test_networks_survive_a_restart(lab: Lab) -> None:
    service = lab.service()
    made = service.create(Request("mine", labels={"a": "b"}))
    address = service.allocate("c", "c", wanted=[Wanted("mine")]).endpoints[0].address
    service.close()
    lab.rtnl.delete_link(made.bridge)
    after = lab.service()
    assert after.network("mine") == made
    assert made.bridge in shell("ip -br link show type bridge"), "made again"
    assert after.allocate("d", "d", wanted=[Wanted("mine")]).endpoints[0].address != address


@on_a_machine
def test_connecting_asks_for_links_only_when_the_bridge_is_gone(lab: Lab) -> None:
    """The kernel keeps whoever asks waiting while other containers' links are being made."""
    service = lab.service()
    made = service.create(Request("mine"))
    with mock.patch.object(Netlink, "get", side_effect=AssertionError("asked")):
        service.allocate("c", "c", wanted=[Wanted("mine")]).close()
    lab.rtnl.delete_link(made.bridge)
    service.allocate("d", "d", wanted=[Wanted("mine")]).close()
    assert made.bridge in shell("ip -br link show type bridge"), "made again"


@on_a_machine
def test_the_way_out_follows_priority_and_name(lab: Lab) -> None:
    service = lab.service()
    for name, subnet in (("a", "10.1.0.0/24"), ("b", "10.2.0.0/24")):
        service.create(Request(name, pools=(Pool(subnet),)))
    service.create(Request("closed", pools=(Pool("10.3.0.0/24"),), internal=True))
    assert routes(service, Wanted("b"), Wanted("a")) == ["10.1.0.1"]
    assert routes(service, Wanted("a"), Wanted("b", gw_priority=1)) == ["10.2.0.1"]
    assert routes(service, Wanted("closed")) == []
    assert service.way_out([Wanted("closed"), Wanted("b")]) == service.network("b")


@on_a_machine
def test_connect_and_disconnect_tell_the_shim(lab: Lab) -> None:
    service = lab.service()
    for name, subnet in (("a", "10.1.0.0/24"), ("b", "10.2.0.0/24")):
        service.create(Request(name, pools=(Pool(subnet),)))
    requests = parse_port_spec("8080:80")
    allocation = service.allocate("c", "c", wanted=[Wanted("b")], requests=requests)
    namespace = lab.attach(allocation)
    lab.serve(namespace, "tcp", 80)
    assert lab.ask(None, "tcp", "127.0.0.1", 8080)
    change = service.connect("c", "c", Wanted("a"))
    assert change.link["name"] == "eth1"
    assert change.routes == ({"dst": "0.0.0.0/0", "gateway": "10.1.0.1"},)
    with pytest.raises(EndpointExistsError):
        service.connect("c", "c", Wanted("a"))
    link = change.link
    lab.rtnl.create_veth(link["host_name"], link["bridge"], namespace, link["name"], link["mac"])

    def plug() -> None:
        with Netlink() as inside:
            inside.configure_sandbox([Interface("eth1", link["addresses"])])
            inside.set_default_routes([DefaultRoute("10.1.0.1")])
            assert [r.gateway for r in inside.routes() if r.destination == "0.0.0.0/0"] == ["10.1.0.1"]

    lab.inside(namespace, plug)
    assert lab.ask(None, "tcp", "127.0.0.1", 8080) == "10.1.0.1", "the port goes by the new way"
    back = service.disconnect("c", "c", service.network("a"))
    assert back.routes == ({"dst": "0.0.0.0/0", "gateway": "10.2.0.1"},)
    assert lab.ask(None, "tcp", "127.0.0.1", 8080) == "10.2.0.1"
    with pytest.raises(NotConnectedError):
        service.disconnect("c", "c", service.network("a"))
    service.disconnect("c", "c", service.network("b"))
    assert "8080" not in shell(f"nft list table inet rundlet_{lab.instance}")
    assert service.ports("c"), "the sockets are still the container's"

    def no_way() -> None:
        with Netlink() as inside:
            inside.set_default_routes([])
            assert not [r for r in inside.routes() if r.destination == "0.0.0.0/0"]

    lab.inside(namespace, no_way)
    service.release("c")
    assert service.ports("c") == []


@on_a_machine
def test_no_talk_inside_by_ports_and_by_routes(lab: Lab) -> None:
    service = lab.service()
    service.create(Request("quiet", options={"com.docker.network.bridge.enable_icc": "false"}))
    service.create(Request("plain", options={"com.docker.network.bridge.enable_ip_masquerade": "false"}))
    one, two = (lab.attach(service.allocate(name, name, wanted=[Wanted("quiet")])) for name in ("one", "two"))
    lab.serve(two, "tcp", 80)
    address = service.endpoints("two")[0].address
    assert lab.ask(None, "tcp", address, 80), "the host reaches it"
    assert lab.ask(one, "tcp", address, 80, 0.3) == ""

    def by_the_gateway() -> None:
        gateway = service.network("quiet").subnets[0].gateway
        shell(f"ip route add {address}/32 via {gateway}")

    lab.inside(one, by_the_gateway)
    assert lab.ask(one, "tcp", address, 80, 0.3) == ""
    neighbour = lab.neighbour()
    lab.serve(neighbour, "udp", 53)
    plain = lab.attach(service.allocate("plain", "plain", wanted=[Wanted("plain")]))
    subnet = service.network("plain").subnets[0].subnet
    lab.inside(neighbour, lambda: shell(f"ip route add {subnet} via 192.0.2.2"))
    assert lab.ask(plain, "udp", "192.0.2.10", 53) == service.endpoints("plain")[0].address, "not masqueraded"


@on_a_machine
def test_macvlan_is_on_the_hosts_own_network(lab: Lab) -> None:
    service = lab.service()
    neighbour = lab.neighbour()
    lab.serve(neighbour, "tcp", 80)
    options = {"parent": "eth0"}
    made = service.create(Request("lan", "macvlan", (Pool("192.0.2.0/24", gateway="192.0.2.10"),), options))
    assert (made.parent, made.parent_made) == ("eth0", False)
    allocation = service.allocate("c", "c", wanted=[Wanted("lan", address="192.0.2.77")])
    link = allocation.sandbox.links[0]
    namespace = lab.namespace()
    uppers.create(lab.rtnl, link["kind"], link["name"], link["parent"], namespace, mac=link["mac"])

    def plug() -> None:
        with Netlink() as inside:
            inside.configure_sandbox([Interface(link["name"], link["addresses"])], [DefaultRoute("192.0.2.10")])

    lab.inside(namespace, plug)
    assert lab.ask(namespace, "tcp", "192.0.2.10", 80) == "192.0.2.77"
    service.release("c")
    service.remove("lan")
    assert "eth0" in shell("ip -br link")


@on_a_machine
def test_networks_that_share_an_interface(lab: Lab) -> None:
    """The last one takes it away, if it was made for one of them."""
    service = lab.service()
    lab.neighbour()

    def make(name: str, subnet: str) -> Network:
        return service.create(Request(name, "macvlan", (Pool(subnet),), {"parent": "eth0"}))

    one = make("one", "198.51.100.0/25")
    service._networks.put(msgspec.structs.replace(one, parent_made=True))
    two = make("two", "198.51.100.128/25")
    assert two.parent_made
    assert (one.subnets[0].gateway, two.subnets[0].gateway) == ("", ""), "nobody named a router"
    service.remove("one")
    assert "eth0@" in shell("ip -br link")
    service.remove("two")
    assert "eth0@" not in shell("ip -br link")


@on_a_machine
def test_name_tables_follow(lab: Lab) -> None:
    directory = f"{lab.directory}/dns"
    service = NetworkService(lab.database, SystemClock(), lab.instance, names=directory)
    service.start()
    network = service.create(Request("mine"))
    allocation = service.allocate("c1", "web", wanted=[Wanted("mine", names=("web", "www"))])
    assert allocation.sandbox.resolver == f"{directory}/socket"

    def names() -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(Path(directory, network.id).read_text())["names"]
        return found

    address = allocation.endpoints[0].address
    assert names() == {"web": [address], "www": [address]}
    service.rename("c1", "other")
    assert names() == {"other": [address], "www": [address]}
    assert service.needs_resolver
    service.recover(set())
    assert names() == {}
    assert not Path(directory, "c1").exists()
    service.remove("mine")
    assert not Path(directory, network.id).exists()
    assert not service.needs_resolver
