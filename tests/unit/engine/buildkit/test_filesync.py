"""Files from a client: what a sender may do, and what it may not."""

import io
import stat
import tarfile
from collections import deque
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.api.buildkit_session import FileStat, Packet, PacketType
from rundlet.api.protobuf import decode, encode
from rundlet.builder.errors import BuildError
from rundlet.engine.buildkit.filesync import Receiver, context_entry, go_mode, request_headers, unix_mode
from rundlet.engine.builds.contexts import BadContextError

DIRECTORY = 1 << 31 | 0o755


class Sender:
    """A client's end of a call: the files that it lists, and answers to what is asked for."""

    def __init__(self, *stats: FileStat, contents: dict[int, list[bytes]] | None = None) -> None:
        self.contents = contents or {}
        self.asked: list[int] = []
        self._queue: deque[Packet] = deque(Packet(PacketType.STAT, one) for one in stats)
        self._queue.append(Packet(PacketType.STAT))

    async def send(self, data: bytes) -> None:
        packet = decode(Packet, data)
        if packet.type == PacketType.REQUEST:
            self.asked.append(packet.id)
            pieces = self.contents.get(packet.id, [])
            self._queue.extend(Packet(PacketType.DATA, id=packet.id, data=piece) for piece in (*pieces, b""))
        else:
            self._queue.append(packet)

    async def end(self) -> None:
        """Nothing more comes."""

    async def next(self) -> bytes | None:
        return encode(self._queue.popleft()) if self._queue else None


async def received(sender: Sender, wanted: set[int] | None = None) -> dict[str, tarfile.TarInfo]:
    receiver = Receiver(cast("Any", sender), lambda _total: None)
    stats = await receiver.listing()
    data = b"".join([piece async for piece in receiver.archive(stats, wanted)])
    await receiver.finish()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


async def test_all_kinds_of_files() -> None:
    found = await received(
        Sender(
            FileStat("d", DIRECTORY),
            FileStat("d/empty", 0o600),
            FileStat("d/file", 0o755 | 1 << 23, size=5, modified=3_000_000_000),
            FileStat("d/hard", 0o644, link="d/file"),
            FileStat("d/link", 1 << 27 | 0o777, link="/etc/passwd"),
            FileStat("d/socket", 1 << 24 | 0o600),
            contents={2: [b"he", b"llo"]},
        )
    )
    assert list(found) == ["d", "d/empty", "d/file", "d/hard", "d/link"]
    assert (found["d/file"].mode, found["d/file"].size, found["d/file"].mtime) == (0o4755, 5, 3)
    assert (found["d/hard"].islnk(), found["d/hard"].linkname) == (True, "d/file")
    assert (found["d/link"].issym(), found["d/link"].linkname) == (True, "/etc/passwd")


async def test_only_what_is_wanted_is_asked_for() -> None:
    sender = Sender(*(FileStat(f"f{n}", 0o644, size=1) for n in range(3)), contents={n: [b"x"] for n in range(3)})
    assert list(await received(sender, {1})) == ["f1"]
    assert sender.asked == [1]


async def test_large_files_are_asked_for_one_after_the_other() -> None:
    size = 3 << 20
    stats = [FileStat(f"f{n}", 0o644, size=size) for n in range(3)]
    sender = Sender(*stats, contents={n: [bytes(1 << 20)] * 3 for n in range(3)})
    receiver = Receiver(cast("Any", sender), lambda _total: None)
    pieces = receiver.archive(await receiver.listing(), None)
    await anext(pieces)
    assert sender.asked == [0]
    await pieces.aclose()


@pytest.mark.parametrize("contents", [[b"1234"], [b"12345", b"6"], []])
async def test_a_file_has_the_size_it_was_listed_with(contents: list[bytes]) -> None:
    with pytest.raises(BadContextError, match="changed while it was sent"):
        await received(Sender(FileStat("f", 0o644, size=5), contents={0: contents}))


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a\0b", "a" * 5000])
async def test_names_that_are_none(path: str) -> None:
    with pytest.raises(BadContextError, match="invalid"):
        await received(Sender(FileStat(path, 0o644)))


async def test_what_the_sender_says_is_wrong_is_said() -> None:
    sender = Sender()
    sender._queue.appendleft(Packet(PacketType.ERROR, data=b"permission denied"))
    with pytest.raises(BuildError, match="permission denied"):
        await received(sender)
    sender = Sender()
    sender._queue.clear()
    with pytest.raises(BadContextError, match="stopped sending"):
        await received(sender)


@given(
    st.sampled_from([stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO]),
    st.integers(0, 0o7777),
)
def test_modes(kind: int, bits: int) -> None:
    assert unix_mode(go_mode(kind | bits)) == kind | bits


def test_patterns_that_are_no_headers_are_encoded() -> None:
    assert request_headers("context", exclude_patterns=["a", "!b c"]) == [
        ("dir-name", "context"),
        ("exclude-patterns", "a"),
        ("exclude-patterns", "!b c"),
    ]
    assert request_headers("c", followpaths=["é b"])[1:] == [("followpaths-encoded", "1"), ("followpaths", "%C3%A9+b")]


def test_files_are_told_apart_by_what_clients_tell() -> None:
    file = FileStat("f", 0o644, size=1, modified=1_000)
    assert context_entry(file) == context_entry(file)
    assert context_entry(file).changed
    assert context_entry(file) != context_entry(FileStat("f", 0o644, size=1, modified=1_001))
    assert context_entry(file) != context_entry(FileStat("f", 0o644, size=1, modified=1_000, link="other"))
