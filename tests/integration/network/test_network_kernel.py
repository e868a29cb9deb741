"""netlink, nf_tables and conntrack against the running kernel, read back with the usual tools."""

import errno
import os
import re
import socket

import pytest
from tests.integration.network.lab import Lab, has, on_a_machine, shell

from rundlet.linux import nft, nftexpr
from rundlet.linux.conntrack import Conntrack, tracked
from rundlet.linux.netlink import DefaultRoute, Interface, Netlink, Route
from rundlet.linux.nft import Batch, Element, Nft
from rundlet.network.firewall import BridgeNetwork, BridgeSubnet, Firewall, LinkedPort, Publication
from rundlet.runtime.shim import resolver


@on_a_machine
def test_a_container_is_plugged_in_with_two_sends(lab: Lab) -> None:
    rtnl = lab.rtnl
    rtnl.create_bridge("br", mac="02:42:0a:00:00:01", mtu=1400)
    rtnl.configure("br", ["10.0.0.1/24", "fd00::1/64"])
    assert rtnl.link("br")._replace(ifindex=0) == (0, "br", True, 1400, "02:42:0a:00:00:01", "bridge", 0)
    namespace = lab.namespace()
    rtnl.create_veth("host0", "br", namespace, "eth0", "02:42:0a:00:00:02", mtu=1400, isolated=True, hairpin=True)
    assert rtnl.link("host0").master == rtnl.index("br")
    details = shell("ip -d link show host0")
    assert "isolated on" in details and "hairpin on" in details
    rtnl.set_bridge_port("host0", isolated=False)
    assert "isolated off" in shell("ip -d link show host0")

    def inside() -> None:
        with Netlink() as own:
            inside = Interface("eth0", ["10.0.0.2/24", "fd00::2/64"], 1300)
            own.configure_sandbox([inside], [DefaultRoute("10.0.0.1")])
            link = own.link("eth0")
            assert (link.up, link.mtu, link.mac, link.kind) == (True, 1300, "02:42:0a:00:00:02", "veth")
            assert own.routes()[0] == Route("0.0.0.0/0", "10.0.0.1", link.ifindex, 254)
            assert "brd 10.0.0.255" in shell("ip addr show eth0")
            own.add_route("198.51.100.0/24", None, "eth0")
            assert "198.51.100.0/24" in shell("ip route")

    lab.inside(namespace, inside)
    with Netlink(namespace) as from_outside:
        assert {link.name for link in from_outside.links()} >= {"lo", "eth0"}
    assert {link.name for link in rtnl.links()} >= {"lo", "br", "host0"}, "and came back"
    rtnl.remove_address("br", "10.0.0.1/24")
    assert [a.address for a in rtnl.addresses(socket.AF_INET) if a.ifindex == rtnl.index("br")] == []
    rtnl.delete_link("host0")
    rtnl.delete_link("host0", missing_ok=True)
    assert rtnl.link("host0") is None


@on_a_machine
def test_a_failed_step_is_named_and_the_socket_goes_on(lab: Lab) -> None:
    rtnl = lab.rtnl
    rtnl.create_bridge("br")
    for step, code, action in (
        ("create bridge br", errno.EEXIST, lambda: rtnl.create_bridge("br")),
        ("delete link gone", errno.ENODEV, lambda: rtnl.delete_link("gone")),
        ("find link gone", errno.ENODEV, lambda: rtnl.create_veth("a", "gone", lab.home, "b")),
        ("add route 10.0.0.0/8 via 9.9.9.9", errno.ENETUNREACH, lambda: rtnl.add_route("10.0.0.0/8", "9.9.9.9")),
    ):
        with pytest.raises(OSError) as caught:
            action()
        assert (caught.value.filename, caught.value.errno) == (step, code)
    rtnl.set_up("br")
    assert rtnl.link("br").up


