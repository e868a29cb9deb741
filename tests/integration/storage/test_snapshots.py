"""The overlay snapshotter: rows and directories agree whatever is killed when, and overlayfs mounts the result."""

import os
import sqlite3
import stat
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.integration.storage.support import make_snapshotter

from rundlet.oci.digest import Digest
from rundlet.storage.errors import (
    LayerInUseError,
    LayerNotFoundError,
    SnapshotExistsError,
    SnapshotNotFoundError,
    StorageError,
)
from rundlet.storage.snapshot import OverlaySnapshotter, Rootfs, overlay
from rundlet.util.database import Database

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
CONTAINER = "c" * 64


@pytest.fixture
def snapshotter(tmp_path: Path) -> OverlaySnapshotter:
    return make_snapshotter(tmp_path)


def _layer(snapshotter: OverlaySnapshotter, chain: Digest, parent: Digest | None, **files: str) -> str:
    preparation = snapshotter.prepare_layer(parent)
    for name, content in files.items():
        Path(preparation.path, name).write_text(content)
    snapshotter.commit_layer(preparation, chain, Digest.of(str(chain).encode()), 10)
    return preparation.path


def _names(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "snapshots"))


def test_layers_stack(snapshotter: OverlaySnapshotter) -> None:
    bottom = _layer(snapshotter, A, None, one="1")
    top = _layer(snapshotter, B, A, two="2")
    assert snapshotter.has_layer(B)
    assert snapshotter.layer(B).parent == A
    assert [info.chain for info in snapshotter.layers()] == [A, B]
    rootfs = snapshotter.prepare_container(CONTAINER, B)
    assert rootfs.lower == [top, bottom]
    assert snapshotter.container(CONTAINER) == rootfs
    assert snapshotter.containers() == {CONTAINER: B}
    Path(rootfs.upper, "written").write_text("12345")
    assert snapshotter.usage(CONTAINER) == 5
    with pytest.raises(SnapshotExistsError):
        snapshotter.prepare_container(CONTAINER, B)


@pytest.mark.root
def test_overlayfs_mounts_it(snapshotter: OverlaySnapshotter) -> None:
    _layer(snapshotter, A, None, one="1", both="lower")
    _layer(snapshotter, B, A, two="2", both="upper")
    rootfs = snapshotter.prepare_container(CONTAINER, B)
    options = f"lowerdir={':'.join(rootfs.lower)},upperdir={rootfs.upper},workdir={rootfs.work}"
    script = (
        'mount -t overlay overlay -o "$1" "$2" && cat "$2/one" "$2/two" "$2/both" && stat -c %a:%u "$2" && touch "$2/x"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", options, rootfs.merged], check=True, capture_output=True, text=True
    )
    assert done.stdout == "12upper755:0\n"
    assert os.listdir(rootfs.upper) == ["x"]
    snapshotter.remove_container(CONTAINER)


def test_image_without_layers(snapshotter: OverlaySnapshotter) -> None:
    rootfs = snapshotter.prepare_container(CONTAINER, None)
    assert len(rootfs.lower) == 1 and os.listdir(rootfs.lower[0]) == []


@pytest.mark.root
def test_roots_look_like_their_parents(snapshotter: OverlaySnapshotter) -> None:
    path = _layer(snapshotter, A, None)
    os.chown(path, 12, 34)
    os.chmod(path, 0o1770)
    os.setxattr(path, "user.x", b"y")
    os.setxattr(path, "trusted.overlay.opaque", b"y")
    rootfs = snapshotter.prepare_container(CONTAINER, A)
    status = os.stat(rootfs.upper)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o1770)
    assert os.listxattr(rootfs.upper) == ["user.x"]


