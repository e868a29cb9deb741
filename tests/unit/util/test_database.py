"""What the state database leaves on the disk."""

import os
from pathlib import Path

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
