"""The engine's nf_tables table: publishing, masquerading and keeping apart.

One table, ``inet rundlet_<instance>``, whose rules never change: networks and published ports are elements of its sets
and maps, so that a port costs one element. What the chains do, in the order a packet meets them:

- *raw_prerouting*: 127.0.0.0/8 comes from ``lo`` only (the bridges route it, so that a port published on 127.0.0.1
  works without a proxy: without this rule a raw frame from a container would reach the host's own loopback services,
  CVE-2020-8558), and a container's address is reached by its bridge only, not by a neighbour that routes to it.
- *prerouting*, *output*: a published port's destination becomes the container's. The map of ports on loopback addresses
  is consulted in *output* alone: only this machine reaches them.
- *forward*: into a network goes what it asked for, what was published, and what came from itself; into and out of an
  internal one only the last. Where containers are kept apart, what one is linked to comes by here, too. Where a
  network's gateway mode is *routed*, what was published is reached at the container's own address; where it is
  *nat-unprotected*, everything is.
- *postrouting*: containers leave with the host's address. Into a network the source is kept, except where the answer
  would not come back through the host: from loopback, and from the same network (hairpin).

IPv6 has the same chains and sets of its own. Nothing leads from ::1 into a network (the kernel drops such an address on
any other link): published ports are served there by the proxy (``network.proxy``), which holds the host's socket.

See: docs/architecture.md, "Firewall".
"""

import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from rundlet.linux import nft, nftexpr
from rundlet.linux.nft import Batch, Element, Hook
from rundlet.linux.nftexpr import word
from rundlet.network.ipam import IPNetwork
from rundlet.network.portmap import ANY, ANY6, PROTOCOLS

FAMILIES = (4, 6)
_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")

BRIDGES, WITHIN, CONTAINERS = "bridges", "within", "containers"
INTERNAL, MASQUERADED = "internal", "masqueraded"
PUBLISHED, PUBLISHED_ON, PUBLISHED_LOOPBACK = "published", "published_on", "published_loopback"
CONTAINERS6, MASQUERADED6 = "containers6", "masqueraded6"
PUBLISHED6, PUBLISHED_ON6 = "published6", "published_on6"
OPENED, OPENED6, UNPROTECTED, UNPROTECTED6 = "opened", "opened6", "unprotected", "unprotected6"
ROUTED, ROUTED6, TRUSTED = "routed", "routed6", "trusted"
LINKED = "linked"
_ENTERING = "entering"

# Bridges of other engines and hypervisors, whose forwarding is theirs to filter.
_FOREIGN_BRIDGES = ("docker", "br-", "podman", "cni", "virbr", "lxcbr", "lxdbr", "incusbr", "rd")


# What others do that can bring up a dropping chain, or lose our exception in one. New rules and elements can't.
_UNSETTLING = ("newchain", "delchain", "deltable", "delrule")


_ICMP = {4: b"\x01", 6: b"\x3a"}
_LINK_LOCAL6 = ("fe80::", 10)


class BridgeSubnet(msgspec.Struct, frozen=True):
    """One family's side of a network."""

    subnet: str
    gateway: str
    mode: str = "nat"
    """One of networks.GATEWAY_MODES."""
    masquerade: bool = True
    """Its containers leave with the host's address."""
    source: str = ""
    """The address that they leave with; empty: that of the interface that they leave by."""


class BridgeNetwork(msgspec.Struct, frozen=True):
    """What the firewall needs of a network."""

    bridge: str
    subnets: tuple[BridgeSubnet, ...] = ()
    internal: bool = False
    """Nothing goes out of it or, published ports included, in."""
    icc: bool = True
    """Its containers reach one another."""
    trusted: tuple[str, ...] = ()
    """The host's interfaces from which its containers are reached at their own addresses."""


class Publication(msgspec.Struct, frozen=True):
    """A host port that leads to a container's port. Port 0: only the container's own address and port are open."""

    protocol: str
    host_address: str
    host_port: int
    address: str
    container_port: int


class LinkedPort(msgspec.Struct, frozen=True):
    """What one container may ask of another where containers are kept apart; IPv4 addresses."""

    source: str
    address: str
    protocol: str
    port: int


