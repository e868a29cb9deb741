"""Subnets and addresses."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rundlet.network import ipam
from rundlet.network.errors import AddressInUseError, InvalidAddressError, NoFreeSubnetError, PoolExhaustedError
from rundlet.network.networks import Subnet
from rundlet.util.database import Database

SMALL = Subnet("10.0.0.0/29", "10.0.0.1")


@pytest.fixture
def database():
    database = Database.open(":memory:", [ipam.SCHEMA])
    yield database
    database.close()


def give(database: Database, owner: str, pool: Subnet = SMALL, requested: str | None = None) -> str:
    with database.transaction() as cursor:
        return ipam.allocate(cursor, "net", pool, owner, requested=requested)


def take(database: Database, address: str) -> None:
    with database.transaction() as cursor:
        number = int(ipaddress.IPv4Address(address))
        cursor.execute("DELETE FROM ipam_addresses WHERE address = ?", (number,))


def test_round_robin(database: Database) -> None:
    assert [give(database, name) for name in "ab"] == ["10.0.0.2", "10.0.0.3"]
    take(database, "10.0.0.2")
    assert [give(database, name) for name in "cde"] == ["10.0.0.4", "10.0.0.5", "10.0.0.6"]
    assert give(database, "f") == "10.0.0.2"
    with pytest.raises(PoolExhaustedError):
        give(database, "g")


def test_a_requested_address(database: Database) -> None:
    assert give(database, "a", requested="10.0.0.3") == "10.0.0.3"
    assert [give(database, name) for name in "bc"] == ["10.0.0.2", "10.0.0.4"]
    for taken in ("10.0.0.3", "10.0.0.1"):
        with pytest.raises(AddressInUseError):
            give(database, "d", requested=taken)
    for outside in ("10.0.0.0", "10.0.0.7", "10.0.1.1", "nonsense"):
        with pytest.raises(InvalidAddressError):
            give(database, "d", requested=outside)


def test_a_gateway_in_the_middle_is_never_given(database: Database) -> None:
    pool = Subnet("10.0.0.0/29", "10.0.0.3")
    assert [give(database, name, pool) for name in "abcde"] == [f"10.0.0.{n}" for n in (1, 2, 4, 5, 6)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(1, 14)), max_size=60))
def test_no_address_is_ever_given_twice(steps: list[int | None]) -> None:
    """None allocates; a number frees that host's address."""
    database = Database.open(":memory:", [ipam.SCHEMA])
    pool = Subnet("10.0.0.0/28", "10.0.0.14")
    held: set[str] = set()
    for step in steps:
        if step is None:
            if len(held) == 13:
                with pytest.raises(PoolExhaustedError):
                    give(database, "x", pool)
                continue
            address = give(database, "x", pool)
            assert address not in held and address != pool.gateway
            assert ipaddress.ip_address(address) in ipaddress.ip_network(pool.subnet)
            held.add(address)
        elif f"10.0.0.{step}" in held:
            take(database, f"10.0.0.{step}")
            held.discard(f"10.0.0.{step}")
    database.close()


def test_pools_are_dockers() -> None:
    found = [str(subnet) for subnet in ipam.candidates()]
    assert found[:4] == ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]
    assert found[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert len(found) == 31


def test_a_subnet_overlaps_with_nothing() -> None:
    taken = [ipaddress.ip_network("172.17.0.0/16"), ipaddress.ip_network("172.18.200.0/24")]
    assert str(ipam.choose_subnet(taken)) == "172.19.0.0/16"
    with pytest.raises(NoFreeSubnetError):
        ipam.choose_subnet([ipaddress.ip_network("0.0.0.0/0")])


def test_bip() -> None:
    subnet, gateway = ipam.parse_bip("192.168.5.9/24")
    assert (str(subnet), gateway) == ("192.168.5.0/24", "192.168.5.9")
    for wrong in ("192.168.5.1", "192.168.5.0/24", "192.168.5.1/31", "x/24", "", "fd00::1/64"):
        with pytest.raises(InvalidAddressError, match="invalid CIDR address"):
            ipam.parse_bip(wrong)


SIX = Subnet("fd00::/126", "fd00::1")


def test_ipv6_addresses(database: Database) -> None:
    assert [give(database, name, SIX) for name in "ab"] == ["fd00::2", "fd00::3"]
    with pytest.raises(PoolExhaustedError, match="no available IPv6 addresses"):
        give(database, "c", SIX)
    wide = Subnet("fd01::/48", "fd01::1", "fd01::8000:0:0:0/66")
    assert give(database, "d", wide) == "fd01::8000:0:0:0"
    assert give(database, "e", wide, requested="fd01::FFFF:ffff:ffff:ffff") == "fd01::ffff:ffff:ffff:ffff"
    with pytest.raises(AddressInUseError):
        give(database, "f", wide, requested="fd01:0::ffff:ffff:ffff:ffff")
    assert give(database, "g", wide) == "fd01::8000:0:0:1"
    with pytest.raises(InvalidAddressError):
        give(database, "h", wide, requested="10.0.0.3")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_no_ipv6_address_is_given_twice(steps: list[tuple[bool, int]]) -> None:
    database = Database.open(":memory:", [ipam.SCHEMA, ("CREATE TABLE endpoints (id TEXT)",)])
    pool = Subnet("fd00::/123", "fd00::1")
    have: list[str] = []
    for add, which in steps:
        if add or not have:
            try:
                address = give(database, "x", pool)
            except PoolExhaustedError:
                assert len(have) == 30
                continue
            assert address not in have
            have.append(address)
        else:
            gone = have.pop(which % len(have))
            with database.transaction() as cursor:
                ipam.free(cursor, [("net", gone)])
    assert sorted(ipam.ownerless(database)) == sorted(("net", address) for address in have)
    database.close()


def test_an_engines_own_ipv6_pool() -> None:
    pool, size = ipam.local_pool("0123abcd")
    network = ipaddress.IPv6Network(pool)
    assert network.prefixlen == 48 and size == 64
    assert network.subnet_of(ipaddress.IPv6Network("fd00::/8"))
    assert pool != ipam.local_pool("0123abce")[0]
    assert str(ipam.choose_subnet([next(network.subnets(new_prefix=64))], [(pool, size)])) != str(network)


def test_an_address_of_a_hardware_address(database: Database) -> None:
    pool, mac = Subnet("2001:db8:1::/64", "2001:db8:1::1"), "aa:bb:cc:dd:ee:ff"

    def made(mac: str, pool: Subnet = pool) -> str:
        with database.transaction() as cursor:
            return ipam.of_mac(cursor, "net", pool, mac)

    assert made(mac) == "2001:db8:1::aabb:ccdd:eeff"
    give(database, "one", pool, requested=made(mac))
    assert made(mac) == ""  # somebody has it
    assert made("") == made("00:00:00:00:00:01") == ""  # the gateway's
    assert made(mac, Subnet("2001:db8:1::/96", "2001:db8:1::1")) == ""
