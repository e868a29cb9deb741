"""The image store: records and names over the database, bytes in the content store, layers in the snapshotter.

Reads are answered from SQLite at once; writes wait for the disk and therefore run in threads, and are seen through when
who asked is cancelled: the content is let go of then. Rules of removal are in ``removal``. An image exists when its
row does: the row is written last, after all of its content.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from rundlet.errors import InvalidParameterError, NoSuchImageError
from rundlet.image import naming
from rundlet.image.errors import TagToDigestError
from rundlet.image.records import Image, Layer, NewImage, Stored
from rundlet.oci import mediatype
from rundlet.oci.config import SIZE_LIMIT, ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference, identifier_prefixes, is_full_identifier
from rundlet.storage.content import ContentStore
from rundlet.util.clock import Clock
from rundlet.util.database import Database
from rundlet.util.tasks import settled

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS images (
        id TEXT PRIMARY KEY, manifest TEXT NOT NULL, media_type TEXT NOT NULL, manifest_size INTEGER NOT NULL,
        created TEXT NOT NULL, created_ns INTEGER NOT NULL, size INTEGER NOT NULL,
        os TEXT NOT NULL, architecture TEXT NOT NULL, variant TEXT NOT NULL, os_version TEXT NOT NULL,
        labels BLOB NOT NULL, chain TEXT, parent TEXT, tagged_ns INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS images_parent ON images (parent)",
    """CREATE TABLE IF NOT EXISTS image_layers (
        image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, position INTEGER NOT NULL,
        diff_id TEXT NOT NULL, chain TEXT NOT NULL, size INTEGER NOT NULL,
        blob TEXT NOT NULL, blob_size INTEGER NOT NULL, media_type TEXT NOT NULL,
        PRIMARY KEY (image, position)
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS image_layers_chain ON image_layers (chain)",
    "CREATE INDEX IF NOT EXISTS image_layers_blob ON image_layers (blob)",
    """CREATE TABLE IF NOT EXISTS image_blobs (
        image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, digest TEXT NOT NULL,
        PRIMARY KEY (image, digest)
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS image_blobs_digest ON image_blobs (digest)",
    # One row per name:tag. The target is what was pulled under the name: a manifest, or an index kept whole.
    """CREATE TABLE IF NOT EXISTS image_tags (
        domain TEXT NOT NULL, path TEXT NOT NULL, tag TEXT NOT NULL,
        image TEXT NOT NULL REFERENCES images (id),
        target TEXT NOT NULL, media_type TEXT NOT NULL, target_size INTEGER NOT NULL,
        PRIMARY KEY (domain, path, tag)
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS image_tags_image ON image_tags (image)",
    """CREATE TABLE IF NOT EXISTS image_digests (
        domain TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
        image TEXT NOT NULL REFERENCES images (id),
        PRIMARY KEY (domain, path, digest)
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS image_digests_image ON image_digests (image)",
)

_COLUMNS = (
    "id, manifest, media_type, manifest_size, created, created_ns, size, os, architecture, variant, os_version, "
    "labels, chain, parent, tagged_ns"
)
_SELECT = f"SELECT {_COLUMNS} FROM images"  # noqa: S608
CONFIG_CACHE = 32
SMALL = 64 << 10
"""Bytes of a document that is read at once, where it is wanted."""


class ImageStore:
    """Made by the wiring; one per engine."""

    def __init__(self, database: Database, content: ContentStore, clock: Clock) -> None:
        self.database = database
        self.content = content
        self._clock = clock
        self._configs: dict[Digest, tuple[bytes, ImageConfig]] = {}

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, reference_or_id: str) -> Image:
        """The image under a name, a digest, an ID or the unambiguous beginning of one. Raises NoSuchImageError."""
        if is_full_identifier(reference_or_id):
            image = self.find(Digest("sha256", reference_or_id.removeprefix("sha256:")))
            if image is None:
                raise NoSuchImageError(f"sha256:{reference_or_id.removeprefix('sha256:')}")
            return image
        reference = Reference.parse(reference_or_id)
        image_id = self._by_reference(reference) or self._by_prefix(reference_or_id)
        image = self.find(image_id) if image_id is not None else None
        if image is None:
            raise NoSuchImageError(reference.with_default_tag().familiar)
        return image

    async def document(self, digest: Digest, limit: int) -> bytes:
        """A manifest or config of the content store, verified.

        Most are small: the way to a thread and back takes longer than to read them. Raises what the content store
        raises.
        """
        if self.content.size(digest) <= SMALL:
            return self.content.read(digest, SMALL)
        return await asyncio.to_thread(self.content.read, digest, limit)

    def find(self, image_id: Digest) -> Image | None:
        """The image of this ID, if it is here."""
        found = self._load(_SELECT + " WHERE id = ?", (str(image_id),))
        return found[0] if found else None

    def images(self) -> list[Image]:
        """Every image, the newest first."""
        return self._load(_SELECT + " ORDER BY created_ns DESC, id", ())

    def children(self, image_id: Digest) -> list[Digest]:
        """Images that were built upon this one here."""
        rows = self.database.query("SELECT id FROM images WHERE parent = ?", (str(image_id),))
        return [Digest.parse(row[0]) for row in rows]

    def layers(self, image_id: Digest) -> list[Layer]:
        """The image's layers, bottom first."""
        return self._layers("image = ? ORDER BY position", image_id)

    def layer(self, chain: Digest) -> Layer | None:
        """The layer of this chain ID, as one of the images here has it."""
        return next(iter(self._layers("chain = ? LIMIT 1", chain)), None)

    def is_layer(self, blob: Digest, diff_id: Digest) -> bool:
        """Whether an image here has the layer ``diff_id`` as ``blob``."""
        sql = "SELECT 1 FROM image_layers WHERE blob = ? AND diff_id = ? LIMIT 1"
        return bool(self.database.query(sql, (str(blob), str(diff_id))))

    def _layers(self, where: str, digest: Digest) -> list[Layer]:
        rows = self.database.query(
            f"SELECT diff_id, chain, size, blob, blob_size, media_type FROM image_layers WHERE {where}",  # noqa: S608
            (str(digest),),
        )
        return [
            Layer(Digest.parse(diff), Digest.parse(chain), size, Descriptor(media_type, Digest.parse(blob), blob_size))
            for diff, chain, size, blob, blob_size, media_type in rows
        ]

    def blobs(self, image_id: Digest) -> list[Digest]:
        """Every blob that the image keeps: config, manifest, indexes, layers."""
        rows = self.database.query(
            "SELECT digest FROM image_blobs WHERE image = :id UNION SELECT blob FROM image_layers WHERE image = :id "
            "UNION SELECT manifest FROM images WHERE id = :id UNION SELECT id FROM images WHERE id = :id",
            {"id": str(image_id)},
        )
        return [Digest.parse(row[0]) for row in rows]

    def target(self, reference: Reference) -> Descriptor | None:
        """What a tag points at in the store: the manifest, or the index it was pulled as."""
        rows = self.database.query(
            "SELECT media_type, target, target_size FROM image_tags WHERE domain = ? AND path = ? AND tag = ?",
            (reference.domain, reference.path, reference.with_default_tag().tag),
        )
        return Descriptor(rows[0][0], Digest.parse(rows[0][1]), rows[0][2]) if rows else None

    def holders(self, blob: Digest, domain: str) -> list[str]:
        """Paths of repositories at ``domain`` that are known to hold the layer or config, to mount it from."""
        rows = self.database.query(
            "SELECT path FROM image_digests JOIN image_layers USING (image) WHERE blob = :blob AND domain = :domain "
            "UNION SELECT path FROM image_digests WHERE image = :blob AND domain = :domain ORDER BY path",
            {"blob": str(blob), "domain": domain},
        )
        return [path for (path,) in rows]

    def has_travelled(self, blob: Digest) -> bool:
        """Whether some registry is known to have the layer."""
        sql = "SELECT 1 FROM image_layers JOIN image_digests USING (image) WHERE blob = ? LIMIT 1"
        return bool(self.database.query(sql, (str(blob),)))

    def blobs_of(self, chain: Digest) -> list[Descriptor]:
        """The layer of this chain ID, as each image here has it."""
        return list(dict.fromkeys(layer.blob for layer in self._layers("chain = ? ORDER BY blob", chain)))

    def layer_words(self) -> set[str]:
        """The digests by which archives may call a layer that an image here has: diff IDs and blobs, encoded."""
        rows = self.database.query("SELECT diff_id, blob FROM image_layers")
        return {word.partition(":")[2] for row in rows for word in row}

    def repository(self, name: Reference) -> list[Reference]:
        """Every tagged reference with the name of ``name``, sorted."""
        rows = self.database.query(
            "SELECT tag FROM image_tags WHERE domain = ? AND path = ? ORDER BY tag", (name.domain, name.path)
        )
        return [name.with_tag(tag) for (tag,) in rows]

    def config(self, image_id: Digest) -> ImageConfig:
        """The image's config."""
        return self._config(image_id)[1]

    def _config(self, image_id: Digest) -> tuple[bytes, ImageConfig]:
        found = self._configs.pop(image_id, None)
        if found is None:
            data = self.content.read(image_id, limit=SIZE_LIMIT)
            found = data, ImageConfig.decode(data)
            for oldest in list(self._configs)[: max(0, len(self._configs) - CONFIG_CACHE + 1)]:
                self._configs.pop(oldest, None)  # other threads read configs, too
        self._configs[image_id] = found
        return found

    def _by_reference(self, reference: Reference) -> Digest | None:
        if reference.digest is not None:
            sql = "SELECT image FROM image_digests WHERE domain = ? AND path = ? AND digest = ?"
            rows = self.database.query(sql, (reference.domain, reference.path, str(reference.digest)))
        else:
            sql = "SELECT image FROM image_tags WHERE domain = ? AND path = ? AND tag = ?"
            rows = self.database.query(sql, (reference.domain, reference.path, reference.with_default_tag().tag))
        return Digest.parse(rows[0][0]) if rows else None

    def _by_prefix(self, text: str) -> Digest | None:
        rows = [
            row
            for prefix in identifier_prefixes(text)
            for row in self.database.query(
                "SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (prefix, f"{prefix}g")
            )
        ]
        return Digest.parse(rows[0][0]) if len(rows) == 1 else None

    def _load(self, sql: str, parameters: Sequence[str]) -> list[Image]:
        rows = self.database.query(sql, parameters)
        one = (rows[0][0],) if len(rows) == 1 else None
        tags = self._names("image_tags", "tag", one)
        digests = self._names("image_digests", "digest", one)
        return [_image(row, tags.get(row[0], ()), digests.get(row[0], ())) for row in rows]

    def _names(self, table: str, column: str, one: tuple[str] | None) -> dict[str, tuple[Reference, ...]]:
        where = " WHERE image = ?" if one else ""
        sql = f"SELECT image, domain, path, {column} FROM {table}{where} ORDER BY domain, path, {column}"  # noqa: S608
        found: dict[str, tuple[Reference, ...]] = {}
        for image, domain, path, value in self.database.query(sql, one or ()):
            name = (
                Reference(domain, path, value)
                if column == "tag"
                else Reference(domain, path, None, Digest.parse(value))
            )
            found[image] = (*found.get(image, ()), name)
        return found

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────

    async def put(
        self, image: NewImage, names: Sequence[tuple[Reference, Descriptor | None]] = (), *, new: bool = True
    ) -> Stored:
        """Record a complete image, with names and what each of them points at: None is the image's own manifest.

        A tagged reference gets the tag; one with a digest the digest. A known image keeps the manifest that it has.
        Where all of it is known already, nothing is written: a pull that changes nothing waits for no disk. Raises
        NoSuchImageError when it is not ``new`` and not here any more.
        """
        known = self._known(image, names)
        if known is not None:
            return Stored(known, None)
        return await settled(asyncio.to_thread(self.put_now, image, names, new=new))

    def _known(self, image: NewImage, names: Iterable[tuple[Reference, Descriptor | None]]) -> Image | None:
        with self.database.reading():
            known = self.find(image.id)
            if known is None or not set(image.blobs) <= set(self.blobs(image.id)):
                return None
            same = all(
                self._by_reference(reference) == image.id
                and (reference.digest is not None or self.target(reference) == (target or known.manifest))
                for reference, target in names
            )
            return known if same else None

    def put_now(
        self, image: NewImage, names: Iterable[tuple[Reference, Descriptor | None]], *, new: bool = True
    ) -> Stored:
        """:meth:`put`, waiting for the disk."""
        before: Digest | None = None
        with self.database.transaction() as cursor:
            if not new and self.find(image.id) is None:
                raise NoSuchImageError(str(image.id))
            _insert(cursor, image)
            for reference, target in names:
                moved = self._name(cursor, reference, image.id, target)
                before = moved or before
            stored = self.find(image.id)  # as it is now: who waits for the disk may find it removed
        assert stored is not None
        return Stored(stored, before)

    async def tag(self, image: Image, reference: Reference, target: Descriptor | None = None) -> Digest | None:
        """Give ``image`` a name; ``target`` is what a push of it sends.

        By default that is the index that another of its names points at, else its manifest. Returns the image that
        had the name before, if another one. Raises TagToDigestError, NoSuchImageError: it has just been removed.
        """
        if reference.digest is not None:
            raise TagToDigestError

        name = reference.with_default_tag()

        def write() -> Digest | None:
            # A name that it has already is only noted: a signed pull gives it again each time, and waits for no disk.
            new = self._by_reference(name) != image.id or (target is not None and self.target(name) != target)
            with self.database.transaction(durable=new) as cursor:
                return self._name(cursor, name, image.id, target or self._index_of(cursor, image.id))

        return await settled(asyncio.to_thread(write))

    def _index_of(self, cursor: sqlite3.Cursor, image_id: Digest) -> Descriptor | None:
        row = cursor.execute(
            "SELECT image_tags.media_type, target, target_size FROM image_tags JOIN images ON images.id = image "
            "WHERE image = ? AND target != manifest LIMIT 1",
            (str(image_id),),
        ).fetchone()
        return Descriptor(row[0], Digest.parse(row[1]), row[2]) if row else None

    def add_digest(self, image: Image, reference: Reference) -> None:
        """Record that ``reference`` (name and digest) is known to be this image, after a push; one that was removed
        meanwhile is no error."""
        # Not worth waiting for the disk: what a loss of power takes the registry says again.
        with suppress(NoSuchImageError), self.database.transaction(durable=False) as cursor:
            self._name(cursor, reference, image.id, None)

    def _name(
        self, cursor: sqlite3.Cursor, reference: Reference, image_id: Digest, target: Descriptor | None
    ) -> Digest | None:
        """Raises NoSuchImageError, AmbiguousTagError."""
        naming.check(reference)
        own = cursor.execute(
            "SELECT media_type, manifest, manifest_size FROM images WHERE id = ?", (str(image_id),)
        ).fetchone()
        if own is None:
            raise NoSuchImageError(str(image_id))
        if reference.digest is not None:
            cursor.execute(
                "INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?, ?)",
                (reference.domain, reference.path, str(reference.digest), str(image_id)),
            )
            return None
        target = target or Descriptor(own[0], Digest.parse(own[1]), own[2])
        key = (reference.domain, reference.path, reference.tag)
        row = cursor.execute("SELECT image FROM image_tags WHERE domain=? AND path=? AND tag=?", key).fetchone()
        cursor.execute(
            "INSERT OR REPLACE INTO image_tags VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, str(image_id), str(target.digest), target.media_type, target.size),
        )
        cursor.execute("UPDATE images SET tagged_ns = ? WHERE id = ?", (self._clock.now_ns(), str(image_id)))
        return Digest.parse(row[0]) if row and row[0] != str(image_id) else None

    async def untag(self, references: Sequence[Reference], *, still: Digest | None = None) -> None:
        """Remove names (tags or digests) in one transaction; absent ones are fine, and with ``still`` those that are
        another image's by now."""
        only, owner = (" AND image = ?", (str(still),)) if still is not None else ("", ())

        def write() -> None:
            with self.database.transaction(freeing=True) as cursor:
                for reference in references:
                    column, value = (
                        ("tag", reference.tag) if reference.digest is None else ("digest", str(reference.digest))
                    )
                    cursor.execute(
                        f"DELETE FROM image_{column}s WHERE domain = ? AND path = ? AND {column} = ?{only}",  # noqa: S608
                        (reference.domain, reference.path, value, *owner),
                    )

        await settled(asyncio.to_thread(write))

    async def adopt(self, image_id: Digest, parent: Digest) -> None:
        """Record what the image stands on, where that was not known: it came from elsewhere."""

        def write() -> None:
            with self.database.transaction() as cursor:
                cursor.execute(
                    "UPDATE images SET parent = ? WHERE id = ? AND parent IS NULL", (str(parent), str(image_id))
                )

        await settled(asyncio.to_thread(write))

    def is_listed(self, image_id: Digest) -> bool:
        """Whether a name of the image points at an index, which lists the manifest that it has."""
        rows = self.database.query("SELECT media_type FROM image_tags WHERE image = ?", (str(image_id),))
        return any(mediatype.is_index(media_type) for (media_type,) in rows)

    async def replace_manifest(self, image: Image, manifest: Descriptor, layers: Sequence[Layer]) -> bool:
        """Give the image another manifest, of ``layers``: the same ones as other blobs. Its names follow.

        Nothing is done, and False the answer, where ``image`` is not what is here any more: it was removed, came again
        with another manifest, or an index lists the one that it has.
        """

        def write() -> bool:
            own, old = str(image.id), str(image.manifest.digest)
            new = (str(manifest.digest), manifest.media_type, manifest.size)
            with self.database.transaction() as cursor:
                if self.is_listed(image.id):
                    return False
                cursor.execute(
                    "UPDATE images SET manifest = ?, media_type = ?, manifest_size = ? WHERE id = ? AND manifest = ?",
                    (*new, own, old),
                )
                if not cursor.rowcount:
                    return False
                cursor.execute(
                    "UPDATE image_tags SET target = ?, media_type = ?, target_size = ? WHERE image = ? AND target = ?",
                    (*new, own, old),
                )
                cursor.execute("DELETE FROM image_blobs WHERE image = ? AND digest = ?", (own, old))
                cursor.execute("INSERT OR IGNORE INTO image_blobs VALUES (?, ?)", (own, str(manifest.digest)))
                cursor.executemany(
                    "UPDATE image_layers SET blob = ?, blob_size = ?, media_type = ? WHERE image = ? AND position = ?",
                    [
                        (str(layer.blob.digest), layer.blob.size, layer.blob.media_type, own, position)
                        for position, layer in enumerate(layers)
                    ],
                )
            return True

        return await settled(asyncio.to_thread(write))

    async def forget(self, image_id: Digest) -> tuple[list[Digest], list[Digest]]:
        """Remove an image's row and its names; the chains that it had, top first, and the blobs, to be released."""

        def write() -> tuple[list[Digest], list[Digest]]:
            with self.database.transaction(freeing=True) as cursor:
                left = [layer.chain for layer in reversed(self.layers(image_id))], self.blobs(image_id)
                for table in ("image_tags", "image_digests"):
                    cursor.execute(f"DELETE FROM {table} WHERE image = ?", (str(image_id),))  # noqa: S608
                cursor.execute("DELETE FROM images WHERE id = ?", (str(image_id),))
            return left

        left = await settled(asyncio.to_thread(write))
        self._configs.pop(image_id, None)
        return left


def _insert(cursor: sqlite3.Cursor, image: NewImage) -> None:
    """Insert or complete; a known image keeps its row and gets the blobs that came with another index."""
    known = cursor.execute("SELECT 1 FROM images WHERE id = ?", (str(image.id),)).fetchone()
    if not known:
        platform = image.platform
        cursor.execute(
            f"INSERT INTO images ({_COLUMNS}) VALUES ({', '.join('?' * 15)})",  # noqa: S608
            (
                str(image.id),
                str(image.manifest.digest),
                image.manifest.media_type,
                image.manifest.size,
                image.created,
                image.created_ns,
                sum(layer.size for layer in image.layers),
                platform.os,
                platform.architecture,
                platform.variant,
                platform.os_version,
                msgspec.json.encode(image.labels),
                str(image.layers[-1].chain) if image.layers else None,
                str(image.parent) if image.parent else None,
                0,
            ),
        )
        cursor.executemany(
            "INSERT INTO image_layers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    str(image.id),
                    position,
                    str(layer.diff_id),
                    str(layer.chain),
                    layer.size,
                    str(layer.blob.digest),
                    layer.blob.size,
                    layer.blob.media_type,
                )
                for position, layer in enumerate(image.layers)
            ],
        )
    cursor.executemany(
        "INSERT OR IGNORE INTO image_blobs VALUES (?, ?)", [(str(image.id), str(digest)) for digest in image.blobs]
    )


def _image(row: Sequence[object], tags: tuple[Reference, ...], digests: tuple[Reference, ...]) -> Image:
    (
        image_id,
        manifest,
        media_type,
        manifest_size,
        created,
        created_ns,
        size,
        system,
        architecture,
        variant,
        os_version,
        labels,
        chain,
        parent,
        tagged_ns,
    ) = row
    return Image(
        id=Digest.parse(str(image_id)),
        manifest=Descriptor(str(media_type), Digest.parse(str(manifest)), _int(manifest_size)),
        created=str(created),
        created_ns=_int(created_ns),
        size=_int(size),
        platform=Platform(str(architecture), str(system), str(variant), str(os_version)),
        labels=msgspec.json.decode(_bytes(labels), type=dict[str, str]),
        chain=Digest.parse(str(chain)) if chain else None,
        parent=Digest.parse(str(parent)) if parent else None,
        tagged_ns=_int(tagged_ns),
        tags=tags,
        digests=digests,
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def parse_name(text: str) -> Reference | None:
    """``text`` as a reference, or None when it is none (it may still be an ID)."""
    try:
        return Reference.parse(text)
    except InvalidParameterError:
        return None
