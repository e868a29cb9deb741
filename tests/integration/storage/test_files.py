"""The worker for files: what it sees of a container, and what it refuses."""

import asyncio
import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.storage.support import ForkLauncher, archive, member

from rundlet.storage.errors import LayerError
from rundlet.storage.files import worker
from rundlet.storage.files.access import FileAccess, FileAccessError, PathInfo, Place, PutRequest
from rundlet.storage.files.view import Bind, Layers

pytestmark = pytest.mark.root


class Stopped:
    """The directories of a container that does not run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("lower", "upper", "work", "merged"):
            (root / name).mkdir()
        self.lower, self.upper = root / "lower", root / "upper"
        self.binds: list[Bind] = []
        self.first_time = False

    def access(self) -> FileAccess:
        layers = Layers(
            lower=[str(self.lower)],
            upper=str(self.upper),
            work=str(self.root / "work"),
            merged=str(self.root / "merged"),
            binds=self.binds,
        )
        return FileAccess(ForkLauncher(worker.main, "files"), Place(layers=layers, first_time=self.first_time))

    def stat(self, path: str) -> PathInfo:
        async def go() -> PathInfo:
            access = self.access()
            try:
                return await access.stat(path)
            finally:
                await access.close()

        return asyncio.run(go())

    def get(self, path: str) -> dict[str, tarfile.TarInfo]:
        async def go() -> bytes:
            access = self.access()
            try:
                await access.open(path)
                return b"".join([chunk async for chunk in access.chunks()])
            finally:
                await access.close()

        with tarfile.open(fileobj=io.BytesIO(asyncio.run(go()))) as tar:
            return {item.name: item for item in tar}

    def put(self, data: bytes, path: str = "/", **options: object) -> None:
        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 7000):
                yield data[start : start + 7000]

        async def go() -> None:
            access = self.access()
            try:
                await access.start_put(PutRequest(path=path, **options))  # type: ignore[arg-type]
                await access.put(body())
            finally:
                await access.close()

        asyncio.run(go())

    def changes(self, *left_out: str) -> list[tuple[str, int]]:
        async def go() -> list[tuple[str, int]]:
            access = self.access()
            try:
                return await access.changes(left_out)
            finally:
                await access.close()

        return asyncio.run(go())


@pytest.fixture
def stopped(tmp_path: Path) -> Stopped:
    tmp_path.chmod(0o755)
    return Stopped(tmp_path)


def test_no_way_out(stopped: Stopped, tmp_path: Path) -> None:
    """Links and dots lead to the container's own files; the host's secret is never seen."""
    (tmp_path / "secret").write_text("host")
    (stopped.upper / "absolute").symlink_to(tmp_path / "secret")
    (stopped.upper / "relative").symlink_to("../" * 30 + str(tmp_path / "secret"))
    (stopped.upper / "directory").symlink_to(tmp_path)
    for path in ("/absolute/", "/relative/", "/directory/secret", "/../" * 20 + str(tmp_path) + "/secret"):
        with pytest.raises(FileAccessError) as caught:
            stopped.stat(path)
        assert caught.value.kind == "missing"
    assert stopped.stat("/absolute").target == str(tmp_path / "secret")
    assert stopped.stat("/relative").target == str(tmp_path / "secret")


def test_put_stays_inside(stopped: Stopped, tmp_path: Path) -> None:
    """Absolute names, dots, links brought along and links already there."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (stopped.upper / "there").symlink_to(victim)
    members = [
        member("brought", tarfile.SYMTYPE, linkname=str(victim)),
        member("brought/through-mine", data=b"x"),
    ]
    with pytest.raises(FileAccessError):
        stopped.put(archive(members))
    with pytest.raises(FileAccessError):
        stopped.put(archive([member("there/through-theirs", data=b"x")]))
    with pytest.raises(FileAccessError, match="outside"):
        stopped.put(archive([member("../up", data=b"x")]))
    stopped.put(archive([member(f"{victim}/absolute", data=b"x")]))
    assert os.listdir(victim) == []
    assert (stopped.upper / str(victim)[1:] / "absolute").read_bytes() == b"x"


def test_a_name_that_no_file_can_have_is_told(stopped: Stopped) -> None:
    """Also where kinds are compared before anything is made."""
    name = "n" * 300
    for keep in (False, True):
        with pytest.raises(FileAccessError, match=f'^write "{name}": file name too long$'):
            stopped.put(archive([member(name, data=b"x")]), keep_kinds=keep)


