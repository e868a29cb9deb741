"""The content store: only what was verified gets a name, and nothing half written is taken for content."""

import fcntl
import os
from pathlib import Path

import pytest

from rundlet.errors import DigestMismatchError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore
from rundlet.storage.errors import (
    BlobNotFoundError,
    ContentTooLargeError,
    IngestBusyError,
    SizeMismatchError,
    StorageError,
)
from rundlet.util.clock import SystemClock

DATA = b"some content"
DESCRIPTOR = Descriptor.of("application/x", DATA)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(str(tmp_path / "content"), SystemClock())


def _ingests(store: ContentStore) -> list[str]:
    return os.listdir(Path(store.path(DESCRIPTOR.digest)).parents[2] / "ingest")


def test_it_is_an_oci_layout(store: ContentStore, tmp_path: Path) -> None:
    root = tmp_path / "content"
    assert (root / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    digest = store.write(DATA)
    assert (root / "blobs/sha256" / digest.encoded).read_bytes() == DATA
    assert store.read(digest) == DATA
    assert store.size(digest) == len(DATA)
    assert list(store.iterate()) == [digest]
    assert store.write(DATA, digest) == digest


def test_ingest_commits_what_was_announced(store: ContentStore) -> None:
    ingest = store.ingest("key", DESCRIPTOR)
    ingest.write(DATA[:5])
    assert not store.has(DESCRIPTOR.digest)
    ingest.write(memoryview(DATA)[5:])
    assert ingest.commit() == DESCRIPTOR.digest
    assert store.read(DESCRIPTOR.digest) == DATA
    assert _ingests(store) == []


def test_ingest_of_unknown_content(store: ContentStore) -> None:
    with store.ingest("key") as ingest:
        ingest.write(DATA)
        assert ingest.commit() == Digest.of(DATA)
    assert store.has(Digest.of(DATA))


def test_other_algorithms(store: ContentStore) -> None:
    digest = Digest.of(DATA, "sha512")
    with store.ingest("key", Descriptor("x", digest, len(DATA))) as ingest:
        ingest.write(DATA)
        ingest.commit()
    assert store.read(digest) == DATA
    assert store.write(DATA, digest) == digest


def test_ingest_goes_on_where_it_stopped(store: ContentStore) -> None:
    ingest = store.ingest("key", DESCRIPTOR)
    ingest.write(DATA[:5])
    with pytest.raises(IngestBusyError):
        store.ingest("key", DESCRIPTOR)
    ingest.close()
    ingest = store.ingest("key", DESCRIPTOR)
    assert ingest.offset == 5
    ingest.write(DATA[5:])
    assert ingest.commit() == DESCRIPTOR.digest


def test_restart(store: ContentStore) -> None:
    ingest = store.ingest("key", DESCRIPTOR)
    ingest.write(b"wrong")
    ingest.restart()
    assert ingest.offset == 0
    ingest.write(DATA)
    assert ingest.commit() == DESCRIPTOR.digest


@pytest.mark.parametrize("data", [b"", DATA[:-1], b"other conten", DATA[:-1] + b"!"])
def test_wrong_content_is_not_kept(data: bytes, store: ContentStore) -> None:
    ingest = store.ingest("key", DESCRIPTOR)
    ingest.write(data)
    with pytest.raises((DigestMismatchError, SizeMismatchError)):
        ingest.commit()
    assert _ingests(store) == []
    assert list(store.iterate()) == []


def test_too_much_is_noticed_at_once(store: ContentStore) -> None:
    ingest = store.ingest("key", DESCRIPTOR)
    ingest.write(DATA)
    with pytest.raises(SizeMismatchError):
        ingest.write(b"more")
    ingest.abort()
    ingest.abort()
    assert _ingests(store) == []


def test_wrong_document_is_not_kept(store: ContentStore) -> None:
    with pytest.raises(DigestMismatchError):
        store.write(b"other", DESCRIPTOR.digest)
    assert list(store.iterate()) == []


def test_missing_and_delete(store: ContentStore) -> None:
    for call in (store.read, store.size, store.open):
        with pytest.raises(BlobNotFoundError):
            call(DESCRIPTOR.digest)
    assert not store.verify(DESCRIPTOR.digest)
    assert store.delete(DESCRIPTOR.digest) == 0
    store.write(DATA)
    assert store.verify(DESCRIPTOR.digest)
    assert store.delete(DESCRIPTOR.digest) == len(DATA)
    assert not store.has(DESCRIPTOR.digest)


def test_reads_are_bounded_and_verified(store: ContentStore) -> None:
    digest = store.write(DATA)
    with pytest.raises(ContentTooLargeError):
        store.read(digest, limit=3)
    path = Path(store.path(digest))
    path.chmod(0o600)
    path.write_bytes(b"sOme content")
    with pytest.raises(DigestMismatchError):
        store.read(digest)
    assert b"".join(store.chunks(digest, 5)) == b"content"


def test_start_after_a_kill(store: ContentStore, tmp_path: Path) -> None:
    store.ingest("key", DESCRIPTOR).write(DATA[:3])
    (tmp_path / "content/blobs/sha256/half.tmp").write_bytes(b"x")
    again = ContentStore(str(tmp_path / "content"), SystemClock())
    assert again.check() == []
    assert _ingests(again) == []
    assert list(again.iterate()) == []
    assert os.listdir(tmp_path / "content/blobs/sha256") == []


def begun(store: ContentStore, key: str, expected: Descriptor | None = None) -> None:
    ingest = store.ingest(key, expected)
    ingest.write(DATA[:3])
    ingest.close()


def test_downloads_outlive_the_engine(store: ContentStore, tmp_path: Path) -> None:
    store.check()
    begun(store, "unknown")
    begun(store, "key", DESCRIPTOR)
    again = ContentStore(str(tmp_path / "content"), SystemClock())
    assert again.check() == []
    assert len(_ingests(again)) == 1
    with again.ingest("key", DESCRIPTOR) as ingest:
        assert ingest.offset == 3
        ingest.write(DATA[3:])
        ingest.commit()
    begun(store, "key", DESCRIPTOR)
    again.delete(DESCRIPTOR.digest)
    (tmp_path / "content/synced").write_bytes(b'{"boot":"an earlier one","ns":1}')
    again.check()
    assert _ingests(again) == []


def test_downloads_that_nobody_goes_on_with(store: ContentStore, tmp_path: Path) -> None:
    def old(path: str) -> None:
        os.utime(tmp_path / "content/ingest" / path, (1, 1))

    busy = store.ingest("busy", DESCRIPTOR)
    [name] = _ingests(store)
    old(name)
    store.ingest("left", DESCRIPTOR).close()
    store.expire()
    assert len(_ingests(store)) == 2
    for each in _ingests(store):
        old(each)
    store.expire()
    assert _ingests(store) == [name]
    busy.close()
    store.expire()
    assert _ingests(store) == []
    begun(store, "new", DESCRIPTOR)
    assert store.expire(1) == 0
    assert store.expire(SystemClock().now_ns()) == 3
    assert _ingests(store) == []


@pytest.mark.parametrize("commits", [True, False])
def test_who_had_the_file_before_took_its_name(
    commits: bool, store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening and the lock it became a blob, or was thrown away."""
    before = store.ingest("key", DESCRIPTOR)
    before.write(DATA)
    lock = fcntl.flock

    def late(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        before.commit() if commits else before.abort()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    ingest = store.ingest("key", DESCRIPTOR)
    assert ingest.offset == 0
    ingest.write(DATA[:3])
    assert store.has(DESCRIPTOR.digest) is commits
    ingest.write(DATA[3:])
    assert ingest.commit() == DESCRIPTOR.digest
    assert store.read(DESCRIPTOR.digest) == DATA
    assert _ingests(store) == []


def test_what_somebody_has_begun_anew_does_not_expire(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.ingest("key", DESCRIPTOR)
    lock, begun = fcntl.flock, []

    def late(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        before.abort()
        begun.append(store.ingest("key", DESCRIPTOR))
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert store.expire(SystemClock().now_ns()) == 0
    begun[0].write(DATA)
    assert begun[0].commit() == DESCRIPTOR.digest
    assert store.has(DESCRIPTOR.digest)


def test_start_after_loss_of_power(store: ContentStore, tmp_path: Path) -> None:
    store.check()
    good, bad = store.write(DATA), store.write(b"lost its bytes")
    path = Path(store.path(bad))
    path.chmod(0o600)
    path.write_bytes(b"")
    assert store.check() == []  # the same boot: nothing can have been lost
    marker = tmp_path / "content/synced"
    marker.write_bytes(b'{"boot":"an earlier one","ns":1}')
    assert store.check() == [bad]
    assert list(store.iterate()) == [good]
    marker.write_bytes(b"gibberish")
    assert store.check() == []


def test_kernel_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="not a directory"):
        ContentStore(str(tmp_path / "file/below"), SystemClock())
