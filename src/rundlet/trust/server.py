"""A trust server's store: metadata in all versions, and the keys of snapshots and timestamps, in SQLite.

Methods block for short statements and signatures; the caller serialises those that change something.
"""

import hashlib
from datetime import UTC, datetime
from typing import Final

from rundlet.trust.keyfile import decode_plain, encode_plain
from rundlet.trust.keys import PrivateKey, PublicKey, generate
from rundlet.trust.metadata import ROOT, SNAPSHOT, TIMESTAMP, open_envelope, read_root, version_of
from rundlet.trust.upload import State, accept, renew
from rundlet.util.clock import Clock
from rundlet.util.database import Database

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS trust_files (gun TEXT NOT NULL, role TEXT NOT NULL, version INTEGER NOT NULL, "
    "sha256 TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (gun, role, version)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS trust_files_by_hash ON trust_files (gun, role, sha256)",
    "CREATE TABLE IF NOT EXISTS trust_keys (gun TEXT NOT NULL, id TEXT NOT NULL, role TEXT NOT NULL, "
    "made_ns INTEGER NOT NULL, pem BLOB NOT NULL, PRIMARY KEY (gun, id)) WITHOUT ROWID",
)
SERVED_ROLES: Final = (SNAPSHOT, TIMESTAMP)
PENDING: Final = 8
"""Keys of one role that wait for a root to name them; older ones are forgotten."""


class TrustServer:
    """One for a registry."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ns() // 10**9, UTC)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def current(self, gun: str, role: str) -> bytes | None:
        """The newest file of ``role``."""
        sql = "SELECT data FROM trust_files WHERE gun = ? AND role = ? ORDER BY version DESC LIMIT 1"
        rows = self._database.query(sql, (gun, role))
        return bytes(rows[0][0]) if rows else None

    def version(self, gun: str, role: str, version: int) -> bytes | None:
        sql = "SELECT data FROM trust_files WHERE gun = ? AND role = ? AND version = ?"
        rows = self._database.query(sql, (gun, role, version))
        return bytes(rows[0][0]) if rows else None

    def by_hash(self, gun: str, role: str, sha256: str) -> bytes | None:
        sql = "SELECT data FROM trust_files WHERE gun = ? AND role = ? AND sha256 = ?"
        rows = self._database.query(sql, (gun, role, sha256.lower()))
        return bytes(rows[0][0]) if rows else None

    def _state(self, gun: str) -> State:
        sql = "SELECT role, data, max(version) FROM trust_files WHERE gun = ? GROUP BY role"
        return State(gun, {role: bytes(data) for role, data, _ in self._database.query(sql, (gun,))})

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────────

    def upload(self, gun: str, updates: dict[str, bytes]) -> None:
        """All of it or nothing. Raises RefusedError, OldVersionError."""
        self._store(gun, accept(self._state(gun), updates, _Held(self._database, gun), self._now()))

    def refresh(self, gun: str) -> None:
        """Make snapshot and timestamp anew when they are getting old."""
        state = self._state(gun)
        if ROOT in state.files:
            made = renew(state, _Held(self._database, gun), self._now())
            if made:
                self._store(gun, made)

    def delete(self, gun: str) -> None:
        """Everything about a repository, keys included."""
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM trust_files WHERE gun = ?", (gun,))
            cursor.execute("DELETE FROM trust_keys WHERE gun = ?", (gun,))

    def _store(self, gun: str, files: dict[str, bytes]) -> None:
        rows = [
            (gun, role, version_of(open_envelope(role, data)), hashlib.sha256(data).hexdigest(), data)
            for role, data in files.items()
        ]
        with self._database.transaction() as cursor:
            cursor.executemany("INSERT INTO trust_files VALUES (?, ?, ?, ?, ?)", rows)

    # ── the server's keys ────────────────────────────────────────────────────────────────────────────────────

    def key(self, gun: str, role: str) -> PublicKey:
        """The key that the repository's root names for ``role``, else one that it may name."""
        pending = self._pending(gun, role)
        held = _Held(self._database, gun)
        for name in self._in_root(gun, role):
            found = held.find(name)
            if found is not None:
                return found.public
        found = held.find(pending[0]) if pending else None
        return found.public if found is not None else self.new_key(gun, role)

    def new_key(self, gun: str, role: str) -> PublicKey:
        """A key to rotate to; it is used as soon as an uploaded root names it."""
        made = generate(role, gun)
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO trust_keys VALUES (?, ?, ?, ?, ?)",
                (gun, made.id, role, self._clock.now_ns(), encode_plain(made)),
            )
            for name in self._pending(gun, role)[PENDING:]:
                cursor.execute("DELETE FROM trust_keys WHERE gun = ? AND id = ?", (gun, name))
        return made.public

    def _pending(self, gun: str, role: str) -> list[str]:
        """Newest first."""
        sql = "SELECT id FROM trust_keys WHERE gun = ? AND role = ? ORDER BY made_ns DESC"
        named = self._in_root(gun, role)
        return [name for (name,) in self._database.query(sql, (gun, role)) if name not in named]

    def _in_root(self, gun: str, role: str) -> tuple[str, ...]:
        root = self.current(gun, ROOT)
        return read_root(open_envelope(ROOT, root)).roles[role].key_ids if root is not None else ()


class _Held:
    """Implements ``upload.Keys``."""

    def __init__(self, database: Database, gun: str) -> None:
        self._database = database
        self._gun = gun

    def find(self, key_id: str) -> PrivateKey | None:
        rows = self._database.query("SELECT pem FROM trust_keys WHERE gun = ? AND id = ?", (self._gun, key_id))
        return decode_plain(bytes(rows[0][0])) if rows else None
