"""Links, addresses and routes by rtnetlink, batched: what attaches a container to a bridge.

A container's network takes two sends: :meth:`Netlink.create_veth` from the host's side (its socket is opened before the
shim leaves the host's namespace) and :meth:`Netlink.configure_sandbox` from inside. Standard library only; errors as
``nlmsg`` says.

See: rtnetlink(7), linux/if_link.h.
"""

import errno
import socket
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from rundlet.linux import nlmsg
from rundlet.linux.nlmsg import NLM_F_CREATE, NLM_F_EXCL, Message, Request, attribute, nested, text, u8, u32

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_NEWRULE = 32

_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_NET_NS_FD, _IFLA_EXT_MASK, _IFLA_GSO_IPV4_MAX_SIZE = 28, 29, 63
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_IFLA_VLAN_ID = 1
_IFLA_BRPORT_MODE, _IFLA_BRPORT_ISOLATED = 4, 33
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_RT_TABLE_MAIN, _RTPROT_BOOT, _RTN_UNSPEC, _RTN_UNICAST, _RTN_LOCAL = 254, 3, 0, 1, 2
_FRA_FWMARK, _FR_ACT_TO_TBL = 10, 1
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RT_SCOPE_HOST, _RT_SCOPE_NOWHERE = 0, 253, 254, 255
_NLM_F_REPLACE = 0x100
_RTEXT_FILTER_SKIP_STATS = 8
_GSO_MAX_SIZE = 8 * 65535
"""Bytes that a program's stream over IPv4 takes at once on its way to a container, instead of 64 KB; each piece costs
a wake-up. The largest that the kernel lets virtual links have; before Linux 6.3 it passes the attribute over.

Towards containers only: what a container sends may leave by hardware, which would have it cut up by the processor."""

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")


class Link(NamedTuple):
    """One network interface."""

    ifindex: int
    name: str
    up: bool
    mtu: int
    mac: str
    kind: str
    """``bridge``, ``veth``, …; empty for hardware."""
    master: int
    """The index of its bridge; 0 when it has none."""


class Address(NamedTuple):
    """One address of an interface."""

    ifindex: int
    address: str
    prefix: int


class Route(NamedTuple):
    """One unicast route; ``destination`` like ``10.0.0.0/8``, the default route is ``0.0.0.0/0`` or ``::/0``."""

    destination: str
    gateway: str
    ifindex: int
    table: int


class DefaultRoute(NamedTuple):
    """The way to everywhere: by a gateway, or by an interface alone."""

    gateway: str = ""
    interface: str = ""
    family: int = socket.AF_INET


class Interface(NamedTuple):
    """What :meth:`Netlink.configure_sandbox` sets on a link; ``addresses`` like ``172.17.0.2/16``; mtu 0: as is."""

    name: str
    addresses: Sequence[str]
    mtu: int = 0


def _link_body(*attributes: bytes, index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFO.pack(0, 0, index, flags, change) + b"".join(attributes)


def _mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def parse_address(value: str) -> tuple[int, bytes, int]:
    """``address[/prefix]`` as family, packed bytes, prefix (all bits when absent). Raises OSError, ValueError."""
    address, _, prefix = value.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    return family, packed, int(prefix) if prefix else len(packed) * 8


def bridge_request(name: str, *, mac: str | None = None, mtu: int = 0) -> Request:
    """Create a bridge. A given ``mac`` stays; else the bridge takes on the lowest of its ports', which changes."""
    parts = [text(_IFLA_IFNAME, name), nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "bridge"))]
    if mac:
        parts.append(attribute(_IFLA_ADDRESS, _mac_bytes(mac)))
    if mtu:
        parts.append(u32(_IFLA_MTU, mtu))
    return Request(f"create bridge {name}", _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link_body(*parts))


