"""/etc/hosts and /etc/resolv.conf."""

import pytest

from rundlet.network.errors import InvalidAddressError
from rundlet.network.etc_files import (
    HostEntry,
    ResolverOptions,
    dots_wanted,
    host_network_hosts,
    hostname,
    hosts,
    parse_extra_host,
    resolv_conf,
)

NONE = ResolverOptions()


def test_hosts() -> None:
    assert hosts(["172.17.0.2"], "web", extra=[HostEntry("db", "10.0.0.9")]) == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "172.17.0.2\tweb\n"
    )
    assert hosts(["172.17.0.2"], "web", domain="example.org").endswith("172.17.0.2\tweb.example.org web\n")
    assert hosts(["172.17.0.2"], "web.example.org").endswith("172.17.0.2\tweb.example.org web\n")
    assert "web" not in hosts([], "web")
    assert hostname("web") == "web\n"
    assert host_network_hosts("127.0.0.1 localhost", [HostEntry("db", "::2")]) == "127.0.0.1 localhost\n::2\tdb\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("db:10.0.0.9", ("db", "10.0.0.9")),
        ("db=10.0.0.9", ("db", "10.0.0.9")),
        ("db:::1", ("db", "::1")),
        ("db=[::1]", ("db", "::1")),
        ("host.docker.internal:host-gateway", ("host.docker.internal", "172.17.0.1")),
    ],
)
def test_extra_hosts(value: str, expected: tuple[str, str]) -> None:
    assert parse_extra_host(value, ("172.17.0.1",)) == [HostEntry(*expected)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("db", 'bad format for add-host: "db"'),
        (":10.0.0.1", 'bad format for add-host: ":10.0.0.1"'),
        ("db:x", 'invalid IP address in add-host: "x"'),
        ("db:", 'invalid IP address in add-host: ""'),
        ("db:host-gateway", "unable to derive the IP value for host-gateway"),
    ],
)
def test_bad_extra_hosts(value: str, message: str) -> None:
    with pytest.raises(InvalidAddressError) as caught:
        parse_extra_host(value, ())
    assert str(caught.value) == message


def test_resolvers_on_loopback_are_out_of_reach() -> None:
    host = "# a comment\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch a b\noptions edns0\n"
    assert resolv_conf(host, NONE) == "nameserver 192.0.2.1\nsearch a b\noptions edns0\n"
    assert resolv_conf(host, NONE, own_loopback=False).startswith("nameserver 127.0.0.53\nnameserver 192.0.2.1\n")
    assert resolv_conf("nameserver ::1\nnameserver 127.0.0.1\n", NONE) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert resolv_conf("", NONE) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_what_the_user_chose() -> None:
    host = "nameserver 192.0.2.1\nsearch old\nsearch a\n"
    chosen = ResolverOptions(("127.0.0.1", "9.9.9.9"), ("x", "y"), ("ndots:2",))
    assert resolv_conf(host, chosen) == "nameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch x y\noptions ndots:2\n"
    assert resolv_conf(host, ResolverOptions(search=(".",))) == "nameserver 192.0.2.1\n"
    assert resolv_conf(host, NONE) == "nameserver 192.0.2.1\nsearch a\n"
    with pytest.raises(InvalidAddressError, match="invalid IP address: x"):
        resolv_conf(host, ResolverOptions(("x",)))


@pytest.mark.parametrize(
    ("host", "options", "wanted"),
    [
        ("", (), False),
        ("options ndots:5 rotate\n", (), True),
        ("options rotate\n", (), False),
        ("options ndots:5\n", ("rotate",), False),
        ("", ("ndots:1",), True),
        ("", ("ndots:0",), False),
        ("", ("ndots:x",), False),
    ],
)
def test_whether_dots_are_wanted(host: str, options: tuple[str, ...], wanted: bool) -> None:
    assert dots_wanted(host, ResolverOptions(options=options)) is wanted
