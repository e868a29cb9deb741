"""Layers through the whole pipeline: inflate, pipe, confined worker, verification, commit."""

import asyncio
import bz2
import gc
import gzip
import hashlib
import lzma
import os
import stat
import sys
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path

import pytest
from tests.integration.storage.support import ForkLauncher, archive, make_snapshotter, member

from rundlet.errors import DigestMismatchError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.errors import LayerError, LayerNotFoundError, SizeMismatchError
from rundlet.storage.layer import apply, aside
from rundlet.storage.layer.compression import PIECE
from rundlet.storage.layer.unpack import UnpackResult, unpack, unpack_detached
from rundlet.storage.snapshot import OverlaySnapshotter, Preparation

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.root

SIMPLE = [
    member("./", tarfile.DIRTYPE, mode=0o700),
    member("etc", tarfile.DIRTYPE, mode=0o2775, gid=50, mtime=1_000_000_000),
    member("etc/passwd", data=b"root:x:0:0\n", mode=0o640, uid=1, gid=2, mtime=1_234_567_890),
    member("etc/plain", data=b"x"),
    member("bin/su", data=b"#!", mode=0o4755, uid=0, gid=7),
    member("big", data=os.urandom(3 << 20)),
    member("empty"),
    member("sh", tarfile.SYMTYPE, linkname="bin/su", mtime=77),
    member("etc/again", tarfile.LNKTYPE, linkname="etc/passwd"),
    member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    member("dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o660, gid=6),
    member("run/fifo", tarfile.FIFOTYPE, mode=0o600),
]


@pytest.fixture
def snapshotter(tmp_path: Path) -> OverlaySnapshotter:
    return make_snapshotter(tmp_path)


async def _stream(data: bytes, size: int = 70_001) -> AsyncIterator[bytes]:
    for position in range(0, len(data), size):
        yield data[position : position + size]
        await asyncio.sleep(0)


def _unpack(data: bytes, snapshotter: OverlaySnapshotter, **options: object) -> UnpackResult:
    async def go() -> UnpackResult:
        return await unpack(_stream(data), snapshotter, ForkLauncher(), parent=None, **options)  # type: ignore[arg-type]

    return asyncio.run(go())


def _layer(data: bytes, snapshotter: OverlaySnapshotter) -> Path:
    return Path(snapshotter.layer(_unpack(data, snapshotter).chain).path)


def _nothing_left(snapshotter: OverlaySnapshotter, root: Path) -> None:
    assert snapshotter.layers() == []
    assert list((root / "snapshots").iterdir()) == []


def test_everything_a_layer_holds(snapshotter: OverlaySnapshotter) -> None:
    data = archive(SIMPLE)
    result = _unpack(data, snapshotter)
    assert result.diff_id == Digest.of(data)
    assert result.chain == result.diff_id
    assert (result.tar_size, result.source_size, result.compression) == (len(data), len(data), "none")
    assert result.entries == len(SIMPLE)
    assert result.size == 11 + 1 + 2 + (3 << 20) + len("bin/su")
    root = Path(snapshotter.layer(result.chain).path)
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    etc = (root / "etc").stat()
    assert (stat.S_IMODE(etc.st_mode), etc.st_gid, etc.st_mtime) == (0o2775, 50, 1_000_000_000)
    passwd = (root / "etc/passwd").stat()
    assert (stat.S_IMODE(passwd.st_mode), passwd.st_uid, passwd.st_gid, passwd.st_nlink) == (0o640, 1, 2, 2)
    assert passwd.st_mtime == 1_234_567_890
    assert (root / "etc/plain").stat().st_gid == 0  # the directory's set-group-ID bit does not colour it
    assert stat.S_IMODE((root / "bin/su").stat().st_mode) == 0o4755
    assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o755
    assert os.readlink(root / "sh") == "bin/su"
    assert (root / "sh").lstat().st_mtime == 77
    null = (root / "dev/null").stat()
    assert stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3) and stat.S_IMODE(null.st_mode) == 0o666
    assert stat.S_ISBLK((root / "dev/sda").stat().st_mode)
    assert stat.S_ISFIFO((root / "run/fifo").stat().st_mode)
    assert hashlib.sha256((root / "big").read_bytes()).digest() == hashlib.sha256(SIMPLE[5][1]).digest()


