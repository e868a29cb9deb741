"""nf_tables' encoding."""

import struct

import pytest

from rundlet.linux import nft, nftexpr, nlmsg
from rundlet.linux.nft import IFNAME, IPV4, PROTOCOL, SERVICE, Batch, Element


def parsed(request: nlmsg.Request) -> dict[int, bytes]:
    return nlmsg.attributes(request.body, 4)


def test_a_concatenated_map_has_nfts_type_numbers() -> None:
    batch = Batch(nft.FAMILY_INET, "t")
    batch.add_set("m", [IPV4, PROTOCOL, SERVICE], data=[IPV4, SERVICE])
    found = {key: int.from_bytes(value, "big") for key, value in parsed(batch.requests[0]).items() if key > 2}
    assert found == {3: 8, 4: (7 << 6 | 12) << 6 | 13, 5: 12, 6: 7 << 6 | 13, 7: 8, 10: 1}


def test_sets_of_names_and_verdicts() -> None:
    batch = Batch(nft.FAMILY_INET, "t")
    batch.add_set("a", [IFNAME], verdicts=True)
    batch.add_set("b", [IPV4], interval=True)
    names, subnets = (parsed(request) for request in batch.requests)
    assert names[6] == b"\xff\xff\xff\0" and 13 in names and 13 not in subnets
    assert (names[10], subnets[10]) == (b"\0\0\0\1", b"\0\0\0\2")
    assert subnets[3] == b"\0\0\0\4"


def test_many_elements_go_in_several_messages() -> None:
    batch = Batch(nft.FAMILY_INET, "t")
    batch.add_elements("s", [Element(struct.pack(">I", number)) for number in range(1000)])
    assert len(batch.requests) == 3
    assert batch.requests[0].step == "nftables: add element to s in t"
    assert all(len(request.body) < 65536 for request in batch.requests)


def test_concatenation_pads_every_part() -> None:
    assert nft.concatenate(b"\x06", b"\x1f\x90") == b"\x06\0\0\0\x1f\x90\0\0"


def test_a_comment_comes_back() -> None:
    batch = Batch(nft.FAMILY_INET, "t")
    batch.add_rule("c", nftexpr.verdict(nftexpr.DROP), comment="why")
    body = batch.requests[0].body + nlmsg.attribute(3, (9).to_bytes(8, "big"))
    assert nft._parse_rule(nlmsg.Message(0, 0, 0, 0, body)) == nft.RuleInfo(9, "why")


def test_interface_names_and_subnets() -> None:
    assert nftexpr.interface_bytes("lo") == b"lo" + bytes(14)
    mask = nftexpr.in_subnet(nftexpr.load_ipv4_saddr(), "172.16.0.0", 12)
    assert b"\xff\xf0\0\0" in mask and b"\xac\x10\0\0" in mask
    with pytest.raises(OSError, match="illegal IP address"):
        nftexpr.in_subnet(b"", "nonsense", 8)