class Firewall:
    """Keeps the table. Methods raise OSError that names the step; the kernel applies all of a call or nothing."""

    def __init__(self, instance: str, families: Collection[int] = FAMILIES, *, direct: bool = False) -> None:
        """``families`` (4, 6): the others' packets are somebody else's to filter and to translate. ``direct``:
        published ports answer at the containers' own addresses, too, whoever asks."""
        self.table = f"rundlet_{instance}"
        self.families = frozenset(families)
        self._direct = direct
        self._linked: frozenset[LinkedPort] = frozenset()
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
        self,
        networks: Sequence[BridgeNetwork],
        publications: Sequence[Publication],
        *,
        close_other_forwarding: Collection[int] = (),
    ) -> None:
        """Replace the table, whatever is left of it, by a new one in one transaction.

        ``close_other_forwarding``: the families (4, 6) in which the host forwards for containers only.
        """
        if not self.families:
            self.remove()
            return
        batch = self._batch()
        batch.replace_table()
        _add_sets(batch)
        _add_chains(batch, close_other_forwarding, frozenset(FAMILIES) - self.families)
        for network in networks:
            _add_network(batch, network, direct=self._direct)
        _each_map(batch.add_elements, self._opening(publications))
        batch.add_elements(LINKED, map(_linked_element, self._linked))
        self._nft.commit(batch)

    @property
    def linked(self) -> frozenset[LinkedPort]:
        return self._linked

    def link(self, wanted: Collection[LinkedPort]) -> None:
        """Let these through, and no others; :meth:`sync` keeps them. Raises OSError ENOENT when the table is gone."""
        before, self._linked = self._linked, frozenset(wanted)
        batch = self._batch()
        batch.delete_elements(LINKED, map(_linked_element, before - self._linked))
        batch.add_elements(LINKED, map(_linked_element, self._linked - before))
        self._commit(batch)

    def add(self, network: BridgeNetwork) -> None:
        """One network more. Raises OSError ENOENT when the table is gone."""
        batch = self._batch()
        _add_network(batch, network, direct=self._direct)
        self._commit(batch)

    def publish(self, publications: Sequence[Publication]) -> None:
        """Add ports. Raises OSError ENOENT when the table is gone, EEXIST when a port leads elsewhere."""
        batch = self._batch()
        _each_map(batch.add_elements, self._opening(publications))
        self._commit(batch)

    def unpublish(self, publications: Sequence[Publication]) -> None:
        """Remove ports. Raises OSError ENOENT when one is not there; then none is removed."""
        batch = self._batch()
        _each_map(batch.delete_elements, self._opening(publications))
        self._commit(batch)

    def remove(self) -> None:
        """Delete the table; none is fine."""
        batch = self._batch()
        batch.add_table()
        batch.delete_table()
        self._nft.commit(batch)

    def _opening(self, publications: Iterable[Publication]) -> Iterable[Publication]:
        """With those at the containers' own addresses. What is for this machine alone stays so."""
        every = list(publications)
        if not self._direct:
            return every
        near = [one for one in every if one.host_port and not _is_loopback(one.host_address)]
        return dict.fromkeys(every + [msgspec.structs.replace(one, host_address="", host_port=0) for one in near])

    def _commit(self, batch: Batch) -> None:
        """A change of the table, if there is to be one."""
        if self.families:
            self._nft.commit(batch)

    def _batch(self) -> Batch:
        return Batch(nft.FAMILY_INET, self.table)


def _add_sets(batch: Batch) -> None:
    for name in (BRIDGES, INTERNAL, UNPROTECTED, UNPROTECTED6, ROUTED, ROUTED6, TRUSTED):
        batch.add_set(name, [nft.IFNAME])
    batch.add_set(WITHIN, [nft.IFNAME, nft.IFNAME])
    batch.add_set(_ENTERING, [nft.IFNAME], verdicts=True)
    for address, containers, masqueraded, published, published_on, opened in (
        (nft.IPV4, CONTAINERS, MASQUERADED, PUBLISHED, PUBLISHED_ON, OPENED),
        (nft.IPV6, CONTAINERS6, MASQUERADED6, PUBLISHED6, PUBLISHED_ON6, OPENED6),
    ):
        for name in (containers, masqueraded):
            batch.add_set(name, [address], interval=True)
        target = [address, nft.SERVICE]
        batch.add_set(published, [nft.PROTOCOL, nft.SERVICE], data=target)
        batch.add_set(published_on, [address, nft.PROTOCOL, nft.SERVICE], data=target)
        batch.add_set(opened, [address, nft.PROTOCOL, nft.SERVICE])
    batch.add_set(LINKED, [nft.IPV4, nft.IPV4, nft.PROTOCOL, nft.SERVICE])
    batch.add_set(PUBLISHED_LOOPBACK, [nft.IPV4, nft.PROTOCOL, nft.SERVICE], data=[nft.IPV4, nft.SERVICE])


