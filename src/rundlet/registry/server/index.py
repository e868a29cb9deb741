"""Which repository holds which blobs, manifests and tags: tables in one SQLite file, changed in whole transactions.

A row never exists without its content: content is on disk, synced, before its row is written, and a row goes before its
content does. So a registry that is killed at any moment starts again with at most content that no row names.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.registry.server.documents import Document
from rundlet.util.database import Database

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS blobs (repository TEXT NOT NULL, digest TEXT NOT NULL, linked_ns INTEGER NOT NULL, "
    "PRIMARY KEY (repository, digest)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS blobs_by_digest ON blobs (digest)",
    "CREATE TABLE IF NOT EXISTS manifests (repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, "
    "size INTEGER NOT NULL, artifact_type TEXT NOT NULL, subject TEXT, annotations TEXT NOT NULL, "
    "pushed_ns INTEGER NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS manifests_by_digest ON manifests (digest)",
    "CREATE INDEX IF NOT EXISTS manifests_by_subject ON manifests (repository, subject, digest)",
    'CREATE TABLE IF NOT EXISTS "references" (repository TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL, '
    "size INTEGER NOT NULL, PRIMARY KEY (repository, manifest, digest)) WITHOUT ROWID",
    'CREATE INDEX IF NOT EXISTS references_by_digest ON "references" (repository, digest)',
    "CREATE TABLE IF NOT EXISTS tags (repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, "
    "PRIMARY KEY (repository, tag)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL) WITHOUT ROWID",
)
_REFERENCED = 'EXISTS (SELECT 1 FROM "references" r WHERE r.repository = blobs.repository AND r.digest = blobs.digest)'


class Repository(msgspec.Struct, frozen=True):
    """One line of a search: ``description`` is the newest manifest's annotation of that name."""

    name: str
    description: str