@on_a_machine
def test_a_transaction_is_all_or_nothing(lab: Lab) -> None:
    with Nft() as table:
        batch = Batch(nft.FAMILY_INET, "t")
        batch.add_table()
        batch.add_set("ports", [nft.SERVICE])
        table.commit(batch)
        batch = Batch(nft.FAMILY_INET, "t")
        batch.add_elements("ports", [Element(b"\0\x50")])
        batch.add_elements("nowhere", [Element(b"\0\x51")])
        with pytest.raises(FileNotFoundError) as caught:
            table.commit(batch)
        assert caught.value.filename == "nftables: add element to nowhere in t"
        assert table.elements(nft.FAMILY_INET, "t", "ports") == []
        batch.requests.pop()
        table.commit(batch)
        assert table.elements(nft.FAMILY_INET, "t", "ports") == [Element(b"\0\x50")]
        assert table.has_table(nft.FAMILY_INET, "t") and not table.has_table(nft.FAMILY_INET, "u")


@on_a_machine
def test_a_rule_is_added_listed_and_deleted(lab: Lab) -> None:
    with Nft() as table:
        batch = Batch(nft.FAMILY_IPV4, "t")
        batch.add_table()
        batch.add_chain("c", nft.Hook("filter", nft.HOOK_FORWARD, -5))
        batch.add_rule("c", nftexpr.verdict(nftexpr.ACCEPT), comment="second")
        batch.add_rule("c", nftexpr.counter(), nftexpr.verdict(nftexpr.DROP), comment="first", first=True)
        table.commit(batch)
        rules = table.rules(nft.FAMILY_IPV4, "t", "c")
        assert [rule.comment for rule in rules] == ["first", "second"]
        assert table.chains() == [nft.ChainInfo(nft.FAMILY_IPV4, "t", "c", nft.HOOK_FORWARD, 1)]
        batch = Batch(nft.FAMILY_IPV4, "t")
        batch.delete_rule("c", rules[0].handle)
        table.commit(batch)
        assert [rule.comment for rule in table.rules(nft.FAMILY_IPV4, "t", "c")] == ["second"]
        batch = Batch(nft.FAMILY_IPV4, "t")
        batch.delete_chain("c")
        batch.delete_table()
        table.commit(batch)
        assert table.rules(nft.FAMILY_IPV4, "t", "c") == []