def _add_chains(batch: Batch, close_other_forwarding: Collection[int], aside: Collection[int]) -> None:
    """``aside``: the families whose packets pass through every chain as they are."""
    _add_raw(batch, aside)
    _add_translation(batch, aside)
    _add_forward(batch, close_other_forwarding, aside)
    _add_postrouting(batch, aside)


def _add_hooked(batch: Batch, chain: str, hook: Hook, aside: Collection[int]) -> None:
    batch.add_chain(chain, hook)
    for version in aside:
        family = nftexpr.ipv4() if version == 4 else nftexpr.ipv6()
        batch.add_rule(chain, family, nftexpr.verdict(nftexpr.ACCEPT), comment="not ours to look at")


def _add_raw(batch: Batch, aside: Collection[int]) -> None:
    chain = "raw_prerouting"
    _add_hooked(batch, chain, Hook("filter", nft.HOOK_PREROUTING, nft.PRIORITY_RAW), aside)
    drop = nftexpr.verdict(nftexpr.DROP)
    accept = nftexpr.verdict(nftexpr.ACCEPT)
    batch.add_rule(chain, nftexpr.interface_is(nftexpr.load_iifname(), "lo"), accept)
    for load in (nftexpr.load_ipv4_daddr(), nftexpr.load_ipv4_saddr()):
        loopback = nftexpr.in_subnet(load, "127.0.0.0", 8)
        batch.add_rule(chain, nftexpr.ipv4(), loopback, drop, comment="loopback addresses are this host's alone")
    batch.add_rule(chain, nftexpr.load_iifname() + nftexpr.lookup(TRUSTED), accept)
    for family, load, containers in (
        (nftexpr.ipv4(), nftexpr.load_ipv4_daddr(), CONTAINERS),
        (nftexpr.ipv6(), nftexpr.load_ipv6_daddr(), CONTAINERS6),
    ):
        batch.add_rule(
            chain,
            family,
            nftexpr.load_iifname() + nftexpr.lookup(BRIDGES, invert=True),
            load + nftexpr.lookup(containers),
            drop,
            comment="containers are reached by published ports",
        )


def _add_translation(batch: Batch, aside: Collection[int]) -> None:
    """The same two look-ups for what arrives and for what this host sends; loopback addresses for the latter only."""
    port = nftexpr.load_l4proto() + nftexpr.load_dport(word(1))
    with_address = nftexpr.load_ipv4_daddr() + nftexpr.load_l4proto(word(1)) + nftexpr.load_dport(word(2))
    with_address6 = nftexpr.load_ipv6_daddr() + nftexpr.load_l4proto(word(4)) + nftexpr.load_dport(word(5))
    local = nftexpr.destination_is_local()
    for chain, hook in (("prerouting", nft.HOOK_PREROUTING), ("output", nft.HOOK_OUTPUT)):
        _add_hooked(batch, chain, Hook("nat", hook, nft.PRIORITY_DSTNAT), aside)
        if hook == nft.HOOK_OUTPUT:
            batch.add_rule(chain, nftexpr.ipv4(), with_address, nftexpr.dnat_ipv4_from_map(PUBLISHED_LOOPBACK))
        batch.add_rule(chain, nftexpr.ipv4(), with_address, nftexpr.dnat_ipv4_from_map(PUBLISHED_ON))
        batch.add_rule(chain, nftexpr.ipv4(), local, port, nftexpr.dnat_ipv4_from_map(PUBLISHED))
        for network, prefix in (("::1", 128), _LINK_LOCAL6):
            own = nftexpr.in_subnet(nftexpr.load_ipv6_daddr(), network, prefix)
            accept = nftexpr.verdict(nftexpr.ACCEPT)
            batch.add_rule(chain, nftexpr.ipv6(), own, accept, comment="not routed: the proxy answers")
        batch.add_rule(chain, nftexpr.ipv6(), with_address6, nftexpr.dnat_ipv6_from_map(PUBLISHED_ON6))
        batch.add_rule(chain, nftexpr.ipv6(), local, port, nftexpr.dnat_ipv6_from_map(PUBLISHED6))


