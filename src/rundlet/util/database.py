"""The state database: one SQLite file, one writer (the engine), short transactions.

Rooms declare their tables as ``SCHEMA`` tuples of SQL; the wiring hands all of them to :meth:`Database.open`. The
schema's version is SQLite's ``user_version``: an older one is migrated in one transaction, a newer one is refused.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rundlet.errors import InternalError

VERSION = 1
IN_MEMORY = ":memory:"


class NewerStateError(InternalError):
    """The state on disk was written by a newer Rundlet."""

    reason = "newer-state"

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has state version {found}, this Rundlet knows up to {known}: install the newer Rundlet again"
        )


class StateError(InternalError):
    """The database can't be written: a full disk, a failing one. Nothing of the transaction was kept."""

    reason = "state-database"

    def __init__(self, error: sqlite3.OperationalError) -> None:
        full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
        super().__init__(f"write the state database: {'no space left on device' if full else error}")
        self.full = full


class Database:
    """A connection shared by the engine's threads; statements are serialised by a lock."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: str, schemas: Iterable[Sequence[str]], *, shared_memory: bool = True) -> "Database":
        """Open or create ``path`` with the tables of every schema (``CREATE TABLE IF NOT EXISTS …`` statements).

        ``shared_memory``: the file system has it, as local ones do; a write-ahead log wants it, a rollback journal does
        without. Nobody else ever opens the file meanwhile, so the log's index is in this process's own memory: as a
        mapped file it would be the death of us (SIGBUS) on a full disk.
        """
        if path != IN_MEMORY:
            # Its journals get the same mode: nobody else reads along.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            os.chmod(path, 0o600)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute(f"PRAGMA journal_mode={'WAL' if shared_memory else 'DELETE'}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        database = cls(connection)
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            connection.close()
            raise NewerStateError(path, found, VERSION)
        with database.transaction() as cursor:
            for schema in schemas:
                for statement in schema:
                    cursor.execute(statement)
            if found != VERSION:
                cursor.execute(f"PRAGMA user_version={VERSION}")  # a write, which a full disk would refuse
        return database

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Cursor]:
        """All or nothing; nested use is an error. Raises what the body raises after rolling back, StateError.

        What is not ``durable`` survives this process, but perhaps not a loss of power: for what means nothing after a
        boot, and is written while somebody waits. The next durable transaction makes it so.
        """
        with self._lock:
            try:
                cursor = self._connection.cursor()
                cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    # A full disk fails the commit, and may or may not have ended the transaction.
                    if self._connection.in_transaction:
                        cursor.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as exc:
                raise StateError(exc) from exc

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a read."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
