"""The engine's nf_tables table: publishing, masquerading and keeping apart.

One table, ``inet rundlet_<instance>``, whose rules never change: networks and published ports are elements of its sets
and maps, so that a port costs one element. What the chains do, in the order a packet meets them:

- *raw_prerouting*: 127.0.0.0/8 comes from ``lo`` only (the bridges route it, so that a port published on 127.0.0.1
  works without a proxy: without this rule a raw frame from a container would reach the host's own loopback services,
  CVE-2020-8558), and a container's address is reached by its bridge only, not by a neighbour that routes to it.
- *prerouting*, *output*: a published port's destination becomes the container's. The map of ports on loopback addresses
  is consulted in *output* alone: only this machine reaches them.
- *forward*: into a network goes what it asked for, what was published, and what came from itself; into and out of an
  internal one only the last.
- *postrouting*: containers leave with the host's address. Into a network the source is kept, except where the answer
  would not come back through the host: from loopback, and from the same network (hairpin).

See: docs/architecture.md, "Firewall".
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence

import msgspec

from rundlet.linux import nft, nftexpr
from rundlet.linux.nft import Batch, Element, Hook
from rundlet.linux.nftexpr import word
from rundlet.network.portmap import ANY, PROTOCOLS

_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")

BRIDGES, WITHIN, CONTAINERS = "bridges", "within", "containers"
INTERNAL, MASQUERADED = "internal", "masqueraded"
PUBLISHED, PUBLISHED_ON, PUBLISHED_LOOPBACK = "published", "published_on", "published_loopback"
_ENTERING = "entering"

# Bridges of other engines and hypervisors, whose forwarding is theirs to filter.
_FOREIGN_BRIDGES = ("docker", "br-", "podman", "cni", "virbr", "lxcbr", "lxdbr", "incusbr", "rd")


# What others do that can bring up a dropping chain, or lose our exception in one. New rules and elements can't.
_UNSETTLING = ("newchain", "delchain", "deltable", "delrule")


class BridgeNetwork(msgspec.Struct, frozen=True):
    """What the firewall needs of a network."""

    bridge: str
    subnet: str
    gateway: str
    internal: bool = False
    """Nothing goes out of it or, published ports included, in."""
    icc: bool = True
    """Its containers reach one another."""
    masquerade: bool = True
    """Its containers leave with the host's address."""


class Publication(msgspec.Struct, frozen=True):
    """A host port that leads to a container's port."""

    protocol: str
    host_address: str
    host_port: int
    address: str
    container_port: int


class Firewall:
    """Keeps the table. Methods raise OSError that names the step; the kernel applies all of a call or nothing."""

    def __init__(self, instance: str) -> None:
        self.table = f"rundlet_{instance}"
        self._nft = nft.Nft()
        self._monitor: nft.Monitor | None = None

    def close(self) -> None:
        self._nft.close()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def watch(self) -> int:
        """Listen for changes that others make; the descriptor is readable when :meth:`disturbed` should run."""
        if self._monitor is None:
            self._monitor = nft.Monitor()
        return self._monitor.fileno()

    def disturbed(self) -> tuple[bool, bool]:
        """Whether since the last call someone else changed our table, and whether anyone unsettled other tables."""
        if self._monitor is None:
            return False, False
        events = self._monitor.events(self._nft.port)
        if events is None:
            return True, True
        ours = any(event.table == self.table and event.family == nft.FAMILY_INET for event in events)
        theirs = any(event.table != self.table and event.kind in _UNSETTLING for event in events)
        return ours, theirs

    @property
    def nft(self) -> nft.Nft:
        """The socket, for reading what others have."""
        return self._nft

    def exists(self) -> bool:
        return self._nft.has_table(nft.FAMILY_INET, self.table)

    def sync(
        self, networks: Sequence[BridgeNetwork], publications: Sequence[Publication], *, drop_other_forwarding: bool
    ) -> None:
        """Replace the table, whatever is left of it, by a new one in one transaction."""
        batch = self._batch()
        batch.replace_table()
        _add_sets(batch)
        _add_chains(batch, drop_other_forwarding=drop_other_forwarding)
        for network in networks:
            _add_network(batch, network)
        _each_map(batch.add_elements, publications)
        self._nft.commit(batch)

    def publish(self, publications: Sequence[Publication]) -> None:
        """Add ports. Raises OSError ENOENT when the table is gone, EEXIST when a port leads elsewhere."""
        batch = self._batch()
        _each_map(batch.add_elements, publications)
        self._nft.commit(batch)

    def unpublish(self, publications: Sequence[Publication]) -> None:
        """Remove ports. Raises OSError ENOENT when one is not there; then none is removed."""
        batch = self._batch()
        _each_map(batch.delete_elements, publications)
        self._nft.commit(batch)

    def remove(self) -> None:
        """Delete the table; none is fine."""
        batch = self._batch()
        batch.add_table()
        batch.delete_table()
        self._nft.commit(batch)

    def _batch(self) -> Batch:
        return Batch(nft.FAMILY_INET, self.table)


