"""Unpacking a layer: inflate and hash in threads, plain tar through a pipe to a confined worker, all at once.

::

    source ──▶ [pump thread: hash source, inflate] ──▶ [aside: carry, diff ID] ──pipe──▶ worker (layer.apply)
                        └──▶ [aside: what a keeper does]                                     └──▶ directory

Everything is bounded: chunks on their way, pieces between the threads, the pipe. The slowest part sets the pace of the
rest; a worker that makes many small files for a while doesn't yet hold up the inflating, which takes longest. Nothing
becomes a layer before the size and the digests are right; whatever fails, the directory goes again.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from rundlet.errors import DigestMismatchError
from rundlet.linux import path as safe_path
from rundlet.linux import userns
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import extend_chain
from rundlet.storage.errors import (
    LayerError,
    LayerTooLargeError,
    NoRoomForLayerError,
    SizeMismatchError,
    translated,
)
from rundlet.storage.feed import Source, made, run_fed, shielded
from rundlet.storage.layer.aside import Aside
from rundlet.storage.layer.compression import Inflater
from rundlet.storage.pipes import widen
from rundlet.storage.snapshot.snapshotter import Preparation, Snapshotter
from rundlet.util.tasks import settled

WORKER: Final = "apply"
_AHEAD: Final = 16
"""Pieces (4 MB) that may be inflated before the worker takes them."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_ANSWER_LIMIT: Final = 256 << 20


class WorkerProcess(Protocol):
    """A worker that the launcher has started."""

    async def wait(self) -> int:
        """Its exit status, when it has ended."""
        ...

    def kill(self) -> None:
        """End it at once; one that has ended is fine."""
        ...


class WorkerLauncher(Protocol):
    """Starts workers; ``fds`` stay open in the caller and are the caller's to close."""

    async def worker(self, kind: str, fds: Sequence[int]) -> WorkerProcess: ...


class Keeper(Protocol):
    """Is shown a layer while it is unpacked, in the thread that moves it; what it raises ends the unpacking."""

    def came(self, chunk: bytes) -> None:
        """A chunk of the source, before the plain bytes that it adds."""
        ...

    def plain(self, piece: bytes) -> None:
        """Plain bytes; they are on their way to the worker."""
        ...

    def finish(self) -> None:
        """There was no more."""
        ...

    def close(self) -> None:
        """Nothing is shown any more, after :meth:`finish` or without it."""
        ...


class UnpackResult(msgspec.Struct, frozen=True):
    """What a layer turned out to be."""

    diff_id: Digest
    chain: Digest
    size: int
    """Bytes of the layer's files."""
    tar_size: int
    """Bytes of the plain tar."""
    source_size: int
    """Bytes as they came, compressed or not."""
    source_digest: Digest | None
    """Their digest; None unless it was asked for or verified."""
    compression: str
    entries: int


class Detached(msgspec.Struct, frozen=True):
    """A layer that is unpacked, but has no place in a chain yet."""

    preparation: Preparation
    diff_id: Digest | None
    """None unless it was asked for."""
    size: int
    """Bytes of the layer's files."""


class _Answer(msgspec.Struct, frozen=True):
    """What the worker says at its end; see layer.apply."""

    ok: bool
    entries: int = 0
    size: int = 0
    opaque: tuple[str, ...] = ()
    skipped_xattrs: int = 0
    kind: str = ""
    errno: int = 0
    message: str = ""