class Index:
    """Methods block for one short statement; those that change something wait for the disk and belong in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        self._database.close()

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────

    def has_blob(self, repository: str, digest: Digest) -> bool:
        rows = self._database.query(
            "SELECT 1 FROM blobs WHERE repository = ? AND digest = ?", (repository, str(digest))
        )
        return bool(rows)

    def keep_reserve(self) -> None:
        """Room for deletions, which a full disk must not refuse. Raises OSError."""
        self._database.keep_reserve()

    def has_blob_anywhere(self, digest: Digest) -> bool:
        return bool(self._database.query("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", (str(digest),)))

    def link_blob(self, repository: str, digest: Digest, now_ns: int) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (repository, str(digest), now_ns))

    def unlink_blobs(self, repository: str, digests: Iterable[Digest]) -> None:
        with self._database.transaction(freeing=True) as cursor:
            cursor.executemany(
                "DELETE FROM blobs WHERE repository = ? AND digest = ?", [(repository, str(d)) for d in digests]
            )

    def unreferenced(self, before_ns: int) -> list[tuple[str, Digest]]:
        """Repositories and blobs that were linked before ``before_ns`` and that no manifest there names."""
        sql = f"SELECT repository, digest FROM blobs WHERE linked_ns < ? AND NOT {_REFERENCED}"  # noqa: S608
        return [(name, Digest.parse(text)) for name, text in self._database.query(sql, (before_ns,))]

    def is_unreferenced(self, repository: str, digest: Digest, before_ns: int) -> bool:
        """Whether :meth:`unreferenced` would tell of this one."""
        sql = f"SELECT 1 FROM blobs WHERE repository = ? AND digest = ? AND linked_ns < ? AND NOT {_REFERENCED}"  # noqa: S608
        return bool(self._database.query(sql, (repository, str(digest), before_ns)))

    def is_referenced(self, repository: str, digest: Digest) -> bool:
        sql = 'SELECT 1 FROM "references" WHERE repository = ? AND digest = ? LIMIT 1'
        return bool(self._database.query(sql, (repository, str(digest))))

    def referenced_size(self, repository: str, digest: Digest) -> int | None:
        """What the manifests of ``repository`` say about a blob's size; None when none names it."""
        sql = 'SELECT max(size) FROM "references" WHERE repository = ? AND digest = ?'
        size = self._database.query(sql, (repository, str(digest)))[0][0]
        return None if size is None else int(size)

    def is_needed(self, digest: Digest) -> bool:
        """Whether any repository holds ``digest``, as a blob or as a manifest."""
        sql = (
            "SELECT 1 FROM blobs WHERE digest = :digest "
            "UNION ALL SELECT 1 FROM manifests WHERE digest = :digest LIMIT 1"
        )
        return bool(self._database.query(sql, {"digest": str(digest)}))

    # ── manifests and tags ───────────────────────────────────────────────────────────────────────────────────

    def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        sql = "SELECT media_type, size FROM manifests WHERE repository = ? AND digest = ?"
        for media_type, size in self._database.query(sql, (repository, str(digest))):
            return Descriptor(media_type, digest, size)
        return None

    def tagged(self, repository: str, tag: str) -> Digest | None:
        rows = self._database.query("SELECT digest FROM tags WHERE repository = ? AND tag = ?", (repository, tag))
        return Digest.parse(rows[0][0]) if rows else None

    def put_manifest(
        self, repository: str, descriptor: Descriptor, document: Document, tags: Sequence[str], now_ns: int
    ) -> None:
        digest = str(descriptor.digest)
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    repository,
                    digest,
                    descriptor.media_type,
                    descriptor.size,
                    document.artifact_type,
                    str(document.subject) if document.subject else None,
                    msgspec.json.encode(document.annotations).decode(),
                    now_ns,
                ),
            )
            cursor.executemany(
                'INSERT OR REPLACE INTO "references" VALUES (?, ?, ?, ?)',
                [(repository, digest, str(part.digest), part.size) for part in document.references],
            )
            cursor.executemany(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", [(repository, tag, digest) for tag in tags]
            )

    def delete_manifest(self, repository: str, digest: Digest) -> list[Digest]:
        """With its tags; what it referred to."""
        parameters = (repository, str(digest))
        with self._database.transaction(freeing=True) as cursor:
            rows = cursor.execute(
                'SELECT digest FROM "references" WHERE repository = ? AND manifest = ?', parameters
            ).fetchall()
            cursor.execute('DELETE FROM "references" WHERE repository = ? AND manifest = ?', parameters)
            cursor.execute("DELETE FROM tags WHERE repository = ? AND digest = ?", parameters)
            cursor.execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", parameters)
        return [Digest.parse(text) for (text,) in rows]

    def delete_tag(self, repository: str, tag: str) -> None:
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM tags WHERE repository = ? AND tag = ?", (repository, tag))

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────

    def known(self, repository: str) -> bool:
        """Whether the repository holds anything."""
        sql = (
            "SELECT 1 FROM manifests WHERE repository = :name "
            "UNION ALL SELECT 1 FROM blobs WHERE repository = :name LIMIT 1"
        )
        return bool(self._database.query(sql, {"name": repository}))

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        sql = "SELECT tag FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?"
        return [tag for (tag,) in self._database.query(sql, (repository, after, limit))]

    def repositories(self, after: str, limit: int) -> list[str]:
        sql = "SELECT DISTINCT repository FROM manifests WHERE repository > ? ORDER BY repository LIMIT ?"
        return [name for (name,) in self._database.query(sql, (after, limit))]

    def search(self, words: str, offset: int, limit: int) -> tuple[int, list[Repository]]:
        """How many repositories have ``words`` in their names, and ``limit`` of them."""
        pattern = "%" + "".join(f"\\{c}" if c in "\\%_" else c for c in words) + "%"
        where = "WHERE repository LIKE ? ESCAPE '\\'"
        total = self._database.query(f"SELECT count(DISTINCT repository) FROM manifests {where}", (pattern,))[0][0]  # noqa: S608
        rows = self._database.query(
            f"SELECT repository, annotations, max(pushed_ns) FROM manifests {where} "  # noqa: S608
            "GROUP BY repository ORDER BY repository LIMIT ? OFFSET ?",
            (pattern, limit, offset),
        )
        return total, [Repository(name, _description(annotations)) for name, annotations, _ in rows]

    def referrers(
        self, repository: str, subject: Digest, artifact_type: str, after: str, limit: int
    ) -> Sequence[Descriptor]:
        """Manifests whose subject is ``subject``, of ``artifact_type`` unless that is empty, by digest."""
        rows = self._database.query(
            "SELECT digest, media_type, size, artifact_type, annotations FROM manifests WHERE repository = :name "
            "AND subject = :subject AND digest > :after AND (:type = '' OR artifact_type = :type) "
            "ORDER BY digest LIMIT :limit",
            {"name": repository, "subject": str(subject), "after": after, "type": artifact_type, "limit": limit},
        )
        return [
            Descriptor(
                media_type,
                Digest.parse(digest),
                size,
                artifact_type=kind or None,
                annotations=msgspec.json.decode(annotations, type=dict[str, str]) or None,
            )
            for digest, media_type, size, kind, annotations in rows
        ]

    # ── uploads ──────────────────────────────────────────────────────────────────────────────────────────────

    def add_upload(self, identifier: str, repository: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("INSERT INTO uploads VALUES (?, ?)", (identifier, repository))

    def upload(self, identifier: str) -> str | None:
        """The repository that the upload is for."""
        rows = self._database.query("SELECT repository FROM uploads WHERE id = ?", (identifier,))
        return rows[0][0] if rows else None

    def uploads(self) -> list[str]:
        return [identifier for (identifier,) in self._database.query("SELECT id FROM uploads")]

    def delete_upload(self, identifier: str) -> None:
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM uploads WHERE id = ?", (identifier,))


def _description(annotations: str) -> str:
    return msgspec.json.decode(annotations, type=dict[str, str]).get("org.opencontainers.image.description", "")