def _add_sets(batch: Batch) -> None:
    batch.add_set(BRIDGES, [nft.IFNAME])
    batch.add_set(WITHIN, [nft.IFNAME, nft.IFNAME])
    batch.add_set(INTERNAL, [nft.IFNAME])
    batch.add_set(CONTAINERS, [nft.IPV4], interval=True)
    batch.add_set(MASQUERADED, [nft.IPV4], interval=True)
    batch.add_set(_ENTERING, [nft.IFNAME], verdicts=True)
    target = [nft.IPV4, nft.SERVICE]
    batch.add_set(PUBLISHED, [nft.PROTOCOL, nft.SERVICE], data=target)
    for name in (PUBLISHED_ON, PUBLISHED_LOOPBACK):
        batch.add_set(name, [nft.IPV4, nft.PROTOCOL, nft.SERVICE], data=target)


def _add_chains(batch: Batch, *, drop_other_forwarding: bool) -> None:
    _add_raw(batch)
    _add_translation(batch)
    _add_forward(batch, drop_other_forwarding=drop_other_forwarding)
    _add_postrouting(batch)


def _add_raw(batch: Batch) -> None:
    chain = "raw_prerouting"
    batch.add_chain(chain, Hook("filter", nft.HOOK_PREROUTING, nft.PRIORITY_RAW))
    drop = nftexpr.verdict(nftexpr.DROP)
    batch.add_rule(chain, nftexpr.interface_is(nftexpr.load_iifname(), "lo"), nftexpr.verdict(nftexpr.ACCEPT))
    for load in (nftexpr.load_ipv4_daddr(), nftexpr.load_ipv4_saddr()):
        loopback = nftexpr.in_subnet(load, "127.0.0.0", 8)
        batch.add_rule(chain, nftexpr.ipv4(), loopback, drop, comment="loopback addresses are this host's alone")
    batch.add_rule(
        chain,
        nftexpr.ipv4(),
        nftexpr.load_iifname() + nftexpr.lookup(BRIDGES, invert=True),
        nftexpr.load_ipv4_daddr() + nftexpr.lookup(CONTAINERS),
        drop,
        comment="containers are reached by published ports",
    )


def _add_translation(batch: Batch) -> None:
    """The same two look-ups for what arrives and for what this host sends; loopback addresses for the latter only."""
    port = nftexpr.load_l4proto() + nftexpr.load_dport(word(1))
    address_and_port = nftexpr.load_ipv4_daddr() + nftexpr.load_l4proto(word(1)) + nftexpr.load_dport(word(2))
    for chain, hook in (("prerouting", nft.HOOK_PREROUTING), ("output", nft.HOOK_OUTPUT)):
        batch.add_chain(chain, Hook("nat", hook, nft.PRIORITY_DSTNAT))
        if hook == nft.HOOK_OUTPUT:
            batch.add_rule(chain, nftexpr.ipv4(), address_and_port, nftexpr.dnat_ipv4_from_map(PUBLISHED_LOOPBACK))
        batch.add_rule(chain, nftexpr.ipv4(), address_and_port, nftexpr.dnat_ipv4_from_map(PUBLISHED_ON))
        local = nftexpr.destination_is_local()
        batch.add_rule(chain, nftexpr.ipv4(), local, port, nftexpr.dnat_ipv4_from_map(PUBLISHED))


