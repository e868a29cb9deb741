"""An archive's parts into the content store: one pass over the stream, every file hashed and kept as it is.

Runs in a thread: nothing of the archive is ever unpacked by its names. What looks like a layer also goes through a tap
as it is read, to be unpacked at the same time. Returned are the names and where their content is now; what of it
becomes an image is for ``load`` to say.
"""

import os
import posixpath
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from rundlet.image.ahead import Tap
from rundlet.image.archive import ArchiveError
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import ALGORITHMS, Digest
from rundlet.storage.content import ContentStore
from rundlet.storage.errors import LayerError, LayerTooLargeError
from rundlet.storage.layer import fields, tar
from rundlet.storage.layer.compression import Inflater, detect

MEMBERS_LIMIT: Final = 100_000
"""Members of an archive of images; more would be an attack on memory."""
NAMES_TOGETHER: Final = 32 << 20
"""Bytes of their names, and of what links lead to: one may be a mebibyte long, and next to nothing when compressed."""
SMALL: Final = 64 << 10
"""Bytes of a file that is small: most documents are."""
SMALL_TOGETHER: Final = 64 << 20
_MAGIC: Final = slice(257, 262)
_LAYER_TYPES: Final = {"gzip": mediatype.DOCKER_LAYER_GZIP, "zstd": mediatype.OCI_LAYER_ZSTD}


class Parts:
    """Files, as the blobs that were made of them, and links by cleaned name; :meth:`find` follows links.

    Small files stay in memory, as far as there is room, and become blobs when they are asked for: an archive may have a
    hundred thousand that no image needs, and making a blob of a file takes longer than reading it.
    """

    def __init__(self, keep: Callable[[Digest, bytes], None]) -> None:
        """``keep`` makes a blob of a small file; it is called where :meth:`find` is."""
        self.files: dict[str, Descriptor] = {}
        self.links: dict[str, str] = {}
        self._keep = keep
        self._small: dict[Digest, bytes] = {}
        self._room = SMALL_TOGETHER

    def find(self, name: str) -> Descriptor | None:
        """The blob of the file ``name``, which is in the content store then. Raises StorageError."""
        name = posixpath.normpath(name).lstrip("/")
        for _ in range(8):
            if name not in self.links:
                break
            name = self.links[name]
        else:
            return None
        found = self.files.get(name)
        if found is not None and (data := self._small.get(found.digest)) is not None:
            self._keep(found.digest, data)
            del self._small[found.digest]
        return found

    def has_small(self, digest: Digest) -> bool:
        return digest in self._small

    def add_small(self, digest: Digest, data: bytes) -> bool:
        """Keep a small file in memory; False where there is no room."""
        if len(data) > self._room:
            return False
        self._room -= len(data)
        self._small[digest] = data
        return True


class Taps(Protocol):
    """Says where a layer goes besides the content store, by the name of its file."""

    def open(self, name: str, *, hash_plain: bool) -> Tap | None: ...


class Watch(Protocol):
    """Hears of the reading, in the thread that reads."""

    def hold(self, digest: Digest) -> None:
        """A blob is about to be there under its name."""
        ...

    def layer(self, name: str, done: int, total: int) -> None:
        """``done`` of ``total`` bytes of the layer in the file ``name`` were read."""
        ...


