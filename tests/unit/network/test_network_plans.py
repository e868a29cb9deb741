"""Modes, plans, the records of networks, and which chains and subnets of others matter."""

import ipaddress

import pytest

from rundlet.errors import InvalidParameterError
from rundlet.linux import nft
from rundlet.linux.netlink import Address, Route
from rundlet.linux.nft import ChainInfo
from rundlet.network import networks
from rundlet.network.bridge import bridge_name, mac_of
from rundlet.network.endpoint import Endpoint, host_name
from rundlet.network.errors import NetworkNotFoundError
from rundlet.network.foreign import Chain, blocking_chains
from rundlet.network.networks import ADVERTISED, ADVERTISED_MS, MTU, Network, NetworkStore, bridge_options
from rundlet.network.sandbox import Mode, Sandbox, parse_mode, plan
from rundlet.network.subnets import occupied
from rundlet.util.database import Database


class Clock:
    def now_ns(self) -> int:
        return 7

    def monotonic(self) -> float:
        return 0.0


def test_modes() -> None:
    assert parse_mode("") == parse_mode("default") == parse_mode("bridge") == Mode("network", "bridge")
    assert parse_mode("host") == Mode("host")
    assert parse_mode("none") == Mode("none")
    assert parse_mode("mine") == Mode("network", "mine")
    assert parse_mode("container:abc") == Mode("container", "abc")
    with pytest.raises(InvalidParameterError):
        parse_mode("container:")


def test_names_fit_the_kernel() -> None:
    assert bridge_name("0123abcd", "bridge") == "rd0123-bridge"
    assert len(bridge_name("0123abcd", "a" * 40)) == 15
    assert host_name("0123abcd", "f" * 64) == "rv0123-ffffffff"
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_the_shims_plan() -> None:
    made = Endpoint("ef" * 32, "c", "n", "web", "172.17.0.2", 16, "172.17.0.1", "02:42:ac:11:00:02", leads=(4,))
    network = Network("n", "bridge", "bridge", 0, options={MTU: "1400"}, bridge="rd0123-bridge")
    spec = plan("0123abcd", [(made, network)]).spec()
    assert spec["mode"] == "new"
    assert spec["links"] == [
        {
            "bridge": "rd0123-bridge",
            "host_name": "rv0123-efefefef",
            "name": "eth0",
            "mac": "02:42:ac:11:00:02",
            "mtu": 1400,
            "addresses": ["172.17.0.2/16"],
            "isolated": False,
            "hairpin": True,
            "large": True,
        }
    ]
    assert spec["routes"] == [{"dst": "0.0.0.0/0", "gateway": "172.17.0.1"}]
    nothing = {"mode": "none", "join": "", "links": [], "routes": [], "sysctls": {}, "resolver": ""}
    assert Sandbox("none").spec() == nothing


@pytest.mark.parametrize(
    ("driver", "mac", "options", "told"),
    [
        ("bridge", "02:42:ac:11:00:02", {}, None),
        ("bridge", "02:42:00:00:00:01", {}, [3, 1000]),
        ("bridge", "02:42:ac:11:00:02", {ADVERTISED_MS: "100"}, [3, 100]),
        ("bridge", "02:42:00:00:00:01", {ADVERTISED: "0"}, None),
        ("macvlan", "02:42:ac:11:00:02", {}, [3, 1000]),
        ("macvlan", "02:42:ac:11:00:02", {ADVERTISED: "1", ADVERTISED_MS: "2000"}, [1, 2000]),
        ("ipvlan", "", {}, [3, 1000]),
        ("ipvlan", "", {"ipvlan_mode": "l3s", ADVERTISED: "2"}, None),
    ],
)
def test_which_neighbours_are_told(driver: str, mac: str, options: dict[str, str], told: object) -> None:
    made = Endpoint("ef" * 32, "c", "n", "web", "172.17.0.2", 16, "172.17.0.1", mac)
    network = Network("n", "lan", driver, 0, options=options, bridge="rd0123-lan", parent="eth0")
    (link,) = plan("0123abcd", [(made, network)]).links
    assert link.get("announce") == told


def test_the_three_networks_are_made_once() -> None:
    database = Database.open(":memory:", [networks.SCHEMA])
    store = NetworkStore(database, Clock())
    store.ensure_defaults(bridge_options("rd0123-bridge", 1500))
    first = store.all()
    store.ensure_defaults(bridge_options("other", 1500))
    assert store.all() == first
    assert [(n.name, n.driver) for n in first] == [("bridge", "bridge"), ("host", "host"), ("none", "null")]
    assert store.find("bridge").bridge == "rd0123-bridge"
    assert store.find(first[0].id[:10]) == first[0]
    for wrong in ("x", ""):
        with pytest.raises(NetworkNotFoundError, match=f"^network {wrong} not found$"):
            store.find(wrong)
    database.close()


def chain(table: str, name: str, *, hook: int | None = nft.HOOK_FORWARD, policy: int = 0, family: int = 2) -> ChainInfo:
    return ChainInfo(family, table, name, hook, policy)


def test_which_chains_need_an_exception() -> None:
    chains = [
        chain("filter", "FORWARD"),
        chain("filter", "DOCKER-USER", hook=None, policy=1),
        chain("filter", "INPUT", hook=nft.HOOK_INPUT),
        chain("open", "forward", policy=1),
        chain("closed", "forward", family=nft.FAMILY_INET),
        chain("filter", "FORWARD", family=nft.FAMILY_IPV6),
        chain("rundlet_beefbeef", "forward"),
        chain("firewalld", "filter_FORWARD", policy=1, family=nft.FAMILY_INET),
    ]
    assert blocking_chains(chains) == [
        Chain(nft.FAMILY_IPV4, "filter", "DOCKER-USER"),
        Chain(nft.FAMILY_INET, "closed", "forward"),
        Chain(nft.FAMILY_INET, "firewalld", "filter_FORWARD"),
    ]


def test_what_a_subnet_must_keep_off() -> None:
    routes = [
        Route("0.0.0.0/0", "192.0.2.1", 2, 254),
        Route("0.0.0.0/1", "", 9, 254),
        Route("172.17.0.0/16", "", 7, 254),
        Route("172.18.0.0/16", "", 3, 254),
        Route("172.16.0.0/12", "192.0.2.1", 2, 254),
    ]
    addresses = [Address(7, "172.17.0.1", 16), Address(2, "192.0.2.2", 24)]
    near = occupied(routes, addresses, ["10.1.1.1", "fd00::1"], own=7, distant=False)
    assert [str(n) for n in near] == ["172.18.0.0/16", "192.0.2.0/24", "10.1.1.1/32", "fd00::1/128"]
    far = occupied(routes, addresses, [], own=7, distant=True)
    assert ipaddress.ip_network("172.16.0.0/12") in far