def _add_forward(batch: Batch, close_other_forwarding: Collection[int], aside: Collection[int]) -> None:
    chain = "forward"
    _add_hooked(batch, chain, Hook("filter", nft.HOOK_FORWARD, nft.PRIORITY_FILTER), aside)
    accept, drop = nftexpr.verdict(nftexpr.ACCEPT), nftexpr.verdict(nftexpr.DROP)
    into = nftexpr.load_oifname() + nftexpr.lookup(BRIDGES)
    batch.add_rule(chain, nftexpr.ct_state(nftexpr.CT_ESTABLISHED | nftexpr.CT_RELATED), accept)
    # Traffic inside a network comes by here where bridged frames go through the firewall (br_netfilter).
    both = nftexpr.load_iifname() + nftexpr.load_oifname(word(4)) + nftexpr.lookup(WITHIN)
    batch.add_rule(chain, both, accept, comment="inside a network, or trusted by it")
    for load in (nftexpr.load_iifname(), nftexpr.load_oifname()):
        batch.add_rule(chain, load + nftexpr.lookup(INTERNAL), drop, comment="internal networks keep to themselves")
    batch.add_rule(chain, into, nftexpr.ct_dnat(), accept, comment="published ports")
    pair = nftexpr.load_ipv4_saddr() + nftexpr.load_ipv4_daddr(word(1))
    asked = pair + nftexpr.load_l4proto(word(2)) + nftexpr.load_dport(word(3)) + nftexpr.lookup(LINKED)
    batch.add_rule(chain, nftexpr.ipv4(), asked, accept, comment="linked containers")
    _add_opened(batch, chain)
    batch.add_rule(chain, into, drop, comment="not into a network")
    # Forwarding was off until we needed it: the host is a router for containers only.
    for version in close_other_forwarding:
        family = nftexpr.ipv4() if version == 4 else nftexpr.ipv6()
        batch.add_rule(chain, family, nftexpr.load_iifname() + nftexpr.lookup(BRIDGES), accept)
        for prefix in _FOREIGN_BRIDGES:
            for load in (nftexpr.load_iifname(), nftexpr.load_oifname()):
                batch.add_rule(chain, family, nftexpr.interface_starts_with(load, prefix), accept)
        batch.add_rule(chain, family, drop, comment="this host was no router before")


def _add_opened(batch: Batch, chain: str) -> None:
    """Networks whose containers are reached at their own addresses: routed ones, and unprotected ones."""
    accept = nftexpr.verdict(nftexpr.ACCEPT)
    with_address = nftexpr.load_ipv4_daddr() + nftexpr.load_l4proto(word(1)) + nftexpr.load_dport(word(2))
    with_address6 = nftexpr.load_ipv6_daddr() + nftexpr.load_l4proto(word(4)) + nftexpr.load_dport(word(5))
    for version, family, key, opened, routed, unprotected in (
        (4, nftexpr.ipv4(), with_address, OPENED, ROUTED, UNPROTECTED),
        (6, nftexpr.ipv6(), with_address6, OPENED6, ROUTED6, UNPROTECTED6),
    ):
        batch.add_rule(chain, family, key + nftexpr.lookup(opened), accept, comment="published, routed")
        icmp = nftexpr.load_l4proto() + nftexpr.compare(_ICMP[version])
        batch.add_rule(chain, family, nftexpr.load_oifname() + nftexpr.lookup(routed), icmp, accept)
        batch.add_rule(chain, family, nftexpr.load_oifname() + nftexpr.lookup(unprotected), accept)


def _add_postrouting(batch: Batch, aside: Collection[int]) -> None:
    chain = "postrouting"
    _add_hooked(batch, chain, Hook("nat", nft.HOOK_POSTROUTING, nft.PRIORITY_SRCNAT), aside)
    batch.add_rule(chain, nftexpr.load_oifname() + nftexpr.verdict_map(_ENTERING))
    for family, load, masqueraded in (
        (nftexpr.ipv4(), nftexpr.load_ipv4_saddr(), MASQUERADED),
        (nftexpr.ipv6(), nftexpr.load_ipv6_saddr(), MASQUERADED6),
    ):
        batch.add_rule(
            chain,
            family,
            load + nftexpr.lookup(masqueraded),
            nftexpr.load_oifname() + nftexpr.lookup(BRIDGES, invert=True),
            nftexpr.masquerade(),
            comment="containers leave with the host's address",
        )


def _is_loopback(address: str) -> bool:
    return bool(address) and ipaddress.ip_address(address).is_loopback


def _add_network(batch: Batch, network: BridgeNetwork, *, direct: bool) -> None:
    name = nftexpr.interface_bytes(network.bridge)
    chain = f"entering_{network.bridge}"
    batch.add_chain(chain)
    loopback = nftexpr.in_subnet(nftexpr.load_ipv4_saddr(), "127.0.0.0", 8)
    batch.add_rule(chain, nftexpr.ipv4(), loopback, nftexpr.masquerade())
    for subnet in network.subnets:
        _add_subnet(batch, network, subnet, chain, direct=direct)
    batch.add_elements(BRIDGES, [Element(name)])
    if network.icc:
        batch.add_elements(WITHIN, [Element(name + name)])
    if network.internal:
        batch.add_elements(INTERNAL, [Element(name)])
    trusted = [nftexpr.interface_bytes(interface) for interface in network.trusted]
    batch.add_elements(TRUSTED, [Element(interface) for interface in trusted])
    batch.add_elements(WITHIN, [Element(interface + name) for interface in trusted])
    verdict = nftexpr.verdict_value(nftexpr.GOTO, chain)
    batch.add_elements(_ENTERING, [Element(name, verdict)])