WHOLE = """\
table inet rundlet_0123abcd {
	set bridges {
		type ifname
		elements = { "rd0123-routed", "rd0123-bridge" }
	}

	set internal {
		type ifname
	}

	set unprotected {
		type ifname
	}

	set unprotected6 {
		type ifname
		elements = { "rd0123-routed" }
	}

	set routed {
		type ifname
		elements = { "rd0123-routed" }
	}

	set routed6 {
		type ifname
	}

	set trusted {
		type ifname
		elements = { "eth9" }
	}

	set within {
		type ifname . ifname
		elements = { "eth9" . "rd0123-routed", "rd0123-bridge" . "rd0123-bridge" }
	}

	map entering {
		type ifname : verdict
		elements = { "rd0123-routed" : goto entering_rd0123-routed, "rd0123-bridge" : goto entering_rd0123-bridge }
	}

	set containers {
		type ipv4_addr
		flags interval
		elements = { 172.17.0.0, 172.17.0.2-172.17.255.255 }
	}

	set masqueraded {
		type ipv4_addr
		flags interval
		elements = { 172.17.0.0, 172.17.0.2-172.17.255.255 }
	}

	map published {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { tcp . 8080 : 172.17.0.2 . 80 }
	}

	map published_on {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 192.0.2.2 . udp . 53 : 172.17.0.2 . 53 }
	}

	set opened {
		type ipv4_addr . inet_proto . inet_service
		elements = { 172.18.0.2 . tcp . 80 }
	}

	set containers6 {
		type ipv6_addr
		flags interval
		elements = { fd00::, fd00::2-fd00::ffff:ffff:ffff:ffff }
	}

	set masqueraded6 {
		type ipv6_addr
		flags interval
		elements = { fd00::, fd00::2-fd00::ffff:ffff:ffff:ffff }
	}

	map published6 {
		type inet_proto . inet_service : ipv6_addr . inet_service
		elements = { sctp . 9 : fd00::2 . 9 }
	}

	map published_on6 {
		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
		elements = { 2001:db8::1 . tcp . 80 : fd00::2 . 80 }
	}

	set opened6 {
		type ipv6_addr . inet_proto . inet_service
		elements = { fd01::2 . udp . 53 }
	}

	set linked {
		type ipv4_addr . ipv4_addr . inet_proto . inet_service
		elements = { 172.17.0.3 . 172.17.0.2 . tcp . 80 }
	}

	map published_loopback {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . udp . 53 : 172.17.0.2 . 53 }
	}

	chain raw_prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname "lo" accept
		ip daddr 127.0.0.0/8 drop comment "loopback addresses are this host's alone"
		ip saddr 127.0.0.0/8 drop comment "loopback addresses are this host's alone"
		iifname @trusted accept
		iifname != @bridges ip daddr @containers drop comment "containers are reached by published ports"
		iifname != @bridges ip6 daddr @containers6 drop comment "containers are reached by published ports"
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		dnat ip to ip daddr . meta l4proto . th dport map @published_on
		meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @published
		ip6 daddr ::1 accept comment "not routed: the proxy answers"
		ip6 daddr fe80::/10 accept comment "not routed: the proxy answers"
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @published_on6
		meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . th dport map @published6
	}

	chain output {
		type nat hook output priority -100; policy accept;
		dnat ip to ip daddr . meta l4proto . th dport map @published_loopback
		dnat ip to ip daddr . meta l4proto . th dport map @published_on
		meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @published
		ip6 daddr ::1 accept comment "not routed: the proxy answers"
		ip6 daddr fe80::/10 accept comment "not routed: the proxy answers"
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @published_on6
		meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . th dport map @published6
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		iifname . oifname @within accept comment "inside a network, or trusted by it"
		iifname @internal drop comment "internal networks keep to themselves"
		oifname @internal drop comment "internal networks keep to themselves"
		oifname @bridges ct status dnat accept comment "published ports"
		ip saddr . ip daddr . meta l4proto . th dport @linked accept comment "linked containers"
		ip daddr . meta l4proto . th dport @opened accept comment "published, routed"
		oifname @routed meta l4proto icmp accept
		meta nfproto ipv4 oifname @unprotected accept
		ip6 daddr . meta l4proto . th dport @opened6 accept comment "published, routed"
		oifname @routed6 meta l4proto ipv6-icmp accept
		meta nfproto ipv6 oifname @unprotected6 accept
		oifname @bridges drop comment "not into a network"
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname vmap @entering
		ip saddr @masqueraded oifname != @bridges masquerade comment "containers leave with the host's address"
		ip6 saddr @masqueraded6 oifname != @bridges masquerade comment "containers leave with the host's address"
		ip6 saddr fd01::/64 oifname != @bridges snat ip6 to 2001:db8::1 comment "out of rd0123-routed"
	}

	chain entering_rd0123-bridge {
		ip saddr 127.0.0.0/8 masquerade
		ip saddr 172.17.0.0/16 ct status dnat masquerade comment "hairpin"
		ip6 saddr fd00::/64 ct status dnat masquerade comment "hairpin"
	}

	chain entering_rd0123-routed {
		ip saddr 127.0.0.0/8 masquerade
		ip saddr 172.18.0.0/16 ct status dnat masquerade comment "hairpin"
		ip6 saddr fd01::/64 ct status dnat masquerade comment "hairpin"
	}
}
"""


def _sorted_sets(listing: str) -> str:
    """The kernel gives a set's elements in any order."""

    def ordered(found: re.Match[str]) -> str:
        return "elements = { " + ", ".join(sorted(part.strip() for part in found[1].split(","))) + " }"

    return re.sub(r"elements = \{([^}]*)\}", ordered, listing)


