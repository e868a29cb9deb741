"""Networks on bridges that somebody else has made."""

import pytest
from tests.integration.network.lab import Lab, on_a_machine, shell

from rundlet.network import creation
from rundlet.network.errors import NetworkConfigError, NetworkForbiddenError
from rundlet.network.networks import BRIDGE_NAME


def made(name: str, *addresses: str) -> None:
    """A bridge, up, with addresses."""
    shell(f"ip link add {name} type bridge && ip link set {name} up")
    for address in addresses:
        shell(f"ip addr add {address} dev {name}")


def addresses(lab: Lab, name: str) -> list[str]:
    link = lab.rtnl.link(name)
    assert link is not None
    found = lab.rtnl.addresses()
    return [f"{one.address}/{one.prefix}" for one in found if one.ifindex == link.ifindex and ":" not in one.address]


@on_a_machine
def test_the_default_network_on_another_bridge(lab: Lab) -> None:
    """Its address is the gateway; it stays when the engine has gone."""
    with pytest.raises(NetworkConfigError, match="bridge device with non default name lan0 must be created manually"):
        lab.service(bridge="lan0")
    made("lan0", "192.0.2.129/25")
    service = lab.service(bridge="lan0", fixed_cidr="192.0.2.192/28")
    network = service.network("bridge")
    assert (network.bridge, network.options[BRIDGE_NAME]) == ("lan0", "lan0")
    assert [(pool.subnet, pool.gateway) for pool in network.subnets] == [("192.0.2.128/25", "192.0.2.129")]
    allocation = service.allocate("a", "a")
    inside = lab.attach(allocation)
    assert allocation.endpoints[0].address == "192.0.2.192"
    lab.serve(inside, "tcp", 80)
    assert lab.ask(None, "tcp", "192.0.2.192", 80) == "192.0.2.129"
    service.close()
    service = lab.service(bridge="lan0", fixed_cidr="192.0.2.192/28")
    assert service.network("bridge") == network
    service.release("a")
    service.remove_all()
    service.close()
    assert addresses(lab, "lan0") == ["192.0.2.129/25"]
    own = lab.service()
    assert own.network("bridge").id == network.id and own.network("bridge").bridge != "lan0"


@on_a_machine
def test_a_bridge_without_an_address_gets_one_while_it_is_used(lab: Lab) -> None:
    made("lan0")
    service = lab.service(bridge="lan0")
    gateway = service.network("bridge").subnets[0].gateway
    assert addresses(lab, "lan0") == [f"{gateway}/16"]
    service.close()
    service = lab.service(bridge="lan0")  # what we gave it is not taken for its own
    assert service.network("bridge").given == ()
    service.shutdown()
    assert addresses(lab, "lan0") == []


@on_a_machine
def test_a_network_of_ones_own_on_another_bridge(lab: Lab) -> None:
    made("lan0", "10.5.0.9/24")
    shell("ip link add veth0 type veth peer name veth1")
    service = lab.service()
    pool = creation.Pool("10.5.0.0/24", gateway="10.5.0.1")
    service.create(creation.Request("net", pools=(pool,), options={BRIDGE_NAME: "lan0"}))
    assert addresses(lab, "lan0") == ["10.5.0.9/24", "10.5.0.1/24"]
    with pytest.raises(NetworkForbiddenError, match="networks have same bridge name"):
        service.create(creation.Request("more", options={BRIDGE_NAME: "lan0"}))
    with pytest.raises(NetworkConfigError, match="existing interface veth0 is not a bridge"):
        service.create(creation.Request("more", options={BRIDGE_NAME: "veth0"}))
    service.remove("net")
    assert addresses(lab, "lan0") == ["10.5.0.9/24"]
