"""Layers made to get out, steer the overlay, fill memory or confuse: each fails in one line or stays inside."""

import asyncio
import gzip
import os
import secrets
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.conftest import lacking
from tests.integration.storage.support import ForkLauncher, archive, make_snapshotter, member

from rundlet.linux import libc
from rundlet.storage.errors import LayerError, LayerTooLargeError
from rundlet.storage.layer import apply
from rundlet.storage.layer.compression import PIECE, Inflater
from rundlet.storage.layer.unpack import UnpackResult, unpack, unpack_detached
from rundlet.storage.snapshot import OverlaySnapshotter

pytestmark = pytest.mark.root


@pytest.fixture
def snapshotter(tmp_path: Path) -> Iterator[OverlaySnapshotter]:
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    yield make_snapshotter(tmp_path)
    assert canary.read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("state.db")) == [
        "canary",
        "snapshots",
    ]


def _unpack(
    data: bytes, snapshotter: OverlaySnapshotter, main: Callable[[Sequence[int]], int] = apply.main
) -> UnpackResult:
    async def go() -> UnpackResult:
        return await unpack(iter([data]), snapshotter, ForkLauncher(main), parent=None)

    return asyncio.run(go())


def _layer(members: list[tuple[tarfile.TarInfo, bytes]], snapshotter: OverlaySnapshotter) -> Path:
    return Path(snapshotter.layer(_unpack(archive(members), snapshotter).chain).path)


def _refused(data: bytes, snapshotter: OverlaySnapshotter, tmp_path: Path) -> str:
    with pytest.raises(LayerError) as caught:
        _unpack(data, snapshotter)
    assert snapshotter.layers() == []
    assert list((tmp_path / "snapshots").iterdir()) == []
    line = str(caught.value)
    assert line.isprintable()
    return line


