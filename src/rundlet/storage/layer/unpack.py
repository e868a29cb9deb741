"""Unpacking a layer: inflate and hash in threads, plain tar through a pipe to a confined worker, all at once.

::

    source ──▶ [pump thread: hash source, inflate] ──pipe──▶ worker (layer.apply) ──▶ directory
                        └──▶ [hash thread: diff ID]

Everything is bounded: chunks on their way, pieces between the threads, the pipe. The slowest part sets the pace of the
rest. Nothing becomes a layer before the size and the digests are right; whatever fails, the directory goes again.
"""

import asyncio
import hashlib
import os
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeAlias, TypeVar

import msgspec

from rundlet.errors import DigestMismatchError
from rundlet.linux import path as safe_path
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import extend_chain
from rundlet.storage.errors import LayerError, SizeMismatchError, translated
from rundlet.storage.layer.compression import Inflater
from rundlet.storage.pipes import widen
from rundlet.storage.snapshot.snapshotter import Preparation, Snapshotter

WORKER: Final = "apply"
OPAQUE_XATTR: Final = "trusted.overlay.opaque"
_ANSWER_LIMIT: Final = 256 << 20
_SLOTS: Final = 16
_PIECES: Final = 8
_PATIENCE: Final = 30.0

T = TypeVar("T")

Source: TypeAlias = AsyncIterator[bytes] | Iterable[bytes]
"""The layer's bytes in chunks. An ordinary iterable is read in the pump's thread and may block."""


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
) -> UnpackResult:
    """Make the layer that ``source`` holds, on top of chain ``parent``, and commit it.

    ``diff_id`` and ``expected`` (digest and size of ``source`` itself) are verified before the commit where given.
    ``after`` is awaited before the commit, so that the layers of an image may be unpacked together: it is the parent's
    commit. Cancelled or failed, it leaves nothing behind.

    Raises: LayerError, DigestMismatchError, SizeMismatchError, StorageError, and whatever ``source`` or ``after`` does.
    """
    preparation = await asyncio.to_thread(snapshotter.prepare_layer, parent)
    try:
        result = await _fill(source, preparation, workers, hash_source or expected is not None)
        _verify(result, diff_id, expected)
        if after is not None:
            await after
        await asyncio.to_thread(snapshotter.commit_layer, preparation, result.chain, result.diff_id, result.size)
    except BaseException:
        await _shielded(asyncio.to_thread(snapshotter.abort_layer, preparation))
        raise
    return result


def _verify(result: UnpackResult, diff_id: Digest | None, expected: Descriptor | None) -> None:
    if expected is not None:
        if expected.size != result.source_size:
            raise SizeMismatchError(expected.size, result.source_size)
        if expected.digest != result.source_digest:
            raise DigestMismatchError(str(expected.digest), str(result.source_digest))
    if diff_id is not None and diff_id != result.diff_id:
        raise DigestMismatchError(str(diff_id), str(result.diff_id))


async def _fill(source: Source, preparation: Preparation, workers: WorkerLauncher, hash_source: bool) -> UnpackResult:
    tar_read, tar_write = os.pipe2(os.O_CLOEXEC)
    answer_read, answer_write = os.pipe2(os.O_CLOEXEC)
    pump = _Pump(tar_write, hash_source)
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

    try:
        try:
            await _run_pump(pump, source, abort)
            data = await _in_thread(abort, _read_all, answer_read)
        except BaseException:
            abort()
            raise
        finally:
            status = await _shielded(worker.wait())
        answer = _decode(data, status)
        if pump.broken:
            raise LayerError("the layer's worker ended before the layer did")
        await asyncio.to_thread(_mark_opaque, preparation.path, answer.opaque)
    finally:
        os.close(answer_read)
    diff_id = Digest.finish(pump.plain_hash)
    return UnpackResult(
        diff_id,
        extend_chain(preparation.parent, diff_id),
        answer.size,
        pump.plain_size,
        pump.source_size,
        Digest.finish(pump.source_hash) if pump.source_hash is not None else None,
        pump.inflater.compression,
        answer.entries,
    )


