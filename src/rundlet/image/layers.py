"""Bringing layers in: download, verify, inflate, hash and unpack overlapped, several layers at once.

Work is shared: two pulls that want the same chain wait for one job, and each sees its progress. A job ends early only
when nobody waits for it any more; what it downloaded stays in its ingest, and the next job for that blob goes on there.

States of a job, as shown: ``Pulling fs layer`` → (``Waiting``) → ``Downloading`` → ``Verifying Checksum`` →
``Download complete`` → ``Extracting`` → ``Pull complete``. A layer may be unpacked before its parent is; it is
committed after it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Container, Generator, Iterable
from contextlib import aclosing
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from rundlet.errors import DigestMismatchError
from rundlet.image.ahead import Ahead
from rundlet.image.errors import LayerMismatchError, MissingBlobError
from rundlet.image.records import OnProgress, Progress
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.registry import Fetcher
from rundlet.storage.content import ContentStore, Ingest
from rundlet.storage.errors import LayerError, LayerTooLargeError, NoRoomForLayerError, SizeMismatchError
from rundlet.storage.feed import made, shielded
from rundlet.storage.layer.unpack import WorkerLauncher, unpack
from rundlet.storage.snapshot import Snapshotter

PARALLEL = 3
"""Layers that are brought in at once, of all pulls together (Docker's max-concurrent-downloads)."""
GATHER = 512 << 10
"""Bytes that are written to the content store at once."""
INTERVAL = 0.1
"""Seconds between two reports of the same layer's progress."""


class LayerWork(msgspec.Struct, frozen=True):
    """One layer that an image needs."""

    chain: Digest
    parent: Digest | None
    diff_id: Digest
    blob: Descriptor

    @property
    def short(self) -> str:
        return self.blob.digest.short


class _Job:
    """One layer on its way in, and who waits for it."""

    def __init__(self, work: LayerWork) -> None:
        self.work = work
        self.listeners: list[OnProgress] = []
        self.last: Progress | None = None
        self.waiters = 0
        self.task: asyncio.Task[None] | None = None
        self.abandoned = False
        """Cancelled, but not at its end yet: whoever wants the layer now starts another job."""
        self._reported = 0.0

    def report(self, status: str, current: int = 0, total: int = 0) -> None:
        self.last = Progress(status, self.work.short, current, total)
        for listener in list(self.listeners):
            listener(self.last)

    def report_bytes(self, status: str, current: int) -> None:
        """At most one report in :data:`INTERVAL`."""
        now = asyncio.get_running_loop().time()
        if now - self._reported >= INTERVAL:
            self._reported = now
            self.report(status, current, self.work.blob.size)


class LayerImporter:
    """Made by the wiring; one per engine, so that work can be shared. ``parallel`` layers are on their way at once."""

    def __init__(
        self, content: ContentStore, snapshots: Snapshotter, workers: WorkerLauncher, parallel: int = PARALLEL
    ) -> None:
        self._content = content
        self._snapshots = snapshots
        self._workers = workers
        self._jobs: dict[Digest, _Job] = {}
        self._slots = asyncio.Semaphore(parallel)
        self._blob_locks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    def limit(self, parallel: int) -> None:
        """For layers that begin from now on; those under way keep the slots that they have."""
        self._slots = asyncio.Semaphore(parallel)

    def ahead(self, known: Container[str]) -> Ahead:
        """For an archive whose layers are unpacked while it is read; it shares the slots with everything else."""
        return Ahead(self._snapshots, self._workers, self._slots, known)

    async def ensure(self, work: LayerWork, fetcher: Fetcher | None, progress: OnProgress) -> None:
        """Return when the layer is committed. ``fetcher`` may be None when its blob is in the content store.

        To be called for a chain's layers bottom first (concurrently is fine): the slots go out in that order. Raises
        what fetching, verification and unpacking raise.
        """
        if self._snapshots.has_layer(work.chain):
            await self._keep_blob(work, fetcher, progress)
            progress(Progress("Already exists", work.short))
            return
        job = self._jobs.get(work.chain)
        if job is None or job.abandoned:
            job = self._jobs[work.chain] = _Job(work)
            job.listeners.append(progress)
            job.report("Pulling fs layer")
            job.task = asyncio.create_task(self._run(job, fetcher), name=f"layer {work.short}")
        else:
            job.listeners.append(progress)
            if job.last is not None:
                progress(job.last)
        try:
            await _join(job)
        finally:
            job.listeners.remove(progress)

    async def _keep_blob(self, work: LayerWork, fetcher: Fetcher | None, progress: OnProgress) -> None:
        """The files are here from another compression of the same layer; this one is what a push or save will need."""
        if fetcher is None:
            return
        async with self._slots, self._blob_locks.setdefault(work.blob.digest, asyncio.Lock()):
            if await asyncio.to_thread(self._content.has, work.blob.digest):
                return
            job = _Job(work)
            job.listeners.append(progress)
            await self._whole(job, fetcher)

    async def _whole(self, job: _Job, fetcher: Fetcher) -> None:
        """The blob alone, into the content store: from whoever has the right one."""
        blob = job.work.blob
        while not await asyncio.to_thread(self._content.has, blob.digest):
            ingest = await self._ingest(blob)
            try:
                async with aclosing(self._fetched(job, fetcher, ingest)) as chunks:
                    async for _ in chunks:
                        pass
            except LayerMismatchError as exc:
                if not fetcher.blame(blob, exc):
                    raise

    async def _run(self, job: _Job, fetcher: Fetcher | None) -> None:
        work = job.work
        parent = self._jobs.get(work.parent) if work.parent is not None else None
        if self._slots.locked():
            job.report("Waiting")
        try:
            async with self._slots, self._blob_locks.setdefault(work.blob.digest, asyncio.Lock()):
                try:
                    await self._unpack(job, fetcher, parent)
                except (LayerMismatchError, LayerError) as exc:
                    # What was unpacked while it came may have been anything; of the right bytes it is the last word.
                    if (
                        fetcher is None
                        or self._content.has(work.blob.digest)
                        or not await self._again(exc, job, fetcher)
                    ):
                        raise
                    await self._unpack(job, fetcher, parent)
            job.report("Pull complete")
        finally:
            if self._jobs.get(work.chain) is job:
                del self._jobs[work.chain]

    async def _unpack(self, job: _Job, fetcher: Fetcher | None, parent: _Job | None) -> None:
        work = job.work
        async with aclosing(self._bytes(job, fetcher)) as source:
            await unpack(
                source,
                self._snapshots,
                self._workers,
                parent=work.parent,
                diff_id=work.diff_id,
                after=_Joined(parent) if parent is not None else None,
            )

    async def _again(self, failure: LayerMismatchError | LayerError, job: _Job, fetcher: Fetcher) -> bool:
        """Whether the right blob is here after all: its rest, or all of it from somebody else."""
        blob = job.work.blob
        if isinstance(failure, NoRoomForLayerError):
            return False  # the rest would take what room there is
        if isinstance(failure, LayerTooLargeError):
            # Nor does anybody fetch the rest of what inflates without end.
            (await self._ingest(blob)).abort()
            return False
        if isinstance(failure, LayerMismatchError) and not fetcher.blame(blob, failure):
            return False
        await self._whole(job, fetcher)
        return True

    async def _bytes(self, job: _Job, fetcher: Fetcher | None) -> AsyncGenerator[bytes, None]:
        """The layer's bytes: from the content store when they are there, else from the registry through it."""
        blob = job.work.blob
        if not await asyncio.to_thread(self._content.has, blob.digest):
            if fetcher is None:
                raise MissingBlobError(blob.digest)
            ingest = await self._ingest(blob)
            resumed = ingest.offset > 0
            async with aclosing(self._fetched(job, fetcher, ingest)) as chunks:
                async for chunk in chunks:
                    if not resumed:
                        yield chunk
            if not resumed:
                return
        # All of it is on disk; of a resumed download the beginning is nowhere else.
        async with aclosing(self._stored(job)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _ingest(self, blob: Descriptor) -> Ingest:
        """Where the download goes on: what an earlier one left is read again first, which takes its time."""
        return await made(lambda: self._content.ingest(str(blob.digest), blob), Ingest.close)

    async def _fetched(self, job: _Job, fetcher: Fetcher, ingest: Ingest) -> AsyncGenerator[bytes, None]:
        """Download into ``ingest`` and pass on; the blob is verified and committed before the last chunk counts."""
        work = job.work

        def on_retry(seconds: float) -> None:
            job.report(f"Retrying in {max(1, round(seconds))} seconds")

        try:
            async with aclosing(fetcher.blob(work.blob, ingest.offset, on_retry)) as chunks:
                async for gathered in _gathered(chunks):
                    await shielded(asyncio.to_thread(_write_all, ingest, gathered))
                    job.report_bytes("Downloading", ingest.offset)
                    for chunk in gathered:
                        yield chunk
            job.report("Verifying Checksum")
            await shielded(asyncio.to_thread(ingest.commit))
            job.report("Download complete")
        except SizeMismatchError as exc:
            ingest.abort()
            raise LayerMismatchError(work.blob.digest, f"{exc.actual} bytes") from exc
        except DigestMismatchError as exc:
            ingest.abort()
            raise LayerMismatchError(work.blob.digest, exc.actual) from exc
        finally:
            ingest.close()

    async def _stored(self, job: _Job) -> AsyncGenerator[bytes, None]:
        job.report("Download complete")
        chunks = self._content.chunks(job.work.blob.digest)
        done = 0
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            done += len(chunk)
            job.report_bytes("Extracting", done)
            yield chunk


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Some chunks at a time, so that each way into a thread and back is worth it."""
    gathered: list[bytes] = []
    size = 0
    async for chunk in chunks:
        gathered.append(chunk)
        size += len(chunk)
        if size >= GATHER:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


def _write_all(ingest: Ingest, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        ingest.write(chunk)


class _Joined:
    """Awaitable, once or never: waits for a job."""

    def __init__(self, job: _Job) -> None:
        self._job = job

    def __await__(self) -> Generator[Any, None, None]:
        return _join(self._job).__await__()


async def _join(job: _Job) -> None:
    """Wait for ``job``; it is cancelled when the last one who waits is."""
    assert job.task is not None
    job.waiters += 1
    try:
        await asyncio.shield(job.task)
    finally:
        job.waiters -= 1
        if not job.waiters and not job.task.done():
            job.abandoned = True
            job.task.cancel()
            await asyncio.wait([job.task])