def veth_request(
    host_name: str,
    bridge_index: int,
    peer_netns_fd: int,
    peer_name: str,
    *,
    mac: str | None,
    mtu: int,
    large: bool = False,
) -> Request:
    """Create a veth pair: the host's end up and in the bridge, the peer in its namespace, all in one message.

    ``large``: towards the peer go pieces beyond 64 KB, too.
    """
    peer = [text(_IFLA_IFNAME, peer_name), u32(_IFLA_NET_NS_FD, peer_netns_fd)]
    host = [text(_IFLA_IFNAME, host_name), u32(_IFLA_MASTER, bridge_index)]
    if large:
        host.append(u32(_IFLA_GSO_IPV4_MAX_SIZE, _GSO_MAX_SIZE))
    if mac:
        peer.append(attribute(_IFLA_ADDRESS, _mac_bytes(mac)))
    if mtu:
        peer.append(u32(_IFLA_MTU, mtu))
        host.append(u32(_IFLA_MTU, mtu))
    data = nested(_IFLA_INFO_DATA, nested(_VETH_INFO_PEER, _link_body(*peer)))
    host.append(nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"), data))
    body = _link_body(*host, flags=_IFF_UP, change=_IFF_UP)
    return Request(f"create veth {host_name}", _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def dummy_request(name: str) -> Request:
    """Create an interface that leads nowhere, up."""
    parts = text(_IFLA_IFNAME, name), nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "dummy"))
    body = _link_body(*parts, flags=_IFF_UP, change=_IFF_UP)
    return Request(f"create dummy {name}", _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def vlan_request(name: str, parent_index: int, number: int) -> Request:
    """Create the 802.1q interface of a VLAN on a link, up."""
    data = nested(_IFLA_INFO_DATA, attribute(_IFLA_VLAN_ID, struct.pack("=H", number)))
    info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "vlan"), data)
    body = _link_body(text(_IFLA_IFNAME, name), u32(_IFLA_LINK, parent_index), info, flags=_IFF_UP, change=_IFF_UP)
    return Request(f"create vlan {name}", _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def bridge_port_request(name: str, *, isolated: bool | None = None, hairpin: bool | None = None) -> Request:
    """Set flags of a bridge's port, found by name. ``isolated`` ports can't reach each other."""
    flags = []
    if isolated is not None:
        flags.append(u8(_IFLA_BRPORT_ISOLATED, isolated))
    if hairpin is not None:
        flags.append(u8(_IFLA_BRPORT_MODE, hairpin))
    info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_SLAVE_KIND, "bridge"), nested(_IFLA_INFO_SLAVE_DATA, *flags))
    return Request(f"set bridge port flags of {name}", _RTM_NEWLINK, 0, _link_body(text(_IFLA_IFNAME, name), info))


def large_pieces_request(index: int) -> Request:
    """Have this machine's streams leave by a bridge in pieces beyond 64 KB, if all its ports can take them.

    The kernel lets a bridge have that once it has a port.
    """
    body = _link_body(u32(_IFLA_GSO_IPV4_MAX_SIZE, _GSO_MAX_SIZE), index=index)
    return Request("set the largest piece of a bridge", _RTM_NEWLINK, 0, body, optional=True)


def up_request(name: str, *, up: bool = True, mtu: int = 0) -> Request:
    """Bring a link up or down; ``mtu`` 0 leaves it."""
    parts = [text(_IFLA_IFNAME, name)] + ([u32(_IFLA_MTU, mtu)] if mtu else [])
    body = _link_body(*parts, flags=_IFF_UP if up else 0, change=_IFF_UP)
    return Request(f"bring {name} {'up' if up else 'down'}", _RTM_NEWLINK, 0, body)


def mtu_request(name: str, mtu: int) -> Request:
    body = _link_body(text(_IFLA_IFNAME, name), u32(_IFLA_MTU, mtu))
    return Request(f"set mtu {mtu} on {name}", _RTM_NEWLINK, 0, body)


