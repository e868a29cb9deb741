"""Netlink's encoding, against bytes that the kernel's headers prescribe."""

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.linux import netlink, nlmsg
from rundlet.linux.nlmsg import Message, Request


def test_attributes_are_padded() -> None:
    assert nlmsg.attribute(3, b"ab") == struct.pack("=HH", 6, 3) + b"ab\0\0"
    assert nlmsg.text(3, "abc") == struct.pack("=HH", 8, 3) + b"abc\0"
    assert (
        nlmsg.nested(4, nlmsg.u8(1, 9)) == struct.pack("=HH", 12, 4 | 0x8000) + struct.pack("=HH", 5, 1) + b"\x09\0\0\0"
    )
    with pytest.raises(ValueError, match="65540 bytes"):
        nlmsg.attribute(1, bytes(65536))


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_come_back(wanted: list[tuple[int, bytes]]) -> None:
    data = b"".join(nlmsg.attribute(kind, payload) for kind, payload in wanted)
    assert list(nlmsg.iterate_attributes(data)) == wanted


@given(st.binary(max_size=200))
def test_garbage_is_survived(data: bytes) -> None:
    nlmsg.attributes(data)
    list(nlmsg.messages(data))


def test_messages_come_back() -> None:
    sent = nlmsg.encode(Request("x", 16, 0x400, b"abc"), nlmsg.NLM_F_ACK, 7)
    assert len(sent) == 20
    assert list(nlmsg.messages(sent + sent)) == [Message(16, 0x405, 7, 0, b"abc")] * 2


def test_an_error_with_its_explanation() -> None:
    echo = struct.pack("=IHHII", 16, 16, 5, 7, 0)
    body = struct.pack("=i", -errno.EEXIST) + echo + nlmsg.text(1, "why not")
    flags = nlmsg.NLM_F_CAPPED | nlmsg.NLM_F_ACK_TLVS
    assert nlmsg.error_of(Message(nlmsg.NLMSG_ERROR, flags, 7, 0, body)) == (errno.EEXIST, "why not")
    assert nlmsg.error_of(Message(nlmsg.NLMSG_ERROR, 0, 7, 0, struct.pack("=i", 0) + echo)) == (0, "")
    error = nlmsg.os_error(errno.EEXIST, "why not", "create bridge x")
    assert (error.errno, error.strerror, error.filename) == (17, "File exists (why not)", "create bridge x")
    assert isinstance(error, FileExistsError)


def test_addresses() -> None:
    assert netlink.parse_address("10.0.0.1/8") == (socket.AF_INET, b"\x0a\0\0\1", 8)
    assert netlink.parse_address("10.0.0.1") == (socket.AF_INET, b"\x0a\0\0\1", 32)
    assert netlink.parse_address("::1/64")[0] == socket.AF_INET6
    with pytest.raises(OSError, match="illegal IP address"):
        netlink.parse_address("10.0.0.256/8")


def test_an_address_has_dockers_broadcast() -> None:
    body = netlink.address_request(5, "172.17.0.2/16").body
    family, prefix, _flags, scope, index = struct.unpack_from("=BBBBI", body)
    assert (family, prefix, scope, index) == (socket.AF_INET, 16, 0, 5)
    found = nlmsg.attributes(body, 8)
    assert found == {1: b"\xac\x11\0\2", 2: b"\xac\x11\0\2", 4: b"\xac\x11\xff\xff"}
    assert 4 not in nlmsg.attributes(netlink.address_request(5, "10.0.0.1/32").body, 8)


def test_a_veth_is_one_message() -> None:
    request = netlink.veth_request("rv0", 9, 33, "eth0", mac="02:42:ac:11:00:02", mtu=1400, large=True)
    found = nlmsg.attributes(request.body, 16)
    assert (found[3], struct.unpack("=I", found[10])[0], struct.unpack("=I", found[4])[0]) == (b"rv0\0", 9, 1400)
    info = nlmsg.attributes(found[18])
    assert info[1] == b"veth\0"
    peer = nlmsg.attributes(nlmsg.attributes(info[2])[1], 16)
    assert (peer[3], peer[1].hex(":"), struct.unpack("=I", peer[28])[0]) == (b"eth0\0", "02:42:ac:11:00:02", 33)
    assert struct.unpack("=I", found[63])[0] == 524280, "large pieces towards the container"
    assert 63 not in peer, "what it sends may leave by hardware"


def test_a_default_route_has_no_destination() -> None:
    request = netlink.route_request("0.0.0.0/0", "172.17.0.1")
    assert nlmsg.attributes(request.body, 12) == {5: b"\xac\x11\0\1"}
    assert request.step == "add route 0.0.0.0/0 via 172.17.0.1"