class Unarchiver:
    """Reads one archive."""

    def __init__(self, content: ContentStore, parts: Parts, taps: Taps, watch: Watch, limit: int | None = None) -> None:
        """``limit``: bytes of a file at most; an archive that is compressed may claim any number for little."""
        self._content = content
        self._parts = parts
        self._taps = taps
        self._watch = watch
        self._limit = limit
        self._stopped = False

    def stop(self) -> None:
        """Make the reading end before the next piece, from any thread: nobody wants the archive any more."""
        self._stopped = True

    def read(self, chunks: Iterable[bytes]) -> None:
        """Read a tar, plain or compressed; the parts grow as it goes. Raises ArchiveError, LayerError, StorageError."""
        parts = self._parts
        # A chunk may inflate to much, and to nothing.
        source = _Chunks(self._wanted(_inflated(self._wanted(chunks))))
        reader = tar.Reader(source)
        members = names = 0
        try:
            while (entry := reader.next()) is not None:
                members += 1
                names += len(entry.name) + len(entry.link)
                if members > MEMBERS_LIMIT or names > NAMES_TOGETHER:
                    raise ArchiveError("the archive holds more files than any archive of images")
                name = entry.name.decode("utf-8", "surrogateescape")
                if entry.type == tar.REGULAR:
                    if self._limit is not None and entry.size > self._limit:
                        raise LayerTooLargeError(self._limit)
                    parts.files[name] = self._store(reader, name, entry.size)
                    parts.links.pop(name, None)
                elif entry.type in (tar.SYMLINK, tar.HARDLINK):
                    link = entry.link.decode("utf-8", "surrogateescape")
                    base = posixpath.dirname(name) if entry.type == tar.SYMLINK else ""
                    parts.links[name] = posixpath.normpath(posixpath.join("/", base, link)).lstrip("/")
            source.drain()
        except fields.TarError as exc:
            raise ArchiveError(f"invalid archive: {exc}") from exc

    def _store(self, reader: tar.Reader, name: str, size: int) -> Descriptor:
        start = _start(reader, size if size <= SMALL else tar.BLOCK)
        algorithm = _algorithm(name)
        compression = detect(start)
        kind = _LAYER_TYPES.get(compression, mediatype.DOCKER_LAYER)
        small = Digest.of(start, algorithm) if size <= SMALL else None
        if small is not None and self._parts.has_small(small):
            return Descriptor(kind, small, size)
        plain_tar = compression == "none" and start[_MAGIC] == b"ustar"
        named = plain_tar and algorithm == "sha256"  # then the blob's digest is the diff ID
        layer = plain_tar or compression != "none"
        tap = self._taps.open(name, hash_plain=not named) if layer else None
        pieces = self._watched(name, size, _pieces(reader, start)) if tap else _pieces(reader, start)
        try:
            if small is not None and self._parts.add_small(small, start):
                for data in pieces:
                    if tap is not None:
                        tap.put(data)
                stored = small
            else:
                stored = self._ingest(pieces, tap, algorithm)
            if tap is not None:
                tap.end(stored, stored if named else None)
        except BaseException as exc:
            if tap is not None:
                tap.feed.end(exc if isinstance(exc, Exception) else LayerError("unexpected EOF"))
            raise
        return Descriptor(kind, stored, size)

    def _ingest(self, pieces: Iterable[bytes], tap: Tap | None, algorithm: str) -> Digest:
        with self._content.ingest(f"load-{secrets.token_hex(8)}", algorithm=algorithm) as ingest:
            for data in pieces:
                if tap is not None:
                    tap.put(data)
                ingest.write(data)
            self._watch.hold(ingest.digest())
            return ingest.commit()

    def _wanted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopped:
                raise ArchiveError("the archive is not wanted any more")
            yield chunk

    def _watched(self, name: str, size: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
        done = 0
        for data in pieces:
            done += len(data)
            self._watch.layer(name, done, size)
            yield data


def _algorithm(name: str) -> str:
    """What an OCI layout has made the digest with that it calls a file by."""
    words = name.split("/")
    return words[1] if len(words) == 3 and words[0] == "blobs" and words[1] in ALGORITHMS else "sha256"


def _start(reader: tar.Reader, count: int) -> bytes:
    """Of a member ``count`` bytes or a few more, or all of it."""
    start = b""
    while len(start) < count and (data := reader.read_data(tar.BUFFER)):
        start += data
    return start


def _pieces(reader: tar.Reader, start: bytes) -> Iterator[bytes]:
    data = start
    while data:
        yield data
        data = reader.read_data(tar.BUFFER)


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = Inflater()
    for chunk in chunks:
        yield from inflater.feed(chunk)
    yield from inflater.finish()


class _Chunks:
    """A ByteSource over chunks, without copying what is not cut."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._start = 0

    def some(self, count: int) -> bytes:
        if self._start == len(self._chunk):
            self._chunk = next(self._chunks, b"")
            self._start = 0
        data = self._chunk[self._start : self._start + count]
        self._start += len(data)
        return data

    def take(self, count: int) -> bytes:
        data = self.some(count)
        while len(data) < count and (more := self.some(count - len(data))):
            data += more
        return data

    def skip(self, count: int) -> None:
        while count:
            passed = len(self.some(count))
            if not passed:
                raise fields.TruncatedError
            count -= passed

    def drain(self) -> None:
        """Read to the end of the input: whoever sends it would be hurt by a closed door."""
        for _chunk in self._chunks:
            pass

    def copy_to(self, fd: int, count: int) -> None:
        while count:
            data = self.some(count)
            if not data:
                raise fields.TruncatedError
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            count -= len(data)
