"""The expressions that nf_tables rules are made of, as netlink attributes.

A rule is the concatenation of expressions; each loads into, compares or consumes registers. Register 1 is 16 bytes
long; ``word(n)`` names its 4-byte parts (and those after it), in which concatenated keys are put together.

See: linux/netfilter/nf_tables.h; ``nft --debug=netlink`` prints the same expressions.
"""

import socket
import struct

from rundlet.linux.nlmsg import attribute, be32, nested, text

# Verdicts.
DROP, ACCEPT = 0, 1
JUMP, GOTO, RETURN = -3, -4, -5

REGISTER = 1
_VERDICT_REGISTER = 0
_FIRST_WORD = 8

_LIST_ELEMENT = 1
_EXPR_NAME, _EXPR_DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2

_META_NFPROTO, _META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 15, 6, 7, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_CT_STATE, _CT_STATUS, _CT_MARK = 0, 2, 3
_META_MARK = 3
_FIB_OIFNAME, _FIB_ADDRTYPE, _FIB_SADDR, _FIB_DADDR = 2, 3, 1, 2
_RTN_LOCAL = 2
_NAT_SNAT, _NAT_DNAT = 0, 1
_NFPROTO_IPV4, _NFPROTO_IPV6 = 2, 10
_LOOKUP_INVERT = 1
IFNAMSIZ = 16

CT_ESTABLISHED, CT_RELATED = 2, 4
_IPS_DST_NAT = 1 << 5


def word(number: int) -> int:
    """The register of the ``number``-th 4-byte word; word 0 is the start of register 1."""
    return _FIRST_WORD + number


def expression(name: str, *data: bytes) -> bytes:
    """One expression as a list element."""
    return nested(_LIST_ELEMENT, text(_EXPR_NAME, name), nested(_EXPR_DATA, *data))


def value(data: bytes) -> bytes:
    """``data`` as the content of a value attribute."""
    return attribute(_DATA_VALUE, data)


def verdict_value(code: int, chain: str = "") -> bytes:
    """A verdict (with its chain, for JUMP and GOTO) as the content of a value attribute."""
    parts = [be32(_VERDICT_CODE, code & 0xFFFFFFFF)]
    if chain:
        parts.append(text(_VERDICT_CHAIN, chain))
    return nested(_DATA_VERDICT, *parts)


def interface_bytes(name: str) -> bytes:
    """An interface's name as sets and comparisons hold it: 16 bytes, zero padded."""
    return name.encode().ljust(IFNAMSIZ, b"\0")


# -- loads ----------------------------------------------------------------------------------------------------------


def meta(key: int, register: int = REGISTER) -> bytes:
    return expression("meta", be32(1, register), be32(2, key))


def load_iifname(register: int = REGISTER) -> bytes:
    return meta(_META_IIFNAME, register)


def load_oifname(register: int = REGISTER) -> bytes:
    return meta(_META_OIFNAME, register)


def load_l4proto(register: int = REGISTER) -> bytes:
    return meta(_META_L4PROTO, register)