@pytest.mark.parametrize("name", ["../escape", "a/../../escape", "./../escape", "a/b/../../../escape", ".."])
def test_parent_directories_are_refused(name: str, snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    assert _refused(archive([member(name, data=b"x")]), snapshotter, tmp_path).endswith('is outside of "/"')


def test_links_lead_nowhere_but_inside(snapshotter: OverlaySnapshotter) -> None:
    """CVE-2014-9357 and its many kin: a link to the root, to outside, through another link, then a file through it."""
    root = _layer(
        [
            member("a", tarfile.SYMTYPE, linkname="/"),
            member("a/etc/passwd", data=b"inside"),
            member("up", tarfile.SYMTYPE, linkname="../../../../.."),
            member("up/tmp/x", data=b"inside"),
            member("b", tarfile.SYMTYPE, linkname="a/../a"),
            member("b/y", data=b"inside"),
            member("canary", tarfile.SYMTYPE, linkname="../../../canary"),
            member("canary", data=b"replaced, not followed"),
        ],
        snapshotter,
    )
    assert (root / "etc/passwd").read_bytes() == b"inside"
    assert (root / "tmp/x").read_bytes() == b"inside"
    assert (root / "y").read_bytes() == b"inside"
    assert (root / "canary").read_bytes() == b"replaced, not followed"


@pytest.mark.parametrize("target", ["../../etc/shadow", "/etc/shadow", "../../../../../../../../etc/shadow", "missing"])
def test_hard_links_reach_nothing_outside(target: str, snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive([member("stolen", tarfile.LNKTYPE, linkname=target)])
    assert "the target is not in the layer" in _refused(data, snapshotter, tmp_path)


def test_hard_link_to_a_link_links_the_link(snapshotter: OverlaySnapshotter) -> None:
    root = _layer(
        [
            member("s", tarfile.SYMTYPE, linkname="/etc/shadow"),
            member("h", tarfile.LNKTYPE, linkname="s"),
        ],
        snapshotter,
    )
    assert os.readlink(root / "h") == "/etc/shadow"


def test_hard_link_to_a_directory_is_refused(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive([member("d", tarfile.DIRTYPE), member("h", tarfile.LNKTYPE, linkname="d")])
    assert "operation not permitted" in _refused(data, snapshotter, tmp_path)


@pytest.mark.parametrize(
    "members",
    [
        [member("loop", tarfile.SYMTYPE, linkname="loop"), member("loop/x", data=b"1")],
        [member("dangling", tarfile.SYMTYPE, linkname="/nowhere"), member("dangling/x", data=b"1")],
        [member("file", data=b"1"), member("file/x", data=b"1")],
        [member("bad", tarfile.SYMTYPE, linkname="")],
        [member("x" * 300, data=b"1")],
        [member("/".join(["deep"] * 10_000), data=b"1")],
        [member("x", tarfile.CHRTYPE, devmajor=1 << 20, devminor=0)],
        [member(".wh.")],
        [member("a/.wh..")],
        [member("a/.wh...")],
        [member("x", b"Z")],
        [member("x", uid=0xFFFF_FFFF)],
        [member("x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"})],
        [member("x", pax_headers={"SCHILY.xattr.user.x": "v" * (1 << 20)})],
    ],
)
def test_refused_in_one_line(
    members: list[tuple[tarfile.TarInfo, bytes]], snapshotter: OverlaySnapshotter, tmp_path: Path
) -> None:
    line = _refused(archive(members), snapshotter, tmp_path)
    assert len(line) < 500


@pytest.mark.parametrize(
    "name", ["new\nline", "tab\tand\x1b[31mred", "\udcff\udcfe", "quote\"'\\", " ", "-rf", "ünïcödé"]
)
def test_odd_names_are_kept(name: str, snapshotter: OverlaySnapshotter) -> None:
    root = _layer([member(name, data=b"1"), member("d/" + name + "/f", data=b"2")], snapshotter)
    assert (root / name).read_bytes() == b"1"
    assert (root / "d" / name / "f").read_bytes() == b"2"


def test_odd_names_in_errors(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive([member("a\nb\x1b[2J\udcff", tarfile.LNKTYPE, linkname="no\nsuch")])
    assert _refused(data, snapshotter, tmp_path)


def test_nul_in_a_pax_name(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    data = archive([member("x", pax_headers={"path": "etc/passwd\0.txt"})])
    assert "NUL" in _refused(data, snapshotter, tmp_path)


def test_names_deeper_than_any_path(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    """Links add up to a depth that no path reaches; it is applied, and it can be removed again."""
    part = "/".join(["d"] * 1000)
    members = [member(f"{part}/x", tarfile.DIRTYPE)]
    for number in range(8):
        inner = f"l{number}/{part}"
        before = f"l{number - 1}/{part}" if number else part
        members += [member(f"l{number}", tarfile.SYMTYPE, linkname=before), member(f"{inner}/x", tarfile.DIRTYPE)]
    result = None
    try:
        result = _unpack(archive(members), snapshotter)
    except LayerError as exc:
        assert str(exc).isprintable()
    if result is not None:
        snapshotter.clear(snapshotter.drop_layer(result.chain))
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_devices_are_made_but_can_not_be_opened_on_the_way(snapshotter: OverlaySnapshotter) -> None:
    root = _layer(
        [
            member("sda", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666),
            member("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
            member("null", data=b"a file takes the device's place"),
        ],
        snapshotter,
    )
    assert stat.S_ISBLK((root / "sda").lstat().st_mode)
    assert stat.S_ISREG((root / "null").lstat().st_mode)
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700  # nobody else reaches devices and set-user-ID programs


def test_attributes_that_steer_the_overlay_are_dropped(snapshotter: OverlaySnapshotter) -> None:
    headers = {
        f"SCHILY.xattr.{name}": "/etc"
        for name in ("trusted.overlay.redirect", "trusted.overlay.metacopy", "trusted.overlay.origin", "trusted.x")
    }
    root = _layer([member("d", tarfile.DIRTYPE, pax_headers=headers), member("f", pax_headers=headers)], snapshotter)
    assert os.listxattr(root / "d") == []
    assert os.listxattr(root / "f") == []


def test_a_bomb_is_bounded_in_memory() -> None:
    packed = gzip.compress(bytes(64 << 20))
    inflater = Inflater()
    sizes = [len(piece) for piece in inflater.feed(packed)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= PIECE


@pytest.mark.parametrize("detached", [False, True])
def test_a_bomb_ends_at_the_limit(tmp_path: Path, detached: bool) -> None:
    limited = make_snapshotter(tmp_path, limit=10 << 20)
    bomb = gzip.compress(archive([member("big", data=bytes(64 << 20))]))
    assert len(bomb) < 1 << 20
    pieces = [bomb[start : start + 4096] for start in range(0, len(bomb), 4096)]

    async def explode() -> None:
        if detached:
            await unpack_detached(pieces, limited, ForkLauncher(), hash_plain=True)
        else:
            await unpack(pieces, limited, ForkLauncher(), parent=None)

    with pytest.raises(LayerTooLargeError, match="more than 10485760 bytes"):
        asyncio.run(explode())
    assert os.listdir(tmp_path / "snapshots") == []


def test_headers_are_bounded_in_memory(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1 << 40
    assert "header field too long" in _refused(info.tobuf(tarfile.GNU_FORMAT), snapshotter, tmp_path)


def test_too_many_opaque_directories(
    snapshotter: OverlaySnapshotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "OPAQUE_LIMIT", 10)
    data = archive([member(f"{n}/.wh..wh..opq") for n in range(20)])
    assert "opaque" in _refused(data, snapshotter, tmp_path)


def test_the_worker_is_confined(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    """Whoever takes the worker over finds an empty root, no network, few rights and few system calls."""
    report = tmp_path / "snapshots" / "report"
    report_fd = os.open(report, os.O_WRONLY | os.O_CREAT)

    class Curious(apply.Applier):
        def run(self) -> None:
            super().run()
            found = [f"root={sorted(os.listdir('/'))}"]
            for attempt in ("/proc/self/status", "/etc/passwd", f"/proc/self/fd/{report_fd}"):
                try:
                    os.stat(attempt)
                    found.append(f"reached {attempt}")
                except OSError:
                    pass
            for number, what in (
                (libc.NUMBERS["unshare"], "unshare"),
                (libc.NUMBERS["mount"], "mount"),
                (41, "socket"),
            ):
                try:
                    libc.syscall(number, 2, 1)
                    found.append(f"could {what}")
                except OSError:
                    pass
            try:
                os.fork()
                found.append("could fork")
            except OSError:
                pass
            try:
                os.write(report_fd, b"leaked descriptor")
            except OSError:
                pass
            os.write(os.open("/found", os.O_WRONLY | os.O_CREAT), "\n".join(found).encode())

    def main(fds: Sequence[int]) -> int:
        apply.Applier = Curious  # type: ignore[misc]
        return apply.main(fds)

    result = _unpack(archive([member("only", data=b"1")]), snapshotter, main)
    root = Path(snapshotter.layer(result.chain).path)
    os.close(report_fd)
    assert (root / "found").read_text() == "root=['only']"
    assert report.read_bytes() == b""
    report.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 8 MiB, mounted for this test."""
    image, target = tmp_path / f"disk-{secrets.token_hex(4)}", tmp_path / "small"
    image.touch()
    os.truncate(image, 8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    target.mkdir()
    if subprocess.run(["mount", "-o", "loop", str(image), str(target)], check=False, capture_output=True).returncode:
        lacking("no loop devices here")
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)
        image.unlink()


def test_disk_full(small_disk: Path, tmp_path: Path) -> None:
    snapshotter = make_snapshotter(small_disk, tmp_path)
    data = archive([member("fits", data=bytes(1000)), member("does-not", data=os.urandom(16 << 20))])
    with pytest.raises(LayerError, match=r'^write "does-not": no space left on device$'):
        _unpack(data, snapshotter)
    assert list((small_disk / "snapshots").iterdir()) == []
    many = archive([member(f"d/{n}") for n in range(20_000)])
    with pytest.raises(LayerError, match="no space left on device"):
        _unpack(many, snapshotter)
    assert list((small_disk / "snapshots").iterdir()) == []