def _two_members(data: bytes) -> bytes:
    return gzip.compress(data[:5000]) + gzip.compress(data[5000:]) + bytes(512)


def _skipped(number: int) -> bytes:
    """A zstd frame with something that is no data."""
    return bytes((number, 0x2A, 0x4D, 0x18, 5, 0, 0, 0)) + b"hello"


@pytest.mark.parametrize(
    ("name", "start"),
    [("lz4", b"\x04\x22\x4d\x18"), ("lz4", b"\x02\x21\x4c\x18"), ("compress", b"\x1f\x9d\x90"), ("zip", b"PK\3\4")],
)
@pytest.mark.parametrize("length", [5, 5000])
def test_compressions_that_can_not_be_read(
    name: str, start: bytes, length: int, snapshotter: OverlaySnapshotter, tmp_path: Path
) -> None:
    with pytest.raises(LayerError, match=f"^unsupported compression: {name} "):
        _unpack(start.ljust(length, b"x"), snapshotter)
    _nothing_left(snapshotter, tmp_path)


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("gzip", _two_members),
        ("zstd", zstd.compress),
        ("zstd", lambda data: _skipped(0x50) + zstd.compress(data)),
        ("zstd", lambda data: zstd.compress(data[:5000]) + _skipped(0x5F) + zstd.compress(data[5000:])),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("none", bytes),
    ],
)
def test_compressions(name: str, compress: Callable[[bytes], bytes], snapshotter: OverlaySnapshotter) -> None:
    data = archive(SIMPLE)
    packed = compress(data)
    expected = Descriptor.of("application/x", packed)
    result = _unpack(packed, snapshotter, diff_id=Digest.of(data), expected=expected)
    assert result.compression == name
    assert result.source_digest == expected.digest


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats(format: int, snapshotter: OverlaySnapshotter) -> None:
    long = "d" * 90 + "/" + "f" * 99
    members = [member(long, data=b"1"), member("ü", data=b"2"), member("l", tarfile.SYMTYPE, linkname="t" * 90)]
    if format != tarfile.USTAR_FORMAT:
        members.append(member("/".join(["deep"] * 60), data=b"3", uid=3_000_000, mtime=5_000_000_000))
    root = _layer(archive(members, format), snapshotter)
    assert (root / long).read_bytes() == b"1"
    assert (root / "ü").read_bytes() == b"2"
    if format != tarfile.USTAR_FORMAT:
        deep = (root / "/".join(["deep"] * 60)).stat()
        assert (deep.st_uid, deep.st_mtime) == (3_000_000, 5_000_000_000)


def test_extended_attributes(snapshotter: OverlaySnapshotter) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    encoded = capability.decode("latin-1")
    headers = {
        "SCHILY.xattr.security.capability": encoded,
        "SCHILY.xattr.user.colour": "blue",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
    }
    root = _layer(archive([member("bin/ping", data=b"x", uid=5, pax_headers=headers)]), snapshotter)
    ping = root / "bin/ping"
    assert os.getxattr(ping, "security.capability")[:4] == capability[:4]
    assert os.getxattr(ping, "user.colour") == b"blue"
    assert not any("overlay" in name for name in os.listxattr(ping))