def test_nothing_in_use_is_removed(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    _layer(snapshotter, A, None)
    _layer(snapshotter, B, A)
    snapshotter.prepare_container(CONTAINER, B)
    with pytest.raises(LayerInUseError, match="container cccccccccccc"):
        snapshotter.clear(snapshotter.drop_layer(B))
    with pytest.raises(LayerInUseError, match=str(B)):
        snapshotter.clear(snapshotter.drop_layer(A))
    snapshotter.remove_container(CONTAINER)
    snapshotter.remove_container(CONTAINER)
    preparation = snapshotter.prepare_layer(B)
    with pytest.raises(LayerInUseError, match="being unpacked"):
        snapshotter.clear(snapshotter.drop_layer(B))
    snapshotter.abort_layer(preparation)
    snapshotter.abort_layer(preparation)
    snapshotter.clear(snapshotter.drop_layer(B))
    snapshotter.clear(snapshotter.drop_layer(A))
    assert _names(tmp_path) == []
    for missing in (snapshotter.drop_layer, snapshotter.layer):
        with pytest.raises(LayerNotFoundError):
            missing(A)
    for call in (snapshotter.usage, snapshotter.container):
        with pytest.raises(SnapshotNotFoundError):
            call(CONTAINER)
    with pytest.raises(LayerNotFoundError):
        snapshotter.prepare_container(CONTAINER, A)
    assert _names(tmp_path) == []


def test_commits(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    preparation = snapshotter.prepare_layer(A)
    with pytest.raises(LayerNotFoundError):
        snapshotter.commit_layer(preparation, B, B, 1)
    snapshotter.abort_layer(preparation)
    with pytest.raises(LayerNotFoundError):
        snapshotter.commit_layer(preparation, B, B, 1)
    first, second = snapshotter.prepare_layer(None), snapshotter.prepare_layer(None)
    snapshotter.commit_layer(first, A, A, 1)
    snapshotter.commit_layer(second, A, A, 1)
    assert snapshotter.layer(A).path == first.path
    snapshotter.abort_layer(first)  # committed: not to be aborted any more
    assert len(_names(tmp_path)) == 1


def test_start_after_a_kill(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    _layer(snapshotter, A, None)
    rootfs = snapshotter.prepare_container(CONTAINER, A)
    Path(snapshotter.prepare_layer(A).path, "half").touch()
    (tmp_path / "snapshots/unknown/upper").mkdir(parents=True)
    again = make_snapshotter(tmp_path)
    assert again.check() == []
    again.sweep()
    assert len(_names(tmp_path)) == 2
    assert again.container(CONTAINER) == rootfs
    assert again.check() == []


def test_leftover_that_can_not_go_does_not_stop_the_start(
    snapshotter: OverlaySnapshotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "snapshots/left").mkdir()

    def busy(path: str) -> None:
        raise OSError(16, "Device or resource busy", path)

    monkeypatch.setattr(overlay, "remove_path", busy)
    assert snapshotter.check() == []
    snapshotter.sweep()
    assert "could not remove the leftover snapshot left yet" in caplog.text
    snapshotter.sweep()
    assert _names(tmp_path) == ["left"]
    assert caplog.text.count("leftover snapshot") == 1
    # Housekeeping tries again: a worker of the killed engine has ended by now.
    monkeypatch.undo()
    snapshotter.sweep()
    assert _names(tmp_path) == []


def test_a_layer_finds_its_parent_late(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    below = snapshotter.prepare_layer(None)
    os.chmod(below.path, 0o700)
    os.utime(below.path, (5, 7))
    snapshotter.commit_layer(below, A, Digest.of(b"a"), 1)
    detached = snapshotter.prepare_layer(None)
    Path(detached.path, "file").touch()
    adopted = snapshotter.adopt_layer(detached, A)
    snapshotter.commit_layer(adopted, B, Digest.of(b"b"), 1)
    found = snapshotter.layer(B)
    assert (found.parent, os.listdir(found.path)) == (A, ["file"])
    status = os.stat(found.path)
    assert (status.st_mode & 0o7777, status.st_mtime) == (0o700, 7)
    with pytest.raises(LayerInUseError):
        snapshotter.clear(snapshotter.drop_layer(A))
    with pytest.raises(LayerNotFoundError):
        snapshotter.adopt_layer(detached, A)  # committed: nobody's to move any more


def test_start_after_loss_of_power(
    snapshotter: OverlaySnapshotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _layer(snapshotter, A, None)
    snapshotter.sync()
    snapshotter.sync()
    _layer(snapshotter, B, A)
    _layer(snapshotter, C, B)
    snapshotter.prepare_container(CONTAINER, C)
    monkeypatch.setattr(overlay, "boot_id", lambda: "the next one")
    again = make_snapshotter(tmp_path)
    assert set(again.check()) == {B, C}
    assert again.has_layer(A)
    with pytest.raises(LayerNotFoundError):
        again.container(CONTAINER)
    path = _layer(again, B, A)
    top = _layer(again, C, B)
    assert again.container(CONTAINER).lower[:2] == [top, path]
    assert again.check() == []


def test_new_layers_wait_for_no_disk(snapshotter: OverlaySnapshotter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their image is recorded after them, durably; before it they are nobody's, and go after a loss of power."""
    waited: list[bool] = []
    transaction = Database.transaction

    def watched(
        database: Database, *, durable: bool = True, freeing: bool = False
    ) -> AbstractContextManager[sqlite3.Cursor]:
        waited.append(durable)
        return transaction(database, durable=durable, freeing=freeing)

    monkeypatch.setattr(Database, "transaction", watched)
    _layer(snapshotter, A, None)
    snapshotter.abort_layer(snapshotter.prepare_layer(A))
    snapshotter.commit_layer(snapshotter.adopt_layer(snapshotter.prepare_layer(None), A), B, B, 0)
    assert waited
    assert not any(waited)


def test_directory_that_is_gone(snapshotter: OverlaySnapshotter, tmp_path: Path) -> None:
    path = Path(_layer(snapshotter, A, None))
    path.rmdir()
    path.parent.rmdir()
    assert snapshotter.check() == [A]
    assert not snapshotter.has_layer(A)


def test_failure_leaves_nothing(
    snapshotter: OverlaySnapshotter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, model: str | None) -> None:
        raise OSError(28, "No space left on device")

    _layer(snapshotter, A, None)
    monkeypatch.setattr(overlay, "_make_root", full)
    with pytest.raises(StorageError, match="no space left on device"):
        snapshotter.prepare_container(CONTAINER, A)
    with pytest.raises(StorageError, match="no space left on device"):
        snapshotter.prepare_layer(A)
    assert len(_names(tmp_path)) == 1
    assert snapshotter.containers() == {}
    snapshotter.clear(snapshotter.drop_layer(A))


@pytest.mark.root
def test_mounted_snapshot_is_not_removed(snapshotter: OverlaySnapshotter) -> None:
    rootfs: Rootfs = snapshotter.prepare_container(CONTAINER, None)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", rootfs.merged], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(StorageError, match="device or resource busy"):
            snapshotter.remove_container(CONTAINER)
        assert snapshotter.container(CONTAINER) == rootfs
    finally:
        subprocess.run(["umount", rootfs.merged], check=True)
    snapshotter.remove_container(CONTAINER)
