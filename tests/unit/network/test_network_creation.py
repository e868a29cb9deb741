"""What may be asked of a new network."""

import ipaddress
from typing import cast

import msgspec
import pytest

from rundlet.errors import RundletError
from rundlet.linux.netlink import Netlink
from rundlet.network import creation, ipam, sandbox
from rundlet.network.creation import Pool, Request
from rundlet.network.endpoint import Endpoint
from rundlet.network.errors import NetworkConfigError, NetworkDriverError, NetworkForbiddenError, PoolOverlapError
from rundlet.network.names import Server, servers
from rundlet.network.networks import (
    ADVERTISED,
    ADVERTISED_MS,
    DEFAULT_MARK,
    ENABLE4,
    ENABLE6,
    GATEWAY_MODE6,
    ICC,
    INTERFACE_PREFIX,
    MASQUERADE,
    MTU,
    Network,
    Subnet,
)
from rundlet.network.parents import ParentDriver, vlan
from rundlet.util.database import Database


@pytest.mark.parametrize(
    "request_",
    [
        Request("a"),
        Request("a b"),
        Request("a", pools=(Pool("10.0.0.0/24", "10.0.0.128/25", "10.0.0.1", {"r": "10.0.0.9"}),)),
        Request(
            "a", "macvlan", (Pool("10.0.0.0/24"), Pool("10.0.1.0/24")), {"parent": "eth0.5", "macvlan_mode": "vepa"}
        ),
        Request("a", "ipvlan", options={"ipvlan_mode": "l3", "ipvlan_flag": "private"}),
        Request("a", options={ICC: "false", MASQUERADE: "0", MTU: "9000", INTERFACE_PREFIX: "net"}),
        Request("a", config_only=True, pools=(Pool("10.0.0.0/24"), Pool("10.0.1.0/24"))),
        Request("a", config_from="b"),
        Request("a", options={"x": "y", "parent": "kept"}),
        Request("a", pools=(Pool("10.0.0.0/24"), Pool("fd00::/64"), Pool("fd01::/64"))),
    ],
)
def test_what_is_fine(request_: Request) -> None:
    creation.check(request_)


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (Request(" "), 400, "name is empty"),
        (Request("bridge"), 403, "operation is not permitted on predefined bridge network"),
        (Request("a", "host"), 403, 'only one instance of "host" network is allowed'),
        (Request("a", "overlay"), 503, "This node is not a swarm manager"),
        (Request("a", "nope"), 404, 'plugin "nope" not found'),
        (Request("a", options={ADVERTISED_MS: "99"}), 400, f"{ADVERTISED_MS} must be in the range 100 to 2000"),
        (Request("a", "macvlan", options={ADVERTISED_MS: "2001"}), 400, f"{ADVERTISED_MS} must be in the range 100 to"),
        (Request("a", options={ADVERTISED: "4"}), 400, f"{ADVERTISED} must be in the range 0 to 3"),
        (Request("a", options={ADVERTISED: "-1"}), 400, f"{ADVERTISED} must be in the range 0 to 3"),
        (Request("a", options={ADVERTISED: "x"}), 400, f'value for option {ADVERTISED} "x" must be an integer'),
        (Request("a", options={ADVERTISED_MS: "x"}), 400, f'option {ADVERTISED_MS} "x" must be integer milliseconds'),
        (Request("a", options={DEFAULT_MARK: "true"}), 403, "the network bridge alone is the default one"),
        (
            Request("a", "macvlan", options={"macvlan_mode": "odd"}),
            400,
            "requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (
            Request("a", "ipvlan", options={"ipvlan_flag": "odd"}),
            400,
            "requested ipvlan flag 'odd' is not valid, 'bridge' is the ipvlan driver default",
        ),
        (Request("a", "ipvlan", options={"parent": "lo"}), 400, "loopback interface is not a valid ipvlan parent link"),
        (
            Request("a", options={GATEWAY_MODE6: "odd"}),
            400,
            f"failed to parse {GATEWAY_MODE6} value: odd (unknown gateway mode odd)",
        ),
        (Request("a", options={MTU: "much"}), 400, '(strconv.Atoi: parsing "much": invalid syntax)'),
        (Request("a", options={MTU: "-1"}), 400, "failed to parse com.docker.network.driver.mtu value: -1"),
        (Request("a", options={ICC: "perhaps"}), 400, '(strconv.ParseBool: parsing "perhaps": invalid syntax)'),
        (Request("a", options={INTERFACE_PREFIX: "et.h"}), 400, "failed to parse"),
        (Request("a", pools=(Pool("10.0.0.0/24"), Pool("10.1.0.0/24"))), 403, "doesn't support multiple subnets"),
        (Request("a", pools=(Pool(gateway="10.0.0.1"),)), 400, "config:\ninvalid subnet : invalid CIDR"),
        (Request("a", ipv4=False), 400, "IPv4 or IPv6 must be enabled"),
        (Request("a", pools=(Pool("10.0.0.1/24"),)), 400, "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"),
        (Request("a", pools=(Pool("10.0.0.0"),)), 400, "invalid subnet 10.0.0.0: invalid CIDR block notation"),
        (Request("a", pools=(Pool("10.0.0.0/24", "10.1.0.0/25"),)), 400, "parent subnet 10.0.0.0/24 doesn't contain"),
        (Request("a", pools=(Pool("10.0.0.0/24", gateway="10.1.0.1"),)), 400, "doesn't contain this address"),
        (Request("a", pools=(Pool("10.0.0.0/24", gateway="odd"),)), 400, "invalid gateway odd: invalid address"),
        (Request("a", config_only=True, internal=True), 403, "can only contain network specific fields"),
        (Request("a", config_only=True, config_from="b"), 403, "cannot depend on another configuration network"),
        (Request("a", config_from="b", options={MTU: "1400"}), 403, "network driver options are not supported if"),
        (Request("a", config_from="b", ipam_options={"a": "b"}), 403, "user specified configurations are not"),
        (Request("a", config_from="b", ipv6=True), 403, "user specified configurations are not"),
        (Request("a", config_from="b", ipv4=False), 403, "user specified configurations are not"),
        (Request("a", pools=(Pool("10.0.0.0/24", auxiliary={"n": "odd"}),)), 400, "invalid auxiliary address n: inv"),
    ],
)
def test_what_is_refused(request_: Request, status: int, message: str) -> None:
    with pytest.raises(RundletError) as caught:
        creation.check(request_)
    assert caught.value.status == status
    assert message in str(caught.value)


