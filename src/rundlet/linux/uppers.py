"""macvlan and ipvlan interfaces: on one of the machine's, in another network namespace.

Standard library and this room only. See: rtnetlink(7), linux/if_link.h.
"""

import os
import struct
from typing import Final

from rundlet.linux.netlink import Netlink
from rundlet.linux.nlmsg import NLM_F_CREATE, NLM_F_EXCL, Request, attribute, nested, text, u32

_RTM_NEWLINK: Final = 16
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 5, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_MACVLAN_MODE, _IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS = 1, 1, 2
_MACVLAN_MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES: Final = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS: Final = {"bridge": 0, "private": 1, "vepa": 2}
_IFINFO: Final = struct.Struct("=BxHiII")


def create(
    host: Netlink,
    kind: str,
    name: str,
    parent: str,
    netns_fd: int,
    *,
    mac: str | None = None,
    mtu: int = 0,
    mode: str = "",
    flag: str = "",
) -> None:
    """Create a ``macvlan`` or ``ipvlan`` interface on ``parent`` of ``host``, in the namespace ``netns_fd``.

    It is down and has no address. An empty mode means Docker's: bridge, and l2. Raises: OSError.
    """
    # Before Linux 6.13 the kernel looks for the name where the parent is, and there often is an eth0.
    passing = f"rx{os.urandom(6).hex()}"
    parts = [text(_IFLA_IFNAME, passing), u32(_IFLA_LINK, host.index(parent)), u32(_IFLA_NET_NS_FD, netns_fd)]
    if mac:
        parts.append(attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))))
    if mtu:
        parts.append(u32(_IFLA_MTU, mtu))
    info = text(_IFLA_INFO_KIND, kind), nested(_IFLA_INFO_DATA, _data(kind, mode, flag))
    body = _IFINFO.pack(0, 0, 0, 0, 0) + b"".join((*parts, nested(_IFLA_LINKINFO, *info)))
    host.execute([Request(f"create {kind} {name}", _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)])
    with Netlink(netns_fd) as inside:
        body = _IFINFO.pack(0, 0, inside.index(passing), 0, 0) + text(_IFLA_IFNAME, name)
        try:
            inside.execute([Request(f"create {kind} {name}", _RTM_NEWLINK, 0, body)])
        except OSError:
            inside.delete_link(passing, missing_ok=True)
            raise


def _data(kind: str, mode: str, flag: str) -> bytes:
    if kind == "macvlan":
        return u32(_IFLA_MACVLAN_MODE, _MACVLAN_MODES[mode or "bridge"])
    data = attribute(_IFLA_IPVLAN_MODE, struct.pack("=H", _IPVLAN_MODES[mode or "l2"]))
    bits = _IPVLAN_FLAGS[flag or "bridge"]
    return data + (attribute(_IFLA_IPVLAN_FLAGS, struct.pack("=H", bits)) if bits else b"")
