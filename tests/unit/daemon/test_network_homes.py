"""A data root on another machine's disk: simulated by what statfs(2) would say of one."""

from pathlib import Path

import pytest

from rundlet.daemon import drivers
from rundlet.linux import libc
from rundlet.util.database import Database

NFS = 0x6969


def test_a_home_on_nfs_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert drivers.on_a_network(str(tmp_path)) == ""
    monkeypatch.setattr(libc, "filesystem_type", lambda _fd: NFS)
    assert drivers.on_a_network(str(tmp_path)) == "nfs"


def test_a_database_without_shared_memory_keeps_what_it_had(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    schema = ["CREATE TABLE IF NOT EXISTS words (word TEXT)"]
    for shared, mode in ((True, "wal"), (False, "delete"), (True, "wal")):
        database = Database.open(path, [schema], shared_memory=shared)
        with database.transaction() as cursor:
            assert cursor.execute("PRAGMA journal_mode").fetchone()[0] == mode
            cursor.execute("INSERT INTO words VALUES (?)", (mode,))
        database.close()
    assert not (tmp_path / "state.db-wal").exists()
    database = Database.open(path, [schema], shared_memory=False)
    with database.transaction() as cursor:
        assert [row[0] for row in cursor.execute("SELECT word FROM words")] == ["wal", "delete", "wal"]
    database.close()