class _Pump:
    """Runs in a thread of its own: source chunks in, hashes and the worker's pipe out."""

    def __init__(self, pipe: int, hash_source: bool) -> None:
        self._pipe = pipe
        self.inflater = Inflater()
        self.source_hash = hashlib.sha256() if hash_source else None
        self.plain_hash = hashlib.sha256()
        self.source_size = 0
        self.plain_size = 0
        self.broken = False
        """The worker stopped reading; it says why."""
        self.stopped = False
        """Set from outside: nobody wants the layer any more."""

    def run(self, chunks: Iterable[bytes]) -> None:
        """Move everything. Raises what the source or the inflater does; a worker that is gone is no error here."""
        pieces: queue.Queue[bytes | None] = queue.Queue(_PIECES)
        hasher = threading.Thread(target=self._hash, args=(pieces,), name="layer-hash", daemon=True)
        hasher.start()
        try:
            for piece in self._inflate(chunks):
                pieces.put(piece)
                self.plain_size += len(piece)
                self._write(piece)
        except BrokenPipeError:
            self.broken = True
        finally:
            pieces.put(None)
            hasher.join()
            self.close()

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
            yield from self.inflater.feed(chunk)
        yield from self.inflater.finish()

    def _write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self._pipe, view) :]

    def _hash(self, pieces: "queue.Queue[bytes | None]") -> None:
        while (piece := pieces.get()) is not None:
            self.plain_hash.update(piece)


class _Feed:
    """Carries chunks from the event loop to the pump's thread; at most ``_SLOTS`` are on their way."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(_SLOTS)
        self._chunks: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

    async def fill(self, source: AsyncIterator[bytes]) -> None:
        """Take all of ``source`` and close it; however that ends, the reader learns of it."""
        end: BaseException | None = LayerError("unexpected EOF")
        try:
            async for chunk in source:
                await self._slots.acquire()
                self._chunks.put(chunk)
            end = None
        finally:
            self._chunks.put(end)
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
            self._loop.call_soon_threadsafe(self._slots.release)


async def _run_pump(pump: _Pump, source: Source, abort: Callable[[], None]) -> None:
    if not isinstance(source, AsyncIterator):
        await _in_thread(abort, pump.run, source)
        return
    feed = _Feed()
    filling = asyncio.create_task(feed.fill(source))
    pumping = asyncio.create_task(_in_thread(abort, pump.run, feed))
    try:
        await asyncio.wait((filling, pumping), return_when=asyncio.FIRST_COMPLETED)
        if filling.done():
            await filling  # the source's own error says more than what it did to the pump
        await pumping
    except BaseException:
        abort()
        raise
    finally:
        filling.cancel()  # the worker gave up: no need to fetch the rest
        await _shielded(asyncio.wait((filling, pumping)))
        for task in (filling, pumping):
            if not task.cancelled():
                task.exception()  # it has been raised, or something better has


async def _in_thread(abort: Callable[[], None], function: Callable[..., T], *arguments: object) -> T:
    """Run ``function`` in a thread of its own and always to its end, as it uses descriptors that are closed later.

    A cancellation calls ``abort``, which has to make it end soon.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="layer")
    future = asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
    executor.shutdown(wait=False)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        abort()
        await _shielded(asyncio.wait((future,)))
        if future.done() and not future.cancelled():
            future.exception()  # nobody asks for it any more
        raise


async def _shielded(awaitable: Awaitable[T]) -> T:
    """Await to the end even when cancelled meanwhile, but no longer than ``_PATIENCE``."""
    task = asyncio.ensure_future(awaitable)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=_PATIENCE)
        raise


def _read_all(fd: int) -> bytes:
    parts = []
    size = 0
    while part := os.read(fd, 1 << 16):
        size += len(part)
        if size > _ANSWER_LIMIT:
            raise LayerError("the layer's worker talks too much")
        parts.append(part)
    return b"".join(parts)


def _decode(data: bytes, status: int) -> _Answer:
    """The worker's answer when it is good news. Raises LayerError."""
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except msgspec.MsgspecError as exc:
        raise LayerError(f"the layer's worker ended without an answer (status {status})") from exc
    if not answer.ok:
        raise LayerError(answer.message)
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
                    os.setxattr(fd, OPAQUE_XATTR, b"y")
                finally:
                    os.close(fd)
        finally:
            os.close(root)
