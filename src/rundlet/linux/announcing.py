"""Whole frames that tell everyone on a link where an address is now, unasked: bytes in, bytes out.

See: RFC 5227, section 2.3 (IPv4); RFC 4861, sections 4.4 and 7.2.6 (IPv6).
"""

import socket
import struct
from typing import Final

_ARP: Final = 0x0806
_IPV6: Final = 0x86DD
_EVERYONE: Final = b"\xff" * 6
_ALL_NODES: Final = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ALL_NODES_MAC: Final = b"\x33\x33" + _ALL_NODES[-4:]
_REQUEST: Final = 1
_ICMPV6: Final = 58
_NEIGHBOUR_ADVERTISEMENT: Final = 136
_OVERRIDE: Final = 0x20000000
_TARGET_LINK_LAYER: Final = b"\x02\x01"


def frame(mac: bytes, address: str) -> bytes:
    """What is to be sent for one address (without its prefix) of the interface that has ``mac``."""
    if ":" in address:
        return _advertisement(mac, socket.inet_pton(socket.AF_INET6, address))
    return _announcement(mac, socket.inet_aton(address))


def _announcement(mac: bytes, address: bytes) -> bytes:
    """A question for the address that has it as the asker's, too: who knows it takes over the asker's place."""
    head = _EVERYONE + mac + struct.pack(">HHHBBH", _ARP, 1, 0x0800, 6, 4, _REQUEST)
    return head + mac + address + bytes(6) + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    body = address + _TARGET_LINK_LAYER + mac
    length = 8 + len(body)
    pseudo = address + _ALL_NODES + struct.pack(">II", length, _ICMPV6)
    plain = struct.pack(">BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE)
    message = struct.pack(">BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, _checksum(pseudo + plain + body), _OVERRIDE) + body
    head = _ALL_NODES_MAC + mac + struct.pack(">H", _IPV6)
    return head + struct.pack(">IHBB", 6 << 28, length, _ICMPV6, 255) + address + _ALL_NODES + message


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