def _add_subnet(batch: Batch, network: BridgeNetwork, one: BridgeSubnet, chain: str, *, direct: bool) -> None:
    subnet = ipaddress.ip_network(one.subnet)
    v4 = subnet.version == 4
    family = nftexpr.ipv4() if v4 else nftexpr.ipv6()
    source = nftexpr.load_ipv4_saddr() if v4 else nftexpr.load_ipv6_saddr()
    own = nftexpr.in_subnet(source, str(subnet.network_address), subnet.prefixlen)
    batch.add_rule(chain, family, own, nftexpr.ct_dnat(), nftexpr.masquerade(), comment="hairpin")
    name = nftexpr.interface_bytes(network.bridge)
    if one.mode == "routed":
        batch.add_elements(ROUTED if v4 else ROUTED6, [Element(name)])
    if one.mode == "nat-unprotected":
        batch.add_elements(UNPROTECTED if v4 else UNPROTECTED6, [Element(name)])
    addresses = _container_addresses(subnet, one.gateway)
    if one.masquerade and one.source:
        out = nftexpr.load_oifname() + nftexpr.lookup(BRIDGES, invert=True)
        batch.add_rule("postrouting", family, own, out, nftexpr.snat_to(one.source), comment=f"out of {network.bridge}")
    elif one.masquerade:
        batch.add_elements(MASQUERADED if v4 else MASQUERADED6, addresses)
    if (one.masquerade and one.mode == "nat" and not direct) or network.internal:
        # Where answers come for the containers' own addresses, the forward chain alone keeps the rest out.
        batch.add_elements(CONTAINERS if v4 else CONTAINERS6, addresses)


def _container_addresses(subnet: IPNetwork, gateway: str) -> list[Element]:
    """The subnet without its gateway: that is the host, whose published ports anyone may ask for."""
    first, last = int(subnet.network_address), int(subnet.broadcast_address)
    length = subnet.max_prefixlen // 8
    middle = int(ipaddress.ip_address(gateway)) if gateway else last + 1
    elements = []
    for low, high in ((first, middle - 1), (middle + 1, last)):
        if low <= high:
            elements += [Element(low.to_bytes(length, "big")), Element((high + 1).to_bytes(length, "big"), end=True)]
    return elements


def _each_map(change: Callable[[str, list[Element]], None], publications: Iterable[Publication]) -> None:
    """Call ``change`` with every map's part of ``publications``."""
    maps: dict[str, list[Element]] = {}
    for publication in publications:
        found = _element(publication)
        if found is not None:
            maps.setdefault(found[0], []).append(found[1])
    for name, elements in maps.items():
        change(name, elements)


def _linked_element(one: LinkedPort) -> Element:
    pair = (ipaddress.ip_address(one.source).packed, ipaddress.ip_address(one.address).packed)
    return Element(nft.concatenate(*pair, bytes((PROTOCOLS[one.protocol],)), one.port.to_bytes(2, "big")))


def _element(publication: Publication) -> tuple[str, Element] | None:
    """A publication's element and the map that it belongs in; None for what the proxy serves."""
    protocol = bytes((PROTOCOLS[publication.protocol],))
    target_address = ipaddress.ip_address(publication.address)
    v4 = target_address.version == 4
    container_port = publication.container_port.to_bytes(2, "big")
    if not publication.host_port:
        opened = nft.concatenate(target_address.packed, protocol, container_port)
        return OPENED if v4 else OPENED6, Element(opened)
    key = nft.concatenate(protocol, publication.host_port.to_bytes(2, "big"))
    data = nftexpr.value(nft.concatenate(target_address.packed, container_port))
    if publication.host_address in (ANY, ANY6):
        return PUBLISHED if v4 else PUBLISHED6, Element(key, data)
    address = ipaddress.ip_address(publication.host_address)
    if address.version == 6:
        return None if address.is_loopback else (PUBLISHED_ON6, Element(address.packed + key, data))
    name = PUBLISHED_LOOPBACK if address in _LOOPBACK else PUBLISHED_ON
    return name, Element(address.packed + key, data)
