"""The state database: one SQLite file, one writer (the engine), short transactions.

Rooms declare their tables as ``SCHEMA`` tuples of SQL; the wiring hands all of them to :meth:`Database.open`. The
schema's version is SQLite's ``user_version``: an older one is migrated in one transaction, a newer one is refused.

Removing something is a write, too, which a full disk refuses just when removing is what helps. Some room is therefore
set aside in a file beside the database, which goes when a transaction that is ``freeing`` finds none.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from rundlet.errors import InternalError

VERSION = 1
IN_MEMORY = ":memory:"
_RESERVE: Final = 1 << 20
"""Bytes: a removal writes some 50,000 of them, and each gives more room than it takes."""
_PLENTY: Final = 16 * _RESERVE


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

    def __init__(self, connection: sqlite3.Connection, path: str = IN_MEMORY) -> None:
        self._connection = connection
        self._reserve = "" if path == IN_MEMORY else f"{path}-reserve"
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
        database = cls(connection, path)
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
    def transaction(self, *, durable: bool = True, freeing: bool = False) -> Iterator[sqlite3.Cursor]:
        """All or nothing; nested use is an error. Raises what the body raises after rolling back, StateError.

        What is not ``durable`` survives this process, but perhaps not a loss of power: for what means nothing after a
        boot, and is written while somebody waits. The next durable transaction makes it so. What is ``freeing`` room
        may use what is set aside.
        """
        with self._lock:
            if freeing:
                self._make_room()
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

    def keep_reserve(self) -> None:
        """Set room aside for removals, where there is plenty of it and none is set aside yet. Raises OSError."""
        if not self._reserve or os.path.exists(self._reserve) or _free(self._reserve) < _PLENTY:
            return
        fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(fd, 0, _RESERVE)
        except OSError:
            os.unlink(self._reserve)  # a quota, say
            raise
        finally:
            os.close(fd)

    def _make_room(self) -> None:
        if not self._reserve or _free(self._reserve) >= _RESERVE:
            return
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with suppress(FileNotFoundError):
            os.unlink(self._reserve)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several reads of one state: nothing is written in between."""
        with self._lock:
            yield

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a read. What a statement uses twice has a name in it (``:name``)."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _free(path: str) -> int:
    """Bytes that are free where ``path`` is or will be."""
    status = os.statvfs(os.path.dirname(path))
    return status.f_bavail * status.f_frsize
