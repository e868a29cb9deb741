"""Walks an engine's store: every blob has its digest, every row its files, nothing is there that nobody knows."""

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.engines import Engine, wait_for


def walk_store(engine: Engine) -> None:
    """Raises: AssertionError with the first thing that is wrong. Removals under way get some seconds to end."""
    for blob in Path(engine.layout.content, "blobs", "sha256").iterdir():
        with blob.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == blob.name, f"{blob.name} has other content"
    wait_for(lambda: not _strangers(engine), 20, hint=f"snapshots: {_strangers(engine)}")
    with state(engine) as database:

        def column(sql: str) -> set[str]:
            return {row[0] for row in database.execute(sql)}

        assert column("SELECT chain FROM image_layers") <= column("SELECT chain FROM layers")
        wanted = column(
            "SELECT id FROM images UNION SELECT manifest FROM images UNION SELECT blob FROM image_layers "
            "UNION SELECT digest FROM image_blobs UNION SELECT target FROM image_tags"
        )
    here = {f"sha256:{name}" for name in os.listdir(Path(engine.layout.content, "blobs", "sha256"))}
    assert wanted <= here, f"missing blobs: {wanted - here}"


@contextmanager
def state(engine: Engine) -> Iterator[sqlite3.Connection]:
    """The engine's database as it is now. A copy: nobody but the engine opens the file itself."""
    path = engine.layout.database
    with tempfile.TemporaryDirectory() as directory:
        before = None
        while before != (before := os.stat(path).st_mtime_ns):  # the log was not just being moved into it
            for suffix in ("", "-wal"):
                if os.path.exists(path + suffix):
                    shutil.copy(path + suffix, f"{directory}/state.db{suffix}")
        with closing(sqlite3.connect(f"{directory}/state.db")) as database:
            yield database


def _strangers(engine: Engine) -> set[str]:
    """Directories without a row that counts, and rows without a directory."""
    with state(engine) as database:
        rows = database.execute(
            "SELECT name FROM layers WHERE state = 'committed' UNION SELECT name FROM container_snapshots"
        )
        known = {name for (name,) in rows}
    return known ^ set(os.listdir(engine.layout.snapshots))
