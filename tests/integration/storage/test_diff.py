"""Changes of a container as a layer: apply and diff undo one another, and GNU tar and the standard library read it."""

import asyncio
import io
import os
import socket
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.storage.support import ForkLauncher, archive, make_snapshotter, member

from rundlet.storage.errors import LayerError, StorageError
from rundlet.storage.layer import apply, diff, tarwrite
from rundlet.storage.layer.changes import Changes
from rundlet.storage.layer.tar import Reader, Source
from rundlet.storage.layer.unpack import unpack

pytestmark = pytest.mark.root


def _diff(directory: Path, *left_out: str) -> tuple[bytes, list[str]]:
    async def go() -> tuple[bytes, list[str]]:
        changes = Changes(str(directory), ForkLauncher(diff.main, "diff"), left_out)
        async with changes.opened() as tar:
            data = await asyncio.to_thread(b"".join, tar)
        return data, changes.skipped

    return asyncio.run(go())


def _state(root: Path) -> dict[str, object]:
    state: dict[str, object] = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            }
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                state[os.path.relpath(path, root)] = "whiteout"
                continue
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            if not stat.S_ISDIR(status.st_mode):
                content = (content, status.st_nlink)
            owner = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, int(status.st_mtime))
            state[os.path.relpath(path, root)] = (*owner, content, xattrs)
    return state


def test_everything_survives(tmp_path: Path) -> None:
    source = tmp_path / "upper"
    (source / "d/e").mkdir(parents=True)
    (source / "d/f").write_bytes(b"x" * 3_000_001)
    os.chown(source / "d/f", 3_000_000, 5)
    os.chmod(source / "d/f", 0o4750)
    os.setxattr(source / "d/f", "user.k\u00fc", b"v\0\n")
    os.link(source / "d/f", source / "d/e/hard")
    (source / "link").symlink_to("t" * 150)
    os.link(source / "link", source / "same", follow_symlinks=False)
    os.mkfifo(source / "fifo")
    os.link(source / "fifo", source / "d/e/fifo")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(source / "d/gone", stat.S_IFCHR, 0)
    os.setxattr(source / "d/e", "trusted.overlay.opaque", b"y")
    (source / ("n" * 200)).mkdir()
    (source / ("n" * 200) / ("m" * 200)).write_bytes(b"")
    (source / "b\udcff\n").write_bytes(b"1")
    (source / "etc").mkdir()
    (source / "etc/hosts").write_bytes(b"")
    (source / ".wh.user").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
    os.utime(source / "d", (1, 2))
    data, skipped = _diff(source, "etc/hosts")
    assert skipped == [".wh.user", "socket"]
    for name in ("etc/hosts", ".wh.user", "socket"):
        os.unlink(source / name)
    os.utime(source / "etc", (5, 5))
    again = tmp_path / "again"
    again.mkdir()
    data, skipped = _diff(source)
    assert skipped == []
    assert data == _diff(source)[0]
    snapshotter = make_snapshotter(again)
    result = asyncio.run(unpack(iter([data]), snapshotter, ForkLauncher(), parent=None))
    layer = Path(snapshotter.layer(result.chain).path)
    assert _state(layer) == _state(source)
    assert result.size == 3_000_001 + 150 + 1
    with tarfile.open(fileobj=io.BytesIO(data)) as archive_:
        names = archive_.getnames()
    assert "d/.wh.gone" in names and "d/e/.wh..wh..opq" in names
    listing = subprocess.run(["tar", "-tf", "-"], input=data, check=True, capture_output=True)
    assert len(listing.stdout.splitlines()) == len(names)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file or directory"):
        _diff(tmp_path / "missing")

    def dies(_fds: object) -> int:
        return 3

    async def go() -> None:
        async with Changes(str(tmp_path), ForkLauncher(dies, "diff")).opened() as tar:
            await asyncio.to_thread(list, tar)

    with pytest.raises(LayerError, match=r"without an answer \(status 3\)"):
        asyncio.run(go())


def test_reader_that_stops(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8 << 20))
    launcher = ForkLauncher(diff.main, "diff")

    async def go() -> None:
        async with Changes(str(tmp_path), launcher).opened() as tar:
            assert await asyncio.to_thread(next, tar)

    asyncio.run(go())
    with pytest.raises(ChildProcessError):
        os.waitpid(launcher.started[0].pid, 0)