@on_a_machine
def test_the_whole_table_as_nft_shows_it(lab: Lab) -> None:
    firewall = Firewall("0123abcd")
    publications = [
        Publication("tcp", "0.0.0.0", 8080, "172.17.0.2", 80),
        Publication("udp", "127.0.0.1", 53, "172.17.0.2", 53),
        Publication("udp", "192.0.2.2", 53, "172.17.0.2", 53),
        Publication("sctp", "::", 9, "fd00::2", 9),
        Publication("tcp", "2001:db8::1", 80, "fd00::2", 80),
        Publication("tcp", "::1", 81, "fd00::2", 80),
        Publication("tcp", "", 0, "172.18.0.2", 80),
        Publication("udp", "", 0, "fd01::2", 53),
    ]
    networks = [
        BridgeNetwork(
            "rd0123-bridge", (BridgeSubnet("172.17.0.0/16", "172.17.0.1"), BridgeSubnet("fd00::/64", "fd00::1"))
        ),
        BridgeNetwork(
            "rd0123-routed",
            (
                BridgeSubnet("172.18.0.0/16", "172.18.0.1", mode="routed", masquerade=False),
                BridgeSubnet("fd01::/64", "fd01::1", mode="nat-unprotected", source="2001:db8::1"),
            ),
            icc=False,
            trusted=("eth9",),
        ),
    ]
    firewall.sync(networks, publications[:1])
    firewall.publish(publications[1:])
    firewall.link([LinkedPort("172.17.0.9", "172.17.0.2", "udp", 53)])
    firewall.link([LinkedPort("172.17.0.3", "172.17.0.2", "tcp", 80)])
    assert firewall.exists()
    if has("nft"):
        assert _sorted_sets(shell("nft list table inet rundlet_0123abcd")) == _sorted_sets(WHOLE)
    firewall.unpublish(publications)
    assert firewall.nft.elements(nft.FAMILY_INET, firewall.table, "published") == []
    firewall.remove()
    assert not firewall.exists()


@on_a_machine
def test_the_way_to_the_resolver_is_made_and_made_again(lab: Lab) -> None:
    def inside() -> None:
        with Netlink() as own:
            own.set_up("lo")
        for _ in range(2):
            opened = resolver.open_sockets()
            try:
                ends = [socket.socket(fileno=os.dup(fd)) for fd in (opened.udp, opened.tcp)]
                ports = [end.getsockname()[1] for end in ends]
                for end in ends:
                    end.close()
                rules = shell("nft list table ip rundlet_names")
            finally:
                opened.close()
            targets = re.findall(r"dnat to 127\.0\.0\.11:(\d+)", rules)
            assert [int(target) for target in targets] == ports, "and none of the ones before"

    lab.inside(lab.namespace(), inside)


@on_a_machine
def test_twenty_thousand_ports_in_one_transaction(lab: Lab) -> None:
    firewall = Firewall("0123abcd")
    firewall.watch()
    many = [Publication("tcp", "0.0.0.0", 1024 + n, "172.17.0.2", 80) for n in range(20000)]
    firewall.sync([], many, close_other_forwarding=[4, 6])
    assert len(firewall.nft.elements(nft.FAMILY_INET, firewall.table, "published")) == 20000
    firewall.disturbed()
    assert firewall.disturbed() == (False, False)


@on_a_machine
def test_connections_are_listed_and_forgotten(lab: Lab) -> None:
    before = tracked()
    shell("nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'")
    server = socket.create_server(("127.0.0.1", 7001))
    client = socket.create_connection(("127.0.0.1", 7001))
    assert tracked() > before
    with Conntrack() as conntrack:
        mine = [entry for entry in conntrack.entries() if entry.original.destination_port == 7001]
        assert [(entry.original.source, entry.original.protocol) for entry in mine] == [("127.0.0.1", 6)]
        assert conntrack.forget_port(17, 7001) == 0
        assert conntrack.forget_port(6, 7001) == 1
        assert conntrack.forget_addresses({"127.0.0.9"}) == 0
        client.send(b"x")
        assert conntrack.forget_addresses({f"127.0.0.{n}" for n in range(1, 9)}) >= 1
    client.close()
    server.close()
