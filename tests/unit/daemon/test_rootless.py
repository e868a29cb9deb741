"""Ranges of users, packets of the way out, and which control group is whose: what needs no namespace to be tested."""

import struct
from pathlib import Path

import pytest

from rundlet.daemon.lock import ForeignRootError, check_owner
from rundlet.daemon.rootless import delegation, ranges, tun
from rundlet.daemon.rootless.ranges import Extent, Range, RangeError

TABLE = "alice:100000:65536\n# no range\n1002:300000:10\nbroken:x:1\nempty:5:0\nalice:400000:5\n"


def test_a_table_has_ranges_by_name_and_by_number() -> None:
    table = ranges.parse(TABLE)
    assert ranges.own(table, "alice", 1001) == [Range("alice", 100000, 65536), Range("alice", 400000, 5)]
    assert ranges.own(table, "bob", 1002) == [Range("1002", 300000, 10)]
    assert ranges.own(table, "carol", 1003) == []


def test_root_inside_is_the_user_and_the_ranges_follow() -> None:
    mine = ranges.own(ranges.parse(TABLE), "alice", 1001)
    assert ranges.extents(mine, 1001) == [Extent(0, 1001, 1), Extent(1, 100000, 65536), Extent(65537, 400000, 5)]


def test_an_overlap_names_both_ranges() -> None:
    table = ranges.parse("alice:100000:65536\nbob:165535:10\n")
    with pytest.raises(RangeError, match=r"alice:100000:65536 overlaps bob:165535:10"):
        ranges.check_overlap(table, [table[0]], "/etc/subuid")
    neighbours = ranges.parse("alice:100000:65536\nbob:165536:10\n")
    ranges.check_overlap(neighbours, [neighbours[0]], "/etc/subuid")


def udp(payload: bytes, *, fragment: int = 0, total: int | None = None) -> bytes:
    body = struct.pack(">HHHH", 1111, 53, 8 + len(payload), 0) + payload
    length = 20 + len(body) if total is None else total
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 7, fragment, 64, 17, 0, bytes(4), b"\x08\x08\x08\x08")
    return head + body


def test_a_datagram_and_its_answer() -> None:
    parsed = tun.parse(udp(b"question"))
    assert parsed is not None
    flow, data = parsed
    assert (flow.source_port, flow.destination_port, data) == (1111, 53, b"question")
    answer = tun.reply(flow, b"answer")
    assert tun.checksum(answer[:20]) == 0
    assert answer[12:20] == b"\x08\x08\x08\x08" + bytes(4)
    assert struct.unpack_from(">HHH", answer, 20) == (53, 1111, 14)
    assert answer[28:] == b"answer"


def test_an_echo_reply_has_the_askers_identifier() -> None:
    body = struct.pack(">BBHHH", 8, 0, 0, 0x1234, 1) + b"data"
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0, bytes(4), bytes(4))
    parsed = tun.parse(head + body)
    assert parsed is not None
    answer = tun.reply(parsed[0], struct.pack(">BBHHH", 0, 0, 0, 0x9999, 1) + b"data")[20:]
    assert answer[4:8] == struct.pack(">HH", 0x1234, 1)
    assert tun.checksum(answer) == 0


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x60" + bytes(60), udp(b"x", fragment=0x2000), udp(b"x", fragment=5), udp(b"x", total=90), udp(b"x")[:27]],
    ids=["nothing", "IPv6", "more to come", "a later part", "longer than it is", "cut"],
)
def test_what_is_not_passed_on(packet: bytes) -> None:
    assert tun.parse(packet) is None


def test_a_scope_is_known_by_its_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("0::/user.slice/user@7.service/app.slice/rundlet-0a-5.scope/engine\n")
    monkeypatch.setattr("builtins.open", lambda _path, **_kind: groups.open(encoding="utf-8"))
    assert delegation._scope_of(5, "rundlet-0a") == "/user.slice/user@7.service/app.slice/rundlet-0a-5.scope"
    assert delegation._scope_of(5, "rundlet-0b") == ""


def test_a_root_that_another_users_engine_has_used(tmp_path: Path) -> None:
    check_owner(f"{tmp_path}/missing", 7)
    (tmp_path / "engine.lock").touch()
    owner = tmp_path.stat().st_uid
    check_owner(str(tmp_path), owner)
    with pytest.raises(ForeignRootError, match=f"uid {owner}"):
        check_owner(str(tmp_path), owner + 1)


def test_a_scope_is_there_when_all_processes_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = "/user.slice/app.slice/rundlet-0a-7.scope"
    looks = iter([["", ""], ["", scope], ["", scope], [scope, scope]])
    answers: list[str] = []

    def scope_of(_pid: int, _prefix: str) -> str:
        if not answers:
            answers.extend(next(looks))
        return answers.pop(0)

    monkeypatch.setattr(delegation, "_call", lambda *_words: True)
    monkeypatch.setattr(delegation, "_scope_of", scope_of)
    assert delegation._ask("rundlet-0a", [6, 7]) == scope
    assert next(looks, None) is None