async def unpack(
    source: Source,
    snapshotter: Snapshotter,
    workers: WorkerLauncher,
    *,
    parent: Digest | None,
    diff_id: Digest | None = None,
    expected: Descriptor | None = None,
    hash_source: bool = False,
    after: Awaitable[object] | None = None,
    keeper: Keeper | None = None,
    hold: Callable[[Digest], Awaitable[object]] | None = None,
) -> UnpackResult:
    """Make the layer that ``source`` holds, on top of chain ``parent``, and commit it.

    ``diff_id`` and ``expected`` (digest and size of ``source`` itself) are verified before the commit where given.
    ``after`` is awaited before the commit, so that the layers of an image may be unpacked together: it is the parent's
    commit. ``keeper`` sees everything on its way. ``hold``, for a chain that nobody knows before, sees to it that it
    stays, before it is there. Cancelled or failed, it leaves nothing behind.

    Raises: LayerError, DigestMismatchError, SizeMismatchError, StorageError, and whatever ``source``, ``after``,
    ``keeper`` or ``hold`` does.
    """
    preparation = await _prepared(snapshotter, parent)
    ended: asyncio.Future[int] | None = None
    try:
        hash_source = hash_source or expected is not None
        pump, answer, ended = await _fill(source, preparation, workers, hash_source=hash_source, keeper=keeper)
        result = _result(pump, answer, parent)
        _verify(result, diff_id, expected)
        if after is not None:
            await after
        if hold is not None:
            await hold(result.chain)
        await settled(
            asyncio.to_thread(snapshotter.commit_layer, preparation, result.chain, result.diff_id, result.size)
        )
    except BaseException:
        await shielded(asyncio.to_thread(snapshotter.abort_layer, preparation))
        raise
    finally:
        if ended is not None:
            await shielded(ended)
    return result


async def unpack_detached(
    source: Source, snapshotter: Snapshotter, workers: WorkerLauncher, *, hash_plain: bool
) -> Detached:
    """Unpack the layer before it is known where it belongs; the preparation is the caller's to adopt or to abort.

    With ``hash_plain`` the result has the diff ID. Cancelled or failed, it leaves nothing behind. Raises LayerError,
    StorageError, and what ``source`` does.
    """
    preparation = await _prepared(snapshotter, None)
    try:
        pump, answer, ended = await _fill(source, preparation, workers, hash_source=False, hash_plain=hash_plain)
        await shielded(ended)
    except BaseException:
        await shielded(asyncio.to_thread(snapshotter.abort_layer, preparation))
        raise
    return Detached(preparation, Digest.finish(pump.plain_hash) if pump.plain_hash else None, answer.size)


async def _prepared(snapshotter: Snapshotter, parent: Digest | None) -> Preparation:
    return await made(lambda: snapshotter.prepare_layer(parent), snapshotter.abort_layer)


def _result(pump: "_Pump", answer: "_Answer", parent: Digest | None) -> UnpackResult:
    assert pump.plain_hash is not None
    diff_id = Digest.finish(pump.plain_hash)
    return UnpackResult(
        diff_id,
        extend_chain(parent, diff_id),
        answer.size,
        pump.plain_size,
        pump.source_size,
        Digest.finish(pump.source_hash) if pump.source_hash is not None else None,
        pump.inflater.compression,
        answer.entries,
    )


def _verify(result: UnpackResult, diff_id: Digest | None, expected: Descriptor | None) -> None:
    if expected is not None:
        if expected.size != result.source_size:
            raise SizeMismatchError(expected.size, result.source_size)
        if expected.digest != result.source_digest:
            raise DigestMismatchError(str(expected.digest), str(result.source_digest))
    if diff_id is not None and diff_id != result.diff_id:
        raise DigestMismatchError(str(diff_id), str(result.diff_id))