def payload(base: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    return expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


def load_ipv4_saddr(register: int = REGISTER) -> bytes:
    return payload(_NETWORK_HEADER, 12, 4, register)


def load_ipv4_daddr(register: int = REGISTER) -> bytes:
    return payload(_NETWORK_HEADER, 16, 4, register)


def load_ipv6_saddr(register: int = REGISTER) -> bytes:
    return payload(_NETWORK_HEADER, 8, 16, register)


def load_ipv6_daddr(register: int = REGISTER) -> bytes:
    return payload(_NETWORK_HEADER, 24, 16, register)


def load_dport(register: int = REGISTER) -> bytes:
    """The destination port, where TCP, UDP and SCTP all have it."""
    return payload(_TRANSPORT_HEADER, 2, 2, register)


# -- matches: the rule goes on to its next expression only when they hold -------------------------------------------


def compare(data: bytes, *, equal: bool = True, register: int = REGISTER) -> bytes:
    operator = _EQUAL if equal else _NOT_EQUAL
    return expression("cmp", be32(1, register), be32(2, operator), nested(3, value(data)))


def mask(bits: bytes, register: int = REGISTER) -> bytes:
    """register &= bits."""
    length = be32(3, len(bits))
    keep, flip = nested(4, value(bits)), nested(5, value(bytes(len(bits))))
    return expression("bitwise", be32(1, register), be32(2, register), length, keep, flip)


def lookup(name: str, *, into: int | None = None, invert: bool = False, register: int = REGISTER) -> bytes:
    """Match when the register's key is in the set; a map's data go ``into`` a register (0: act on the verdict)."""
    parts = [text(1, name), be32(2, register)]
    if into is not None:
        parts.append(be32(3, into))
    if invert:
        parts.append(be32(5, _LOOKUP_INVERT))
    return expression("lookup", *parts)


def ipv4() -> bytes:
    """The packet is IPv4 (an inet table sees both)."""
    return meta(_META_NFPROTO) + compare(bytes((_NFPROTO_IPV4,)))


def ipv6() -> bytes:
    """The packet is IPv6."""
    return meta(_META_NFPROTO) + compare(bytes((_NFPROTO_IPV6,)))


def interface_is(load: bytes, name: str, *, equal: bool = True) -> bytes:
    return load + compare(interface_bytes(name), equal=equal)


def interface_starts_with(load: bytes, prefix: str) -> bytes:
    return load + compare(prefix.encode())


def in_subnet(load: bytes, network: str, prefix: int, *, equal: bool = True) -> bytes:
    """An address loaded by ``load`` is in ``network/prefix``, of the same family."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in network else socket.AF_INET, network)
    length = 8 * len(packed)
    bits = ((1 << length) - (1 << (length - prefix))).to_bytes(len(packed), "big")
    return load + mask(bits) + compare(packed, equal=equal)


def ct_state(states: int) -> bytes:
    """The connection is in one of ``states`` (CT_*)."""
    return _ct(_CT_STATE) + mask(struct.pack("=I", states)) + compare(bytes(4), equal=False)


def ct_dnat() -> bytes:
    """The connection's destination was translated (by anyone)."""
    return _ct(_CT_STATUS) + mask(struct.pack("=I", _IPS_DST_NAT)) + compare(bytes(4), equal=False)


def destination_is_local() -> bytes:
    """The destination is an address of this host."""
    fib = expression("fib", be32(1, REGISTER), be32(2, _FIB_ADDRTYPE), be32(3, _FIB_DADDR))
    return fib + compare(struct.pack("=I", _RTN_LOCAL))


def source_is_foreign() -> bytes:
    """The source is no address of this host."""
    fib = expression("fib", be32(1, REGISTER), be32(2, _FIB_ADDRTYPE), be32(3, _FIB_SADDR))
    return fib + compare(struct.pack("=I", _RTN_LOCAL), equal=False)


def connection_mark_is(mark: int) -> bytes:
    return _ct(_CT_MARK) + compare(struct.pack("=I", mark))


def leaves_by(name: str) -> bytes:
    """The destination's route goes out by interface ``name``; known before the packet is routed."""
    fib = expression("fib", be32(1, REGISTER), be32(2, _FIB_OIFNAME), be32(3, _FIB_DADDR))
    return fib + compare(interface_bytes(name))


def _ct(key: int) -> bytes:
    return expression("ct", be32(1, REGISTER), be32(2, key))


# -- statements -----------------------------------------------------------------------------------------------------


def verdict(code: int, chain: str = "") -> bytes:
    return expression("immediate", be32(1, _VERDICT_REGISTER), nested(2, verdict_value(code, chain)))


def verdict_map(name: str) -> bytes:
    """Look the register up in a map of verdicts and act on what it says."""
    return lookup(name, into=_VERDICT_REGISTER)


def mark_connection(mark: int) -> bytes:
    """Give the packet's whole connection a mark."""
    return _immediate(mark) + expression("ct", be32(2, _CT_MARK), be32(4, REGISTER))


def mark_packet(mark: int) -> bytes:
    """Give the packet a mark, which rules of routing may ask for."""
    return _immediate(mark) + expression("meta", be32(2, _META_MARK), be32(3, REGISTER))


def _immediate(number: int) -> bytes:
    return expression("immediate", be32(1, REGISTER), nested(2, value(struct.pack("=I", number))))


def counter() -> bytes:
    return expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def masquerade() -> bytes:
    """Translate the source to the address of the interface that the packet leaves by."""
    return expression("masq")


def dnat_ipv4_to(address: str, port: int) -> bytes:
    """Translate the destination to one address and port."""
    return (
        expression("immediate", be32(1, REGISTER), nested(2, value(socket.inet_aton(address))))
        + expression("immediate", be32(1, word(1)), nested(2, value(port.to_bytes(2, "big"))))
        + expression("nat", be32(1, _NAT_DNAT), be32(2, _NFPROTO_IPV4), be32(3, REGISTER), be32(5, word(1)))
    )


def dnat_ipv4_from_map(name: str) -> bytes:
    """Look the register's key up in a map to (address, port) and translate the destination to it."""
    return lookup(name, into=REGISTER) + expression(
        "nat", be32(1, _NAT_DNAT), be32(2, _NFPROTO_IPV4), be32(3, REGISTER), be32(5, word(1))
    )


def dnat_ipv6_from_map(name: str) -> bytes:
    """The same for IPv6, whose addresses take four words."""
    return lookup(name, into=REGISTER) + expression(
        "nat", be32(1, _NAT_DNAT), be32(2, _NFPROTO_IPV6), be32(3, REGISTER), be32(5, word(4))
    )


def snat_to(address: str) -> bytes:
    """Translate the source to one address of the packet's family."""
    v6 = ":" in address
    packed = socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, address)
    family = _NFPROTO_IPV6 if v6 else _NFPROTO_IPV4
    return expression("immediate", be32(1, REGISTER), nested(2, value(packed))) + expression(
        "nat", be32(1, _NAT_SNAT), be32(2, family), be32(3, REGISTER)
    )