def test_pools_share_no_address() -> None:
    have = [Network("n", "n", "bridge", 0, (Subnet("10.0.0.0/16", "10.0.0.1"),))]
    creation.pool_overlaps([Subnet("10.1.0.0/16", "")], have)
    for wanted in ([Subnet("10.0.5.0/24", "")], [Subnet("10.2.0.0/16", ""), Subnet("10.2.1.0/24", "")]):
        with pytest.raises(PoolOverlapError, match="Pool overlaps with other one on this address space"):
            creation.pool_overlaps(wanted, have)


def test_the_gateway_is_the_first_address_that_nobody_keeps() -> None:
    assert creation.subnet(Pool("10.0.0.0/24"), None, gateway=True).gateway == "10.0.0.1"
    kept = Pool("10.0.0.0/24", auxiliary={"r": "10.0.0.1"})
    assert creation.subnet(kept, None, gateway=True).gateway == "10.0.0.2"
    assert creation.subnet(Pool("10.0.0.0/24"), None, gateway=False).gateway == ""
    chosen = creation.subnet(Pool(), ipaddress.IPv4Network("172.20.0.0/16"), gateway=True)
    assert (chosen.subnet, chosen.gateway, chosen.requested) == ("172.20.0.0/16", "172.20.0.1", False)


def test_addresses_come_from_the_range_and_keep_off_the_auxiliary() -> None:
    database = Database.open(":memory:", [ipam.SCHEMA])
    pool = Subnet("10.0.0.0/24", "10.0.0.1", "10.0.0.128/29", {"r": "10.0.0.129"})
    with database.transaction() as cursor:
        found = [ipam.allocate(cursor, "n", pool, f"o{n}") for n in range(7)]
        assert found == [f"10.0.0.{n}" for n in (128, 130, 131, 132, 133, 134, 135)]
        assert ipam.allocate_from(cursor, "n", [pool], "x", requested="10.0.0.50") == ("10.0.0.50", pool)
        second = Subnet("10.0.1.0/31", "")
        assert ipam.allocate_from(cursor, "n", [pool, second], "y")[0] == "10.0.1.0"
    database.close()


def joined(
    identifier: str, name: str, gateway: str, priority: int = 0, *, internal: bool = False
) -> tuple[Endpoint, Network]:
    endpoint = Endpoint(identifier, "c", name, "c", "10.0.0.2", 24, gateway, "", gw_priority=priority)
    return endpoint, Network(name, name, "bridge", 0, internal=internal)


def test_the_way_out() -> None:
    pairs = [joined("1", "b", "g"), joined("2", "a", "g"), joined("3", "z", "g", 1), joined("4", "y", "", 9)]
    assert sandbox.choose_gateways(pairs) == {4: "3"}
    assert sandbox.choose_gateways(pairs[:2]) == {4: "2"}
    assert sandbox.choose_gateways(pairs[3:]) == {}
    assert sandbox.choose_gateways([joined("5", "a", "g", internal=True)]) == {}