def test_hard_links_stay_inside(stopped: Stopped, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    with pytest.raises(FileAccessError):
        stopped.put(archive([member("mine", tarfile.LNKTYPE, linkname=str(tmp_path / "secret"))]))
    with pytest.raises(FileAccessError):
        stopped.put(archive([member("mine", tarfile.LNKTYPE, linkname="../" * 9 + str(tmp_path / "secret"))]))


def test_devices_are_not_opened(stopped: Stopped) -> None:
    os.mknod(stopped.upper / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mkfifo(stopped.upper / "fifo")
    assert stopped.get("/zero")["zero"].ischr()
    assert stopped.get("/fifo")["fifo"].isfifo()


def test_reading_leaves_no_trace(stopped: Stopped, tmp_path: Path) -> None:
    (stopped.lower / "d").mkdir()
    (stopped.lower / "d/f").write_text("x")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/v").write_text("v")
    stopped.binds = [Bind(source=str(tmp_path / "volume"), destination="/d/volume", readonly=False)]
    assert set(stopped.get("/d")) == {"d", "d/f"}
    assert os.listdir(stopped.upper) == []
    stopped.first_time = True
    assert set(stopped.get("/d")) == {"d", "d/f", "d/volume", "d/volume/v"}


def test_owners_and_bits(stopped: Stopped) -> None:
    """A directory with the set-group-ID bit does not colour what is made in it."""
    (stopped.upper / "shared").mkdir()
    os.chown(stopped.upper / "shared", 0, 77)
    (stopped.upper / "shared").chmod(0o2775)
    stopped.put(archive([member("f", data=b"x", mode=0o4755), member("d", tarfile.DIRTYPE)]), "/shared")
    found = (stopped.upper / "shared/f").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0o4755)
    assert (stopped.upper / "shared/d").stat().st_gid == 0
    (stopped.upper / "etc").mkdir()
    (stopped.upper / "etc/passwd").write_text("joe:x:12:13::/:/bin/sh\n")
    stopped.put(archive([member("mine", data=b"x", uid=5, gid=6)]), user="joe")
    assert (stopped.upper / "mine").stat().st_uid == 12


def test_whiteout_names_are_names(stopped: Stopped) -> None:
    (stopped.lower / "kept").write_text("x")
    stopped.put(archive([member(".wh.kept", data=b""), member(".wh..wh..opq", data=b"")]))
    assert sorted(os.listdir(stopped.upper)) == [".wh..wh..opq", ".wh.kept"]
    assert stopped.stat("/kept").size == 1


@pytest.mark.parametrize("data", [b"x" * 2000, archive([member("f", data=b"x" * 5000)])[:3000], b"\x1f\x8b\x08broken"])
def test_bad_archives(stopped: Stopped, data: bytes) -> None:
    with pytest.raises((FileAccessError, LayerError)):
        stopped.put(data)


def test_changes(stopped: Stopped) -> None:
    lower, upper = stopped.lower, stopped.upper
    for directory in ("same", "gone", "opaque", "deep/er", "mounts"):
        (lower / directory).mkdir(parents=True)
    for file in ("same/f", "gone/f", "opaque/old", "opaque/both", "deep/er/f", "plain", "to-directory"):
        (lower / file).write_text("x")
    (lower / "link").symlink_to("mounts")
    for directory in ("new/inner", "opaque", "deep/er", "to-directory", "mounts/point", "made/for/mount"):
        (upper / directory).mkdir(parents=True)
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    os.mknod(upper / "never-was", stat.S_IFCHR, 0)
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    for file in ("opaque/both", "opaque/own", "deep/er/f", "plain"):
        (upper / file).write_text("y")
    for directory in ("deep", "deep/er", "mounts"):
        before = (lower / directory).stat()
        os.utime(upper / directory, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert stopped.changes("/link/point", "/made/for/mount") == [
        ("/deep/er/f", 0),
        ("/gone", 2),
        ("/new", 1),
        ("/new/inner", 1),
        ("/opaque", 0),
        ("/opaque/both", 0),
        ("/opaque/old", 2),
        ("/opaque/own", 1),
        ("/plain", 0),
        ("/to-directory", 0),
    ]


def test_changes_of_a_very_deep_tree(stopped: Stopped) -> None:
    fd = os.open(stopped.upper, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert len(stopped.changes()) > 2000
    os.system(f"rm -rf {stopped.upper}/d")
