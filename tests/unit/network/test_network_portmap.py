"""What users write after -p, and what the API sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.errors import InvalidParameterError, RundletError
from rundlet.network.portmap import (
    PortRequest,
    PublishedPort,
    Reach,
    TakenPorts,
    parse_container_port,
    parse_port_spec,
    requests_for_exposed,
    requests_from_bindings,
)
from rundlet.network.rejoining import still_wanted


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("80", [PortRequest("tcp", 80)]),
        ("8080:80", [PortRequest("tcp", 80, "", 8080, 8080)]),
        ("0:80", [PortRequest("tcp", 80)]),
        ("8080:80/udp", [PortRequest("udp", 80, "", 8080, 8080)]),
        ("8080:80/TCP", [PortRequest("tcp", 80, "", 8080, 8080)]),
        ("127.0.0.1:8080:80", [PortRequest("tcp", 80, "127.0.0.1", 8080, 8080)]),
        ("127.0.0.1::80", [PortRequest("tcp", 80, "127.0.0.1")]),
        (":8080:80", [PortRequest("tcp", 80, "", 8080, 8080)]),
        ("80-81", [PortRequest("tcp", 80), PortRequest("tcp", 81)]),
        ("8000-8010:80", [PortRequest("tcp", 80, "", 8000, 8010)]),
        (
            "8000-8001:80-81",
            [PortRequest("tcp", 80, "", 8000, 8000), PortRequest("tcp", 81, "", 8001, 8001)],
        ),
    ],
)
def test_specs(spec: str, expected: list[PortRequest]) -> None:
    assert parse_port_spec(spec) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "no port specified: <empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("abc", "invalid containerPort: abc"),
        ("0", "invalid containerPort: 0"),
        ("65536", "invalid containerPort: 65536"),
        ("80-79", "invalid containerPort: 80-79"),
        ("x:80", "invalid hostPort: x"),
        ("70000:80", "invalid hostPort: 70000"),
        ("127.0.0.1:80", "invalid hostPort: 127.0.0.1"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("80/icmp", "invalid proto: icmp"),
        ("80-82:90-91", "invalid ranges specified for container and host Ports: 90-91 and 80-82"),
        ("1:2:3:4", "invalid containerPort: 1:2:3:4"),
        ("٨٠", "invalid containerPort: ٨٠"),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_port_spec(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("[::1]:8080:80", PortRequest("tcp", 80, "::1", 8080, 8080)),
        ("[::]:80:80", PortRequest("tcp", 80, "::", 80, 80)),
        ("[2001:db8:0::1]::80/udp", PortRequest("udp", 80, "2001:db8::1")),
        ("80/sctp", PortRequest("sctp", 80)),
    ],
)
def test_ipv6_and_sctp(spec: str, expected: PortRequest) -> None:
    assert parse_port_spec(spec) == [expected]


@pytest.mark.parametrize(
    ("reach", "host", "expected"),
    [
        (Reach(host_v6=True), "", ["0.0.0.0", "::"]),
        (Reach(host_v6=True, proxy=False), "", ["0.0.0.0"]),
        (Reach(host_v6=False), "", ["0.0.0.0"]),
        (Reach("nat", "nat", proxy=False, host_v6=True), "", ["0.0.0.0", "::"]),
        (Reach("", "nat", host_v6=True), "", ["::"]),
        (Reach("routed", "nat", host_v6=True), "", ["::"]),
        (Reach("routed", "routed", host_v6=True), "", []),
        (Reach("nat", "routed", host_v6=True), "", ["0.0.0.0"]),
        (Reach(host_v6=True), "::1", ["::1"]),
        (Reach(host_v6=True), "2001:db8::1", ["2001:db8::1"]),
        (Reach("nat", "nat", proxy=False), "2001:db8::1", ["2001:db8::1"]),
    ],
)
def test_which_addresses_a_port_is_held_on(reach: Reach, host: str, expected: list[str]) -> None:
    assert reach.addresses(PortRequest("tcp", 80, host)) == expected


@pytest.mark.parametrize(
    ("reach", "request_"),
    [
        (Reach(proxy=False), PortRequest("tcp", 80, "::1")),
        (Reach(), PortRequest("sctp", 80, "::1")),
        (Reach(proxy=False), PortRequest("tcp", 80, "2001:db8::1")),
        (Reach("", "nat"), PortRequest("tcp", 80, "127.0.0.1")),
    ],
)
def test_a_chosen_address_without_a_way_to_the_container(reach: Reach, request_: PortRequest) -> None:
    with pytest.raises(RundletError, match="the container can't be reached from there"):
        reach.addresses(request_)


def test_routed_ports_are_open_at_the_container() -> None:
    assert Reach("routed", "routed").opened(PortRequest("tcp", 80)) == [4, 6]
    assert Reach("routed", "nat").opened(PortRequest("tcp", 80, "0.0.0.0")) == [4]
    assert Reach("nat", "routed").opened(PortRequest("tcp", 80, "127.0.0.1")) == []


def test_what_the_proxy_answers() -> None:
    both, only4 = Reach("nat", "nat"), Reach("nat", "")
    assert both.proxied(PublishedPort("tcp", 80, "::", 80)) and both.proxied(PublishedPort("tcp", 80, "::1", 80))
    assert not both.proxied(PublishedPort("tcp", 80, "2001:db8::1", 80))
    assert only4.proxied(PublishedPort("tcp", 80, "2001:db8::1", 80))
    assert not only4.proxied(PublishedPort("tcp", 80, "0.0.0.0", 80))
    assert not both.proxied(PublishedPort("sctp", 80, "::", 80))


@given(st.text(alphabet="0123456789:.-/[]tcpudx", max_size=24))
def test_a_spec_parses_or_is_refused_in_one_line(spec: str) -> None:
    try:
        requests = parse_port_spec(spec)
    except RundletError as error:
        assert "\n" not in str(error)
    else:
        assert all(0 < request.container_port < 65536 for request in requests)


def test_bindings() -> None:
    bindings = {"80/tcp": [("", "8080"), ("127.0.0.1", "")], "53/udp": [("", "0")], "9/tcp": None, "90": [("", "1-3")]}
    assert requests_from_bindings(bindings) == [
        PortRequest("tcp", 80, "", 8080, 8080),
        PortRequest("tcp", 80, "127.0.0.1"),
        PortRequest("udp", 53),
        PortRequest("tcp", 90, "", 1, 3),
    ]
    with pytest.raises(InvalidParameterError, match="invalid containerPort: 80-81"):
        parse_container_port("80-81")


def test_publish_all_leaves_out_what_is_bound() -> None:
    bound = parse_port_spec("8080:80")
    assert requests_for_exposed(["80/tcp", "80/udp", "443"], bound) == [
        PortRequest("udp", 80),
        PortRequest("tcp", 443),
    ]


def test_conflicts() -> None:
    taken = TakenPorts([("tcp", 80, "0.0.0.0"), ("tcp", 81, "127.0.0.1"), ("tcp", 82, "::")])
    assert taken.conflicts(PublishedPort("tcp", 1, "127.0.0.1", 80))
    assert taken.conflicts(PublishedPort("tcp", 1, "0.0.0.0", 81))
    assert not taken.conflicts(PublishedPort("tcp", 1, "192.0.2.1", 81))
    assert not taken.conflicts(PublishedPort("tcp", 1, "::", 81))
    assert taken.conflicts(PublishedPort("tcp", 1, "::1", 82))
    assert not taken.conflicts(PublishedPort("tcp", 1, "0.0.0.0", 82))
    assert not taken.conflicts(PublishedPort("udp", 1, "0.0.0.0", 80))
    taken.add(PublishedPort("udp", 1, "0.0.0.0", 80))
    assert taken.conflicts(PublishedPort("udp", 1, "0.0.0.0", 80))


_FOUR = PublishedPort("tcp", 80, "0.0.0.0", 8080)
_SIX = PublishedPort("tcp", 80, "::", 8080)
_BOTH = Reach("nat", "nat", host_v6=True)


@pytest.mark.parametrize(
    ("spec", "reach", "have", "expected"),
    [
        ("8080:80", _BOTH, [], [PortRequest("tcp", 80, "", 8080, 8080)]),
        ("8080:80", _BOTH, [_FOUR, _SIX], []),
        ("8080:80", _BOTH, [_SIX], [PortRequest("tcp", 80, "0.0.0.0", 8080, 8080, 8080)]),
        ("8000-8100:80", _BOTH, [_FOUR], [PortRequest("tcp", 80, "::", 8000, 8100, 8080)]),
        ("80", _BOTH, [_FOUR], [PortRequest("tcp", 80, "::", 0, 0, 8080)]),
        ("8080:80", Reach("nat", ""), [_FOUR], []),
        ("127.0.0.1:8080:80", _BOTH, [], [PortRequest("tcp", 80, "127.0.0.1", 8080, 8080)]),
        ("127.0.0.1:8080:80", _BOTH, [PublishedPort("tcp", 80, "127.0.0.1", 8080)], []),
        ("127.0.0.1:8080:80", Reach("", "nat"), [PublishedPort("tcp", 80, "127.0.0.1", 8080)], []),
        ("8081:80", _BOTH, [_FOUR, _SIX], [PortRequest("tcp", 80, "", 8081, 8081)]),
        ("8080:80/udp", _BOTH, [_FOUR, _SIX], [PortRequest("udp", 80, "", 8080, 8080)]),
    ],
)
def test_what_is_still_to_be_published(
    spec: str, reach: Reach, have: list[PublishedPort], expected: list[PortRequest]
) -> None:
    assert still_wanted(parse_port_spec(spec), reach, have) == expected


def test_two_free_choices_of_one_port_are_told_apart() -> None:
    have = [_FOUR, PublishedPort("tcp", 80, "0.0.0.0", 9090)]
    wanted = still_wanted([PortRequest("tcp", 80), PortRequest("tcp", 80)], _BOTH, have)
    assert [(one.host_address, one.preferred) for one in wanted] == [("::", 8080), ("::", 9090)]