def _add_forward(batch: Batch, *, drop_other_forwarding: bool) -> None:
    chain = "forward"
    batch.add_chain(chain, Hook("filter", nft.HOOK_FORWARD, nft.PRIORITY_FILTER))
    accept, drop = nftexpr.verdict(nftexpr.ACCEPT), nftexpr.verdict(nftexpr.DROP)
    into = nftexpr.load_oifname() + nftexpr.lookup(BRIDGES)
    batch.add_rule(chain, nftexpr.ct_state(nftexpr.CT_ESTABLISHED | nftexpr.CT_RELATED), accept)
    # Traffic inside a network comes by here where bridged frames go through the firewall (br_netfilter).
    both = nftexpr.load_iifname() + nftexpr.load_oifname(word(4)) + nftexpr.lookup(WITHIN)
    batch.add_rule(chain, both, accept, comment="inside a network")
    for load in (nftexpr.load_iifname(), nftexpr.load_oifname()):
        batch.add_rule(chain, load + nftexpr.lookup(INTERNAL), drop, comment="internal networks keep to themselves")
    batch.add_rule(chain, into, nftexpr.ct_dnat(), accept, comment="published ports")
    batch.add_rule(chain, into, drop, comment="not into a network")
    if not drop_other_forwarding:
        return
    # Forwarding was off until we needed it: the host is a router for containers only.
    batch.add_rule(chain, nftexpr.load_iifname() + nftexpr.lookup(BRIDGES), accept)
    for prefix in _FOREIGN_BRIDGES:
        for load in (nftexpr.load_iifname(), nftexpr.load_oifname()):
            batch.add_rule(chain, nftexpr.interface_starts_with(load, prefix), accept)
    batch.add_rule(chain, drop, comment="this host was no router before")


def _add_postrouting(batch: Batch) -> None:
    chain = "postrouting"
    batch.add_chain(chain, Hook("nat", nft.HOOK_POSTROUTING, nft.PRIORITY_SRCNAT))
    batch.add_rule(chain, nftexpr.load_oifname() + nftexpr.verdict_map(_ENTERING))
    batch.add_rule(
        chain,
        nftexpr.ipv4(),
        nftexpr.load_ipv4_saddr() + nftexpr.lookup(MASQUERADED),
        nftexpr.load_oifname() + nftexpr.lookup(BRIDGES, invert=True),
        nftexpr.masquerade(),
        comment="containers leave with the host's address",
    )


def _add_network(batch: Batch, network: BridgeNetwork) -> None:
    name = nftexpr.interface_bytes(network.bridge)
    subnet = ipaddress.IPv4Network(network.subnet)
    chain = f"entering_{network.bridge}"
    batch.add_chain(chain)
    loopback = nftexpr.in_subnet(nftexpr.load_ipv4_saddr(), "127.0.0.0", 8)
    batch.add_rule(chain, nftexpr.ipv4(), loopback, nftexpr.masquerade())
    own = nftexpr.in_subnet(nftexpr.load_ipv4_saddr(), str(subnet.network_address), subnet.prefixlen)
    batch.add_rule(chain, nftexpr.ipv4(), own, nftexpr.ct_dnat(), nftexpr.masquerade(), comment="hairpin")
    batch.add_elements(BRIDGES, [Element(name)])
    if network.icc:
        batch.add_elements(WITHIN, [Element(name + name)])
    if network.internal:
        batch.add_elements(INTERNAL, [Element(name)])
    addresses = _container_addresses(subnet, network.gateway)
    if network.masquerade:
        batch.add_elements(MASQUERADED, addresses)
    if network.masquerade or network.internal:
        # Where answers come for the containers' own addresses, the forward chain alone keeps the rest out.
        batch.add_elements(CONTAINERS, addresses)
    verdict = nftexpr.verdict_value(nftexpr.GOTO, chain)
    batch.add_elements(_ENTERING, [Element(name, verdict)])


def _container_addresses(subnet: ipaddress.IPv4Network, gateway: str) -> list[Element]:
    """The subnet without its gateway: that is the host, whose published ports anyone may ask for."""
    first, last = int(subnet.network_address), int(subnet.broadcast_address)
    middle = int(ipaddress.IPv4Address(gateway))
    elements = []
    for low, high in ((first, middle - 1), (middle + 1, last)):
        if low <= high:
            elements += [Element(low.to_bytes(4, "big")), Element((high + 1).to_bytes(4, "big"), end=True)]
    return elements


def _each_map(change: Callable[[str, list[Element]], None], publications: Iterable[Publication]) -> None:
    """Call ``change`` with every map's part of ``publications``."""
    maps: dict[str, list[Element]] = {}
    for publication in publications:
        name, element = _element(publication)
        maps.setdefault(name, []).append(element)
    for name, elements in maps.items():
        change(name, elements)


def _element(publication: Publication) -> tuple[str, Element]:
    key = nft.concatenate(bytes((PROTOCOLS[publication.protocol],)), publication.host_port.to_bytes(2, "big"))
    target = nft.concatenate(socket.inet_aton(publication.address), publication.container_port.to_bytes(2, "big"))
    data = nftexpr.value(target)
    if publication.host_address == ANY:
        return PUBLISHED, Element(key, data)
    address = ipaddress.IPv4Address(publication.host_address)
    name = PUBLISHED_LOOPBACK if address in _LOOPBACK else PUBLISHED_ON
    return name, Element(address.packed + key, data)