def master_request(name: str, bridge_index: int) -> Request:
    """Put a link into a bridge (0: take it out)."""
    body = _link_body(text(_IFLA_IFNAME, name), u32(_IFLA_MASTER, bridge_index))
    return Request(f"put {name} into its bridge", _RTM_NEWLINK, 0, body)


def address_request(index: int, value: str, *, remove: bool = False) -> Request:
    """Add ``address/prefix`` to a link (with the broadcast address that Docker's containers have), or remove it."""
    family, packed, prefix = parse_address(value)
    v6 = family == socket.AF_INET6
    # No duplicate address detection: the address comes from our own IPAM and must be usable at once.
    body = _IFADDR.pack(family, prefix, _IFA_F_NODAD if v6 else 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if not v6 and prefix < 31:
        host_mask = (1 << (32 - prefix)) - 1
        body += attribute(_IFA_BROADCAST, (int.from_bytes(packed, "big") | host_mask).to_bytes(4, "big"))
    if remove:
        return Request(f"remove address {value}", _RTM_DELADDR, 0, body)
    return Request(f"add address {value}", _RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def route_request(
    destination: str, gateway: str | None, index: int = 0, *, replace: bool = False, remove: bool = False
) -> Request:
    """Add a route in the main table (or put it in another's place, or remove it).

    Without ``index`` the kernel finds the link by the gateway.
    """
    family, packed, prefix = parse_address(destination)
    scope = _RT_SCOPE_NOWHERE if remove else _RT_SCOPE_UNIVERSE if gateway else _RT_SCOPE_LINK
    kind = _RTN_UNSPEC if remove else _RTN_UNICAST
    protocol = 0 if remove else _RTPROT_BOOT
    body = _RTMSG.pack(family, prefix, 0, 0, _RT_TABLE_MAIN, protocol, scope, kind, 0)
    if prefix:
        body += attribute(_RTA_DST, packed)
    if gateway:
        body += attribute(_RTA_GATEWAY, parse_address(gateway)[1])
    if index:
        body += u32(_RTA_OIF, index)
    via = f" via {gateway}" if gateway else ""
    if remove:
        return Request(f"remove route {destination}{via}", _RTM_DELROUTE, 0, body)
    flags = NLM_F_CREATE | (_NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Request(f"add route {destination}{via}", _RTM_NEWROUTE, flags, body)


def everything_local_requests(family: int, mark: int, table: int, loopback: int) -> list[Request]:
    """Packets with ``mark`` are for this host, whatever their destination. ``table`` (1 to 252) is for that alone."""
    rule = _RTMSG.pack(family, 0, 0, 0, table, 0, 0, _FR_ACT_TO_TBL, 0) + u32(_FRA_FWMARK, mark)
    route = _RTMSG.pack(family, 0, 0, 0, table, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL, 0) + u32(_RTA_OIF, loopback)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return [
        Request(f"add rule for mark {mark}", _RTM_NEWRULE, flags, rule),
        Request(f"add route of table {table}", _RTM_NEWROUTE, NLM_F_CREATE | _NLM_F_REPLACE, route),
    ]


def delete_link_request(name: str) -> Request:
    return Request(f"delete link {name}", _RTM_DELLINK, 0, _link_body(text(_IFLA_IFNAME, name)))


class Netlink(nlmsg.NetlinkSocket):
    """An rtnetlink socket of one network namespace. Every method raises OSError with the failed step."""

    def __init__(self, netns_fd: int | None = None) -> None:
        super().__init__(nlmsg.NETLINK_ROUTE, netns_fd)

    def __enter__(self) -> "Netlink":
        return self

    # -- reading ------------------------------------------------------------------------------------------------

    def link(self, name: str) -> Link | None:
        """The link called ``name``, or None."""
        body = _link_body(text(_IFLA_IFNAME, name), u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS))
        try:
            return _parse_link(self.get(Request(f"find link {name}", _RTM_GETLINK, 0, body)))
        except OSError as exc:
            if exc.errno in (errno.ENODEV, errno.ENOENT):
                return None
            raise

    def index(self, name: str) -> int:
        """The index of the link called ``name``. Raises OSError ENODEV."""
        found = self.link(name)
        if found is None:
            raise nlmsg.os_error(errno.ENODEV, "", f"find link {name}")
        return found.ifindex

    def links(self) -> list[Link]:
        """Every link of the namespace."""
        body = _link_body(u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS))
        found = self.dump(Request("list links", _RTM_GETLINK, 0, body))
        return [_parse_link(message) for message in found if message.type == _RTM_NEWLINK]

    def addresses(self, family: int = socket.AF_UNSPEC) -> list[Address]:
        """Every address of the namespace, of one family or all."""
        found = self.dump(Request("list addresses", _RTM_GETADDR, 0, _IFADDR.pack(family, 0, 0, 0, 0)))
        return [_parse_address(message) for message in found if message.type == _RTM_NEWADDR]

    def routes(self, family: int = socket.AF_INET) -> list[Route]:
        """The unicast routes of every table (not the kernel's own local and broadcast routes)."""
        body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        found = self.dump(Request("list routes", _RTM_GETROUTE, 0, body))
        parsed = (_parse_route(message) for message in found if message.type == _RTM_NEWROUTE)
        return [route for route in parsed if route is not None]

    # -- the host's side ----------------------------------------------------------------------------------------

    def create_bridge(self, name: str, *, mac: str | None = None, mtu: int = 0) -> None:
        """Create a bridge, down and without address. Raises OSError EEXIST when the name is taken."""
        self.execute([bridge_request(name, mac=mac, mtu=mtu)])

    def create_veth(
        self,
        host_name: str,
        bridge: str,
        peer_netns_fd: int,
        peer_name: str,
        mac: str | None = None,
        *,
        mtu: int = 0,
        isolated: bool = False,
        hairpin: bool = False,
        large: bool = False,
    ) -> None:
        """Create a veth pair between ``bridge`` and another namespace.

        The host's end is up; the peer is down and has no address (see :meth:`configure_sandbox`). ``isolated`` keeps
        it from reaching other isolated ports, ``hairpin`` lets it reach itself through the bridge. ``large``: the host
        sends in pieces beyond 64 KB by this bridge.
        """
        master = self.index(bridge)
        requests = [veth_request(host_name, master, peer_netns_fd, peer_name, mac=mac, mtu=mtu, large=large)]
        if isolated or hairpin:
            # The kernel takes a port's flags only once the link exists: a second message in the same send.
            requests.append(bridge_port_request(host_name, isolated=isolated or None, hairpin=hairpin or None))
        if large:
            requests.append(large_pieces_request(master))
        self.execute(requests)

    def create_dummy(self, name: str) -> None:
        self.execute([dummy_request(name)])

    def create_vlan(self, name: str, parent: str, number: int) -> None:
        self.execute([vlan_request(name, self.index(parent), number)])

    def delete_link(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete a link (a veth takes its peer along)."""
        try:
            self.execute([delete_link_request(name)])
        except OSError as exc:
            if not (missing_ok and exc.errno in (errno.ENODEV, errno.ENOENT)):
                raise

    def set_bridge_port(self, name: str, *, isolated: bool | None = None, hairpin: bool | None = None) -> None:
        """Change flags of a bridge's port; None leaves a flag."""
        self.execute([bridge_port_request(name, isolated=isolated, hairpin=hairpin)])

    # -- any side -----------------------------------------------------------------------------------------------

    def set_up(self, name: str, *, up: bool = True) -> None:
        self.execute([up_request(name, up=up)])

    def set_mtu(self, name: str, mtu: int) -> None:
        self.execute([mtu_request(name, mtu)])

    def add_address(self, name: str, value: str) -> None:
        """Add ``address/prefix``. Raises OSError EEXIST when the link has it."""
        self.execute([address_request(self.index(name), value)])

    def remove_address(self, name: str, value: str) -> None:
        self.execute([address_request(self.index(name), value, remove=True)])

    def add_route(self, destination: str, gateway: str | None, name: str | None = None) -> None:
        self.execute([route_request(destination, gateway, self.index(name) if name else 0)])

    def set_default_routes(self, wanted: Sequence[DefaultRoute]) -> None:
        """Make ``wanted`` (one for each family at most) the only default routes of the main table."""
        requests = [self._default_request(route) for route in wanted]
        # The kernel puts a new one in the first one's place; after that only what someone added by hand is left.
        have = {route.family for route in wanted}
        for family in (socket.AF_INET, socket.AF_INET6):
            if family not in have:
                requests += [
                    route_request(found.destination, found.gateway or None, found.ifindex, remove=True)
                    for found in self.routes(family)
                    if found.destination.endswith("/0") and found.table == _RT_TABLE_MAIN
                ]
        self.execute(requests)

    def _default_request(self, route: DefaultRoute) -> Request:
        index = self.index(route.interface) if route.interface else 0
        everywhere = "::/0" if route.family == socket.AF_INET6 else "0.0.0.0/0"
        return route_request(everywhere, route.gateway or None, index, replace=True)

    def configure(self, name: str, addresses: Sequence[str], mtu: int = 0, up: bool = True) -> None:
        """Give one link its addresses, MTU (0: as is) and state in one batch."""
        index = self.index(name)
        requests = [address_request(index, value) for value in addresses]
        requests.append(up_request(name, up=up, mtu=mtu))
        self.execute(requests)

    def configure_sandbox(self, interfaces: Sequence[Interface], ways_out: Sequence[DefaultRoute] = ()) -> None:
        """Everything inside a container's namespace in one batch: lo, addresses, MTU, links up, then the ways out."""
        requests = [up_request("lo")]
        for interface in interfaces:
            index = self.index(interface.name)
            requests += [address_request(index, value) for value in interface.addresses]
            requests.append(up_request(interface.name, mtu=interface.mtu))
        requests += [self._default_request(route) for route in ways_out]
        self.execute(requests)


def _parse_link(message: Message) -> Link:
    _family, _type, index, flags, _change = _IFINFO.unpack_from(message.body)
    found = nlmsg.attributes(message.body, _IFINFO.size)
    info = nlmsg.attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        ifindex=index,
        name=nlmsg.decode_text(found.get(_IFLA_IFNAME, b"")),
        up=bool(flags & _IFF_UP),
        mtu=_u32(found.get(_IFLA_MTU)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        kind=nlmsg.decode_text(info.get(_IFLA_INFO_KIND, b"")),
        master=_u32(found.get(_IFLA_MASTER)),
    )


def _parse_address(message: Message) -> Address:
    family, prefix, _flags, _scope, index = _IFADDR.unpack_from(message.body)
    found = nlmsg.attributes(message.body, _IFADDR.size)
    packed = found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]
    return Address(index, socket.inet_ntop(family, packed), prefix)


def _parse_route(message: Message) -> Route | None:
    family, prefix, _src, _tos, table, _protocol, _scope, kind, _flags = _RTMSG.unpack_from(message.body)
    if kind != _RTN_UNICAST:
        return None
    found = nlmsg.attributes(message.body, _RTMSG.size)
    size = 16 if family == socket.AF_INET6 else 4
    destination = socket.inet_ntop(family, found.get(_RTA_DST, bytes(size)))
    gateway = found.get(_RTA_GATEWAY)
    return Route(
        destination=f"{destination}/{prefix}",
        gateway=socket.inet_ntop(family, gateway) if gateway else "",
        ifindex=_u32(found.get(_RTA_OIF)),
        table=_u32(found.get(_RTA_TABLE)) or table,
    )


def _u32(value: bytes | None) -> int:
    return int.from_bytes(value[:4], sys.byteorder) if value else 0