async def _fill(
    source: Source,
    preparation: Preparation,
    workers: WorkerLauncher,
    *,
    hash_source: bool,
    hash_plain: bool = True,
    keeper: Keeper | None = None,
) -> "tuple[_Pump, _Answer, asyncio.Future[int]]":
    """The directory of ``preparation`` with everything in it, and the end of the worker, who has had its say."""
    tar_read, tar_write = os.pipe2(os.O_CLOEXEC)
    answer_read, answer_write = os.pipe2(os.O_CLOEXEC)
    pump = _Pump(tar_write, hash_source, hash_plain, preparation.limit, keeper)
    given = [tar_read, answer_write]
    try:
        widen(tar_write)
        with translated("open", preparation.path):
            directory = os.open(preparation.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        given.insert(1, directory)
        worker = await workers.worker(WORKER, given)
    except BaseException:
        pump.close()
        os.close(answer_read)
        raise
    finally:
        for fd in given:
            os.close(fd)

    def abort() -> None:
        pump.stopped = True
        worker.kill()

    def work(chunks: Iterable[bytes]) -> bytes:
        pump.run(chunks)
        return _read_all(answer_read)

    ended = asyncio.ensure_future(worker.wait())
    try:
        answer = await _judge(await run_fed(source, work, abort), ended)
        if pump.broken:
            raise LayerError("the layer's worker ended before the layer did")
        if answer.opaque:
            await asyncio.to_thread(_mark_opaque, preparation.path, answer.opaque)
    except BaseException:
        abort()
        await shielded(ended)
        raise
    finally:
        os.close(answer_read)
    return pump, answer, ended


class _Pump:
    """Runs in a thread of its own: source chunks in, hashes and the worker's pipe out."""

    def __init__(
        self, pipe: int, hash_source: bool, hash_plain: bool, limit: int | None, keeper: Keeper | None
    ) -> None:
        self._pipe = pipe
        self._limit = limit
        self._keeper = keeper
        self.inflater = Inflater()
        self.source_hash = hashlib.sha256() if hash_source else None
        self.plain_hash = hashlib.sha256() if hash_plain else None
        self.source_size = 0
        self.plain_size = 0
        self.broken = False
        """The worker stopped reading; it says why."""
        self.stopped = False
        """Set from outside: nobody wants the layer any more."""

    def run(self, chunks: Iterable[bytes]) -> None:
        """Move everything. Raises what the source or the inflater does; a worker that is gone is no error here."""
        # Where nothing is to be hashed nothing is inflated either, as a rule: no work for a second thread.
        carrying = Aside("layer-carry", self._carry, _AHEAD) if self.plain_hash is not None else None
        try:
            self._move(chunks, self._write if carrying is None else carrying.put)
            if carrying is not None:
                carrying.finish()
            self.close()
            if self._keeper is not None:
                self._keeper.finish()
        except BrokenPipeError:
            self.broken = True
        finally:
            if carrying is not None:
                carrying.close()
            self.close()
            if self._keeper is not None:
                self._keeper.close()

    def _move(self, chunks: Iterable[bytes], hand_on: Callable[[bytes], object]) -> None:
        for piece in self._inflate(chunks):
            self.plain_size += len(piece)
            if self._limit is not None and self.plain_size > self._limit:
                raise LayerTooLargeError(self._limit)
            hand_on(piece)
            if self._keeper is not None:
                self._keeper.plain(piece)

    def _carry(self, piece: bytes) -> None:
        assert self.plain_hash is not None
        self._write(piece)
        self.plain_hash.update(piece)

    def close(self) -> None:
        """End the worker's input; twice is fine."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _inflate(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self.stopped:
                raise LayerError("unpacking was stopped")
            self.source_size += len(chunk)
            if self.source_hash is not None:
                self.source_hash.update(chunk)
            if self._keeper is not None:
                self._keeper.came(chunk)
            yield from self.inflater.feed(chunk)
        yield from self.inflater.finish()

    def _write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self._pipe, view) :]


def _read_all(fd: int) -> bytes:
    parts = []
    size = 0
    while part := os.read(fd, 1 << 16):
        size += len(part)
        if size > _ANSWER_LIMIT:
            raise LayerError("the layer's worker talks too much")
        parts.append(part)
    return b"".join(parts)


async def _judge(data: bytes, ended: "asyncio.Future[int]") -> _Answer:
    """The worker's answer when it is good news. Raises LayerError."""
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except msgspec.MsgspecError as exc:
        raise LayerError(f"the layer's worker ended without an answer (status {await ended})") from exc
    if not answer.ok:
        raise (NoRoomForLayerError if answer.errno in _FULL else LayerError)(answer.message)
    return answer


def _mark_opaque(directory: str, names: Sequence[str]) -> None:
    """Set on the worker's behalf the attribute that takes CAP_SYS_ADMIN. Raises StorageError."""
    if not names:
        return
    with translated("mark opaque directories in", directory):
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in names:
                inside = os.fsdecode(name.encode("latin-1"))
                fd = safe_path.open_in_root(root, inside, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.setxattr(fd, userns.OPAQUE_XATTR, b"y")
                finally:
                    os.close(fd)
        finally:
            os.close(root)