def test_the_ways_out_of_two_families() -> None:
    def v6(pair: tuple[Endpoint, Network], *, alone: bool) -> tuple[Endpoint, Network]:
        only = {"address": "", "gateway": ""} if alone else {}
        return msgspec.structs.replace(pair[0], address6="fd00::2", gateway6="fd00::1", **only), pair[1]

    four, six = joined("1", "b", "g"), v6(joined("2", "a", "g"), alone=True)
    assert sandbox.choose_gateways([four, six]) == {4: "1", 6: "2"}
    both = v6(joined("3", "c", "g"), alone=False)
    assert sandbox.choose_gateways([four, six, both]) == {4: "3", 6: "3"}
    urgent = joined("4", "d", "g", 7)
    assert sandbox.choose_gateways([four, six, both, urgent]) == {4: "4", 6: "3"}


def test_vlans() -> None:
    assert vlan("eth0.10") == ("eth0", 10)
    assert vlan("bond0.4094") == ("bond0", 4094)
    for name in ("eth0", "eth0.", ".5", "eth0.x", "eth0.4095", "eth0.0"):
        assert vlan(name) == ("", 0)


def test_who_is_asked_from_where() -> None:
    found = servers(["192.0.2.1", "127.0.0.53", "2001:db8::1", "fe80::1%eth0", "odd"], chosen=False)
    assert found == (Server("192.0.2.1"), Server("127.0.0.53", True), Server("2001:db8::1", True))
    assert servers(["127.0.0.1"], chosen=True) == (Server("127.0.0.1"),)


def test_drivers_that_others_have_are_named() -> None:
    with pytest.raises(NetworkDriverError, match="weave"):
        creation.check(Request("a", "weave"))


@pytest.mark.parametrize(
    ("asked", "options", "families", "kept"),
    [
        ((None, None), {}, (True, False), {}),
        ((None, None), {ENABLE4: "0", ENABLE6: "true"}, (False, True), {ENABLE4: "0", ENABLE6: "true"}),
        ((True, None), {ENABLE4: "0", ENABLE6: "true"}, (True, True), {ENABLE6: "true"}),
        ((None, False), {ENABLE6: "true"}, (True, False), {}),
    ],
)
def test_families_by_option(
    asked: tuple[bool | None, bool | None],
    options: dict[str, str],
    families: tuple[bool, bool],
    kept: dict[str, str],
) -> None:
    """What a request overrules is not shown as if it held."""
    found = creation.normalised(Request("a", options=options, ipv4=asked[0], ipv6=asked[1]))
    assert (found.ipv4, found.ipv6) == families
    assert found.options == kept


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "invalid subinterface vlan name gone, example formatting is eth0.10"),
        ("gone.10", "-o parent interface was not found on the host: gone"),
        ("a.b.10", "-o parent interface was not found on the host: a.b"),
        ("gone.x", "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
        ("gone.4095", "vlan id must be between 1-4094, received: 4095"),
        ("a.b.c", "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received a.b.c"),
    ],
)
def test_parents_that_cannot_be_made(name: str, message: str) -> None:
    class Nothing:
        def link(self, _name: str) -> None:
            return None

    network = Network("n", "n", "macvlan", 0, options={"parent": name}, parent=name)
    with pytest.raises(NetworkConfigError) as caught:
        ParentDriver(cast(Netlink, Nothing())).ensure(network)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("driver", "mode", "other_mode", "message"),
    [
        ("macvlan", "", "", ""),
        ("macvlan", "bridge", "private", ""),
        (
            "macvlan",
            "passthru",
            "",
            "cannot use mode passthru, macvlan network one is already using parent interface eth0",
        ),
        ("macvlan", "", "passthru", "macvlan network one is already using parent interface eth0 in mode passthru"),
        ("ipvlan", "", "", "network one is already using parent interface eth0"),
    ],
)
def test_who_shares_a_parent(driver: str, mode: str, other_mode: str, message: str) -> None:
    one = Network("1", "one", driver, 0, parent="eth0", options={f"{driver}_mode": other_mode})
    two = Network("2", "two", driver, 0, options={f"{driver}_mode": mode, "parent": "eth0"})
    creation.check_shared(two, [])
    if not message:
        creation.check_shared(two, [one])
        return
    with pytest.raises(NetworkForbiddenError) as caught:
        creation.check_shared(two, [one])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("mode", "routes"), [("l2", ()), ("", ()), ("l3", ({"dst": "0.0.0.0/0", "interface": "eth0"},))]
)
def test_ipvlan_without_a_router(mode: str, routes: object) -> None:
    network = Network("n", "n", "ipvlan", 0, options={"ipvlan_mode": mode}, parent="eth0")
    made = Endpoint("e", "c", "n", "c", "10.0.0.2", 24, "", "")
    chosen = sandbox.choose_gateways([(made, network)])
    assert chosen == ({4: "e"} if routes else {})
    led = msgspec.structs.replace(made, leads=tuple(chosen))
    assert sandbox.default_routes([(led, network)]) == routes