def test_nothing_is_looked_at_before_it_is_asked_for(tmp_path: Path) -> None:
    """The worker gets ready while the container does not hold still yet."""
    (tmp_path / "early").write_bytes(b"1")
    launcher = ForkLauncher(diff.main, "diff")

    async def go() -> bytes:
        async with Changes(str(tmp_path), launcher).opened() as tar:
            while not launcher.started:
                await asyncio.sleep(0.01)
            (tmp_path / "early").unlink()
            (tmp_path / "late").write_bytes(b"2")
            return await asyncio.to_thread(b"".join, tar)

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(go()))) as archive_:
        assert archive_.getnames() == ["late"]


def test_worker_that_nobody_asks_ends(tmp_path: Path) -> None:
    launcher = ForkLauncher(diff.main, "diff")

    async def go() -> None:
        async with Changes(str(tmp_path), launcher).opened():
            pass

    asyncio.run(go())
    with pytest.raises(ChildProcessError):
        os.waitpid(launcher.started[0].pid, 0)


_TEXT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
_NAME = _TEXT.filter(lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 250)
_NODE = st.one_of(
    st.binary(max_size=2000),
    st.just("whiteout"),
    st.just("opaque"),
    st.tuples(st.just("link"), _TEXT),
)
_TREE = st.recursive(
    st.dictionaries(_NAME, _NODE, max_size=4),
    lambda inner: st.dictionaries(_NAME, _NODE | inner, max_size=4),
    max_leaves=12,
)


def _build(root: str, tree: dict[str, object]) -> None:
    for name, node in tree.items():
        path = f"{root}/{name}"
        if isinstance(node, bytes):
            Path(path).write_bytes(node)
            os.chown(path, len(node) * 7919, 1)
        elif isinstance(node, tuple):
            os.symlink(node[1], path)
        elif node == "whiteout":
            os.mknod(path, stat.S_IFCHR, 0)
        else:
            os.mkdir(path, 0o700 + len(name))
            if node == "opaque":
                os.setxattr(path, "trusted.overlay.opaque", b"y")
            else:
                assert isinstance(node, dict)
                _build(path, node)
        os.utime(path, (len(name), len(name) * 1000), follow_symlinks=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TREE)
def test_apply_undoes_diff(tmp_path: Path, tree: dict[str, object]) -> None:
    """In this process, without the confinement: the code that reads and writes is the same."""
    number = len(os.listdir(tmp_path))
    source, target = tmp_path / f"{number}s", tmp_path / f"{number}t"
    source.mkdir()
    target.mkdir()
    _build(str(source), tree)
    tar_fd = os.memfd_create("tar")
    source_fd, target_fd = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target))
    umask = os.umask(0)
    try:
        diff.Changes(source_fd, tar_fd).run()
        os.lseek(tar_fd, 0, os.SEEK_SET)
        applier = apply.Applier(target_fd, Reader(Source(tar_fd)))
        applier.run()
        applier.close()
        for name in applier.opaque:
            os.setxattr(os.fsencode(target) + b"/" + name, "trusted.overlay.opaque", b"y")
    finally:
        os.umask(umask)
        for fd in (tar_fd, source_fd, target_fd):
            os.close(fd)
    assert _state(target) == _state(source)


def test_headers_are_those_of_the_standard_library() -> None:
    """Where no pax header is needed, the bytes are what tarfile writes for ustar."""
    info, _data = member("bin/sh", mode=0o755, uid=5, gid=6, size=1234, mtime=1_700_000_000)
    fd = os.memfd_create("tar")
    try:
        os.write(fd, info.tobuf(tarfile.USTAR_FORMAT))
        os.lseek(fd, 0, os.SEEK_SET)
        entry = Reader(Source(fd)).next()
        assert entry is not None
        ours, theirs = tarwrite.encode(entry), info.tobuf(tarfile.USTAR_FORMAT)
        assert (ours[:148], ours[156:329]) == (theirs[:148], theirs[156:329])  # Go writes device numbers, tarfile none
        assert tarfile.TarInfo.frombuf(ours, "utf-8", "strict").mtime == 1_700_000_000
        assert archive([])[: len(tarwrite.END)] == tarwrite.END
    finally:
        os.close(fd)
