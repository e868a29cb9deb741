"""What the state database leaves on the disk."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from rundlet.util import database as databases
from rundlet.util.database import Database

SCHEMA = ["CREATE TABLE IF NOT EXISTS words (word TEXT)"]


def test_nothing_of_it_is_shared_memory_and_opening_it_writes_nothing(tmp_path: Path) -> None:
    """A mapped file that a full disk can't hold kills who touches it, and an engine is started to make room."""
    path = tmp_path / "state.db"
    Database.open(str(path), [SCHEMA]).close()
    before = path.read_bytes()
    database = Database.open(str(path), [SCHEMA])
    assert sorted(os.listdir(tmp_path)) in (["state.db"], ["state.db", "state.db-wal"])
    assert not path.with_name("state.db-wal").exists() or not path.with_name("state.db-wal").stat().st_size
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO words VALUES ('one')")
    assert sorted(os.listdir(tmp_path)) == ["state.db", "state.db-wal"]
    assert path.read_bytes() == before
    database.close()
    database = Database.open(str(path), [SCHEMA])
    assert database.query("SELECT word FROM words") == [("one",)]
    database.close()


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that are free on the disk, the only item; what is used of the reserve is not taken from it."""
    room = [1 << 30]
    monkeypatch.setattr(databases, "_free", lambda _path: room[0])
    return room


def test_room_is_set_aside_once_and_given_for_removals_only(tmp_path: Path, free: list[int]) -> None:
    reserve = tmp_path / "state.db-reserve"
    database = Database.open(str(tmp_path / "state.db"), [SCHEMA])
    free[0] = 8 << 20
    database.keep_reserve()
    assert not reserve.exists(), "others need what there is"
    free[0] = 1 << 30
    database.keep_reserve()
    assert reserve.stat().st_blocks * 512 >= 1 << 20
    assert reserve.stat().st_mode & 0o777 == 0o600
    first = reserve.stat().st_ino
    database.keep_reserve()
    with database.transaction(freeing=True) as cursor:
        cursor.execute("DELETE FROM words")
    assert reserve.stat().st_ino == first, "there was room"
    free[0] = 0
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO words VALUES ('one')")
    assert reserve.exists()
    log = tmp_path / "state.db-wal"
    assert log.stat().st_size > 0
    with database.transaction(freeing=True) as cursor:
        assert not reserve.exists()
        assert log.stat().st_size == 0, "what the log took is given back"
        cursor.execute("DELETE FROM words")
    assert database.query("SELECT word FROM words") == []
    with database.transaction(freeing=True) as cursor:
        cursor.execute("DELETE FROM words")
    database.close()


def test_a_database_in_memory_has_no_reserve(tmp_path: Path, free: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(sqlite3.connect(":memory:", isolation_level=None))
    database.keep_reserve()
    free[0] = 0
    with database.transaction(freeing=True) as cursor:
        cursor.execute("CREATE TABLE words (word TEXT)")
    database.close()
    assert os.listdir(tmp_path) == []


def test_a_reserve_that_finds_no_room_is_none(tmp_path: Path, free: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def beyond_the_quota(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    database = Database.open(str(tmp_path / "state.db"), [SCHEMA])
    monkeypatch.setattr(os, "posix_fallocate", beyond_the_quota)
    with pytest.raises(OSError, match="quota"):
        database.keep_reserve()
    database.close()
    assert os.listdir(tmp_path) == ["state.db"]
