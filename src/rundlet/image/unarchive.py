"""An archive's parts into the content store: one pass over the stream, every file hashed, plain layers compressed.

Runs in a thread and reads from a pipe: nothing of the archive is ever unpacked by its names. Returned are the names and
where their content is now; what of it becomes an image is for ``load`` to say.
"""

import posixpath
import secrets
from typing import Final

import msgspec
from isal import isal_zlib

from rundlet.image.archive import ArchiveError
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore
from rundlet.storage.layer import tar
from rundlet.storage.layer.compression import detect

GZIP_LEVEL: Final = 1
GZIP_WINDOW: Final = 31
MEMBERS_LIMIT: Final = 100_000
"""Files of an archive of images; more would be an attack on memory."""
_MAGIC: Final = slice(257, 262)
_LAYER_TYPES: Final = {"gzip": mediatype.DOCKER_LAYER_GZIP, "zstd": mediatype.OCI_LAYER_ZSTD}


class Part(msgspec.Struct, frozen=True):
    """One file of the archive. ``digest`` is of the file as it is in the archive, ``blob`` what was stored of it."""

    digest: Digest
    blob: Descriptor


class Parts(msgspec.Struct, frozen=True):
    """Files and links by cleaned name; :meth:`find` follows links."""

    files: dict[str, Part]
    links: dict[str, str]

    def find(self, name: str) -> Part | None:
        name = posixpath.normpath(name).lstrip("/")
        for _ in range(8):
            if name not in self.links:
                return self.files.get(name)
            name = self.links[name]
        return None

    def stored(self) -> list[Digest]:
        """Everything that was written, for cleaning up."""
        return [part.blob.digest for part in self.files.values()]


def read_archive(fd: int, content: ContentStore, parts: Parts) -> None:
    """Read a plain tar from ``fd`` into ``content``; ``parts`` grows as it goes.

    Raises ArchiveError, StorageError.
    """
    reader = tar.Reader(tar.Source(fd))
    try:
        while (entry := reader.next()) is not None:
            if len(parts.files) + len(parts.links) > MEMBERS_LIMIT:
                raise ArchiveError("the archive holds more files than any archive of images")
            name = entry.name.decode("utf-8", "surrogateescape")
            if entry.type == tar.REGULAR:
                parts.files[name] = _store(reader, content)
            elif entry.type in (tar.SYMLINK, tar.HARDLINK):
                link = entry.link.decode("utf-8", "surrogateescape")
                base = posixpath.dirname(name) if entry.type == tar.SYMLINK else ""
                parts.links[name] = posixpath.normpath(posixpath.join("/", base, link)).lstrip("/")
    except tar.TarError as exc:
        raise ArchiveError(f"invalid archive: {exc}") from exc


def _store(reader: tar.Reader, content: ContentStore) -> Part:
    first = reader.read_data(tar.BUFFER)
    compression = detect(first)
    plain_tar = compression == "none" and first[_MAGIC] == b"ustar"
    kind = mediatype.DOCKER_LAYER_GZIP if plain_tar else _LAYER_TYPES.get(compression, "application/octet-stream")
    compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW) if plain_tar else None
    hasher = Digest("sha256", "").hasher()
    with content.ingest(f"load-{secrets.token_hex(8)}") as ingest:
        data = first
        while data:
            hasher.update(data)
            ingest.write(compressor.compress(data) if compressor else data)
            data = reader.read_data(tar.BUFFER)
        if compressor:
            ingest.write(compressor.flush())
        size = ingest.offset
        stored = ingest.commit()
    return Part(Digest.finish(hasher), Descriptor(kind, stored, size))