def test_whiteouts_become_overlayfs_ones(snapshotter: OverlaySnapshotter) -> None:
    root = _layer(
        archive(
            [
                member("etc/.wh.gone"),
                member("opaque/.wh..wh..opq"),
                member("opaque/new", data=b"1"),
                member("kept", data=b"1"),
                member(".wh.kept"),
                member(".wh.replaced"),
                member("replaced", tarfile.DIRTYPE),
                member(".wh..wh.plnk", tarfile.DIRTYPE),
                member(".wh..wh.plnk/1.2", data=b"aufs"),
            ]
        ),
        snapshotter,
    )
    gone = (root / "etc/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.getxattr(root / "opaque", "trusted.overlay.opaque") == b"y"
    assert (root / "kept").read_bytes() == b"1"
    assert os.getxattr(root / "replaced", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(root)) == ["etc", "kept", "opaque", "replaced"]


def test_what_aufs_left_in_layers(snapshotter: OverlaySnapshotter) -> None:
    """Its own files go; those that hard links lead to, after the links are made."""
    root = _layer(
        archive(
            [
                member(".wh..wh.aufs", data=b""),
                member(".wh..wh.orph", tarfile.DIRTYPE),
                member(".wh..wh.orph/x", data=b"1"),
                member(".wh..wh.plnk", tarfile.DIRTYPE),
                member(".wh..wh.plnk/115.20", data=b"twice", mode=0o640, uid=5),
                member(".wh..wh.plnk/115.21", data=b"unused"),
                member(".wh..wh.plnk/link", tarfile.SYMTYPE, linkname="/etc"),
                member(".wh..wh.plnk/.wh.gone"),
                member(".wh..wh.plnk/.wh..wh..opq"),
                member("etc/one", tarfile.LNKTYPE, linkname=".wh..wh.plnk/115.20"),
                member("other", tarfile.LNKTYPE, linkname="./.wh..wh.plnk/115.20"),
                member("etc/.wh..wh.plnk/x", data=b"no such place"),
            ]
        ),
        snapshotter,
    )
    assert sorted(os.listdir(root)) == ["etc", "other"] and os.listdir(root / "etc") == ["one"]
    found = (root / "other").stat()
    assert (found.st_ino, found.st_nlink) == ((root / "etc/one").stat().st_ino, 2)
    assert ((root / "other").read_text(), stat.S_IMODE(found.st_mode), found.st_uid) == ("twice", 0o640, 5)


def test_removals_among_what_aufs_kept(snapshotter: OverlaySnapshotter) -> None:
    root = _layer(
        archive([member(".wh..wh.orph/.wh.gone"), member(".wh..wh.orph/.wh..wh..opq"), member("a", data=b"1")]),
        snapshotter,
    )
    assert os.listdir(root) == ["a"]


def test_later_entries_replace_earlier_ones(snapshotter: OverlaySnapshotter) -> None:
    root = _layer(
        archive(
            [
                member("a", data=b"old"),
                member("a", data=b"new"),
                member("d/x/y", data=b"1"),
                member("d", data=b"file now"),
                member("f", data=b"1"),
                member("f", tarfile.DIRTYPE, mode=0o711),
                member("f/inside", data=b"2"),
                member("m", tarfile.DIRTYPE, mode=0o700),
                member("m/kept", data=b"3"),
                member("m", tarfile.DIRTYPE, mode=0o750),
                member("l", tarfile.SYMTYPE, linkname="f"),
                member("l/through", data=b"4"),
                member("l", tarfile.DIRTYPE),
                member("l/own", data=b"5"),
            ]
        ),
        snapshotter,
    )
    assert (root / "a").read_bytes() == b"new"
    assert (root / "d").read_bytes() == b"file now"
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o711
    assert (root / "m/kept").read_bytes() == b"3"
    assert stat.S_IMODE((root / "m").stat().st_mode) == 0o750
    assert (root / "f/through").read_bytes() == b"4"
    assert (root / "l/own").read_bytes() == b"5"
    assert not (root / "f/own").exists()


def test_root_is_ignored_and_names_are_rooted(snapshotter: OverlaySnapshotter) -> None:
    root = _layer(
        archive(
            [
                member("/abs/file", data=b"1"),
                member("./a/./b//../c", data=b"2"),
                member("/../y"),
            ]
        ),
        snapshotter,
    )
    assert (root / "abs/file").read_bytes() == b"1"
    assert (root / "a/c").read_bytes() == b"2"
    assert (root / "y").exists()


def test_many_directories_held_open(snapshotter: OverlaySnapshotter) -> None:
    members = [member(f"{n % 700}/{n}/f", data=b"x") for n in range(1500)]
    members += [member(f"l{n}", tarfile.LNKTYPE, linkname=f"{n % 700}/{n}/f") for n in range(1500)]
    root = _layer(archive(members), snapshotter)
    assert (root / "l1499").stat().st_nlink == 2


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 5000])
def test_truncated(cut: int, snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive([member("f", data=b"x" * 4000), member("g", data=b"y" * 9000)])[: 512 * 9 + cut]
    with pytest.raises(LayerError, match="unexpected EOF"):
        _unpack(data, snapshotter)
    _nothing_left(snapshotter, tmp_path)


def _bad_crc(compress: Callable[[bytes], bytes], packed: bytes) -> list[bytes]:
    """gzip's checksum is in its last eight bytes."""
    return [packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]] if compress is gzip.compress else []


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, bz2.compress, lzma.compress])
def test_corrupt_compression(
    compress: Callable[[bytes], bytes], snapshotter: OverlaySnapshotter, tmp_path: Path
) -> None:
    packed = bytearray(compress(archive(SIMPLE)))
    for data in (
        packed[: len(packed) // 2],
        packed[:-2],
        packed[: len(packed) // 2] + b"garbage" * 99999,
        packed + b"x",
    ):
        with pytest.raises(LayerError) as caught:
            _unpack(bytes(data), snapshotter)
        assert "\n" not in str(caught.value)
        _nothing_left(snapshotter, tmp_path)
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises((LayerError, DigestMismatchError)):
        _unpack(bytes(packed), snapshotter, diff_id=Digest.of(archive(SIMPLE)))
    _nothing_left(snapshotter, tmp_path)


def test_lies_about_digests_and_sizes(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive(SIMPLE)
    wrong = Digest.of(b"something else")
    with pytest.raises(DigestMismatchError):
        _unpack(data, snapshotter, diff_id=wrong)
    with pytest.raises(DigestMismatchError):
        _unpack(data, snapshotter, expected=Descriptor("x", wrong, len(data)))
    with pytest.raises(SizeMismatchError):
        _unpack(data, snapshotter, expected=Descriptor("x", Digest.of(data), len(data) + 1))
    _nothing_left(snapshotter, tmp_path)


def test_error_of_the_source_wins(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield archive(SIMPLE)[:100_000]
        raise ConnectionResetError("registry went away")

    async def go() -> None:
        await unpack(failing(), snapshotter, ForkLauncher(), parent=None)

    with pytest.raises(ConnectionResetError):
        asyncio.run(go())
    _nothing_left(snapshotter, tmp_path)


def test_cancellation_leaves_nothing(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive(SIMPLE)

    async def endless() -> AsyncIterator[bytes]:
        yield data[:100_000]
        await asyncio.sleep(3600)

    def blocking() -> Iterator[bytes]:
        while True:
            yield archive([member("f", data=bytes(1 << 20))])[:-1024]

    async def go(source: object) -> None:
        task = asyncio.create_task(unpack(source, snapshotter, ForkLauncher(), parent=None))  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(go(endless()))
    _nothing_left(snapshotter, tmp_path)
    asyncio.run(go(blocking()))
    _nothing_left(snapshotter, tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_cancelled_while_its_directory_is_made(
    snapshotter: OverlaySnapshotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    prepare = snapshotter.prepare_layer

    def slowly(parent: Digest | None) -> Preparation:
        begun.set()
        assert may_go_on.wait(60)
        return prepare(parent)

    async def go(work: Coroutine[object, object, object]) -> None:
        task = asyncio.create_task(work)
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(snapshotter, "prepare_layer", slowly)
    source = [archive(SIMPLE)]
    asyncio.run(go(unpack(iter(source), snapshotter, ForkLauncher(), parent=None)))
    _nothing_left(snapshotter, tmp_path)
    begun.clear()
    may_go_on.clear()
    asyncio.run(go(unpack_detached(iter(source), snapshotter, ForkLauncher(), hash_plain=True)))
    _nothing_left(snapshotter, tmp_path)


def test_killed_worker(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive([member("f", data=bytes(8 << 20))])

    async def go() -> None:
        launcher = ForkLauncher()

        async def source() -> AsyncIterator[bytes]:
            yield data[:1000]
            launcher.started[0].kill()
            for _ in range(100):
                yield data[1000:]

        await unpack(source(), snapshotter, launcher, parent=None)

    with pytest.raises(LayerError, match="without an answer"):
        asyncio.run(go())
    _nothing_left(snapshotter, tmp_path)


def test_layers_of_an_image_at_once(snapshotter: OverlaySnapshotter) -> None:
    layers = [archive([member(f"f{n}", data=bytes([n]) * 300_000)]) for n in range(5)]

    async def go() -> list[UnpackResult]:
        tasks: list[asyncio.Task[UnpackResult]] = []
        parent: Digest | None = None
        for data in layers:
            after = tasks[-1] if tasks else None
            diff_id = Digest.of(data)
            work = unpack(_stream(data), snapshotter, ForkLauncher(), parent=parent, diff_id=diff_id, after=after)
            tasks.append(asyncio.create_task(work))
            parent = Digest.of(f"{parent} {diff_id}".encode()) if parent else diff_id
        return list(await asyncio.gather(*tasks))

    results = asyncio.run(go())
    rootfs = snapshotter.prepare_container("c" * 64, results[-1].chain)
    assert [os.listdir(path) for path in rootfs.lower] == [[f"f{n}"] for n in (4, 3, 2, 1, 0)]


def test_same_layer_twice_at_once(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive(SIMPLE)

    async def go() -> None:
        await asyncio.gather(*(unpack(_stream(data), snapshotter, ForkLauncher(), parent=None) for _ in range(3)))

    asyncio.run(go())
    assert len(snapshotter.layers()) == 1
    assert len(list((tmp_path / "snapshots").iterdir())) == 1


def test_inflating_goes_on_while_the_worker_is_behind(
    snapshotter: OverlaySnapshotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = archive([member("big", data=os.urandom(1 << 20) * 12)])
    monkeypatch.setattr(aside, "ALONE", 0)
    go_read, go_write = os.pipe()
    came_that_far = threading.Event()
    in_time: list[bool] = []

    def late(fds: Sequence[int]) -> int:
        os.read(go_read, 1)
        return apply.main(fds)

    def pieces() -> Iterator[bytes]:
        for position in range(0, len(data), PIECE):
            yield data[position : position + PIECE]
            if position >= 4 << 20:  # several times what the pipe holds
                came_that_far.set()

    def let_go() -> None:
        in_time.append(came_that_far.wait(20))
        os.write(go_write, b"g")

    async def go() -> UnpackResult:
        return await unpack(pieces(), snapshotter, ForkLauncher(late), parent=None)

    letting_go = threading.Thread(target=let_go)
    letting_go.start()
    try:
        result = asyncio.run(go())
    finally:
        letting_go.join()
        os.close(go_read)
        os.close(go_write)
    assert in_time == [True]
    assert result.diff_id == Digest.of(data)


def test_parent_that_failed(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    with pytest.raises(LayerNotFoundError):
        asyncio.run(unpack(iter([archive(SIMPLE)]), snapshotter, ForkLauncher(), parent=Digest.of(b"never committed")))
    _nothing_left(snapshotter, tmp_path)
