"""Moves an interface of the machine into another network namespace, with the addresses that somebody gave it.

The kernel keeps its MTU and its hardware address, and drops the rest: it is down and bare on the other side.
Standard library and this room only. See: rtnetlink(7); OCI runtime-spec, config-linux.md, "Network Devices".
"""

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from rundlet.linux import netlink, nlmsg
from rundlet.linux.netlink import Netlink
from rundlet.linux.nlmsg import Request

_RTM_NEWLINK: Final = 16
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_IFF_UP: Final = 1
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_PERMANENT: Final = 0x80
_RT_SCOPE_UNIVERSE: Final = 0
_IFINFO: Final = struct.Struct("=BxHiII")
_IFADDR: Final = struct.Struct("=BBBBI")


def lasting_addresses(here: Netlink, index: int) -> list[str]:
    """``address/prefix`` of each that makes sense elsewhere: given by somebody, for good, and not for the link only."""
    found = here.dump(Request("list addresses", _RTM_GETADDR, 0, _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)))
    return list(_lasting(found, index))


def _lasting(found: Sequence[nlmsg.Message], index: int) -> Iterator[str]:
    for message in found:
        if message.type != _RTM_NEWADDR:
            continue
        family, prefix, few, scope, of = _IFADDR.unpack_from(message.body)
        attributes = nlmsg.attributes(message.body, _IFADDR.size)
        flags = struct.unpack("=I", attributes[_IFA_FLAGS])[0] if _IFA_FLAGS in attributes else few
        if of == index and scope == _RT_SCOPE_UNIVERSE and flags & _IFA_F_PERMANENT:
            packed = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
            yield f"{socket.inet_ntop(family, packed)}/{prefix}"


def move(here: Netlink, name: str, namespace: int, new_name: str) -> list[str]:
    """Move the interface ``name`` and call it ``new_name``, in one step; returns the addresses that it had.

    Raises: OSError, which names the step; ENODEV: there is no such interface.
    """
    index = here.index(name)
    addresses = lasting_addresses(here, index)
    body = _IFINFO.pack(0, 0, index, 0, _IFF_UP)
    body += nlmsg.text(_IFLA_IFNAME, new_name) + nlmsg.u32(_IFLA_NET_NS_FD, namespace)
    here.execute([Request(f"move {name} as {new_name}", _RTM_NEWLINK, 0, body)])
    return addresses


def set_up(there: Netlink, name: str, addresses: Sequence[str]) -> None:
    """On the other side: the addresses, and up. Raises: OSError."""
    index = there.index(name)
    for value in addresses:
        try:
            there.execute([netlink.address_request(index, value)])
        except OSError as exc:
            if exc.errno != errno.EEXIST:  # the kernel gives some by itself
                raise
    there.execute([netlink.up_request(name)])
