"""The engine's side of layer.diff: what a container changed, as the bytes of a layer tar."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from rundlet.storage.errors import LayerError, translated
from rundlet.storage.feed import shielded
from rundlet.storage.layer.unpack import WorkerLauncher, WorkerProcess
from rundlet.storage.pipes import widen

WORKER: Final = "diff"
GO: Final = b"g"
"""What the gate of the worker is opened with."""
_CHUNK: Final = 256 << 10
"""Bytes that are read at once at most: as many are asked for each time, whatever comes, and large blocks are slow."""
_ANSWER_LIMIT: Final = 16 << 20


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    skipped: tuple[str, ...] = ()
    size: int = 0
    kind: str = ""
    errno: int = 0
    message: str = ""


class Changes:
    """One upper directory, to be read once by way of :meth:`opened`."""

    def __init__(
        self,
        directory: str,
        workers: WorkerLauncher,
        left_out: Iterable[str] = (),
        *,
        quiet: Iterable[str] = (),
        latest: int | None = None,
        prefix: str = "",
        more: bool = False,
    ) -> None:
        """``left_out``: names relative to ``directory`` that are not the container's doing (mount points).

        ``quiet``: directories that are not, either, when they hold nothing else. ``latest``: no member is younger
        (nanoseconds since the epoch). ``prefix`` ("home/"): what all names begin with, those left out too. ``more``:
        another tar follows, this one has no end.
        """
        self._directory = directory
        self._workers = workers
        self._request = {
            "left_out": _texts(left_out),
            "quiet": _texts(quiet),
            "latest": latest,
            "prefix": _texts([prefix])[0],
            "more": more,
        }
        self._starting: asyncio.Future[WorkerProcess] | None = None
        self.size = 0
        """After the end of the tar: bytes of the files, as Docker counts a layer."""
        self.skipped: list[str] = []
        """After the end of the tar: what a layer can't hold (sockets, names that begin with ``.wh.``)."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Iterator[bytes], None]:
        """The plain tar, in chunks, for one thread, which waits for them.

        The worker gets ready at once and looks at the first file when the first chunk is asked for. The iterator raises
        LayerError when not everything could be read, and StorageError. Leaving the context ends the worker, however far
        it is; the thread has to be done by then.
        """
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (tar, tar_end), (answer, answer_end), (gate, gate_end) = pipes
        widen(tar_end)
        starting = self._starting = asyncio.ensure_future(self._start((tar_end, answer_end, gate)))
        try:
            yield self._chunks(tar, answer, gate_end, asyncio.get_running_loop())
        finally:
            for fd in (tar, answer, gate_end):
                os.close(fd)
            await shielded(asyncio.wait((starting,)))
            if starting.exception() is None:
                starting.result().kill()
                await shielded(starting.result().wait())

    def stop(self) -> None:
        """Nobody wants the rest: a thread that reads the tar comes to its end."""
        starting = self._starting
        if starting is not None and starting.done() and starting.exception() is None:
            starting.result().kill()

    def _chunks(self, tar: int, answer: int, gate: int, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
        with suppress(BrokenPipeError):  # it could not be started, or has ended: the answer, or that there is none
            os.write(gate, GO)
        while chunk := os.read(tar, _CHUNK):
            yield chunk
        text = b""
        while chunk := os.read(answer, _CHUNK):
            text += chunk
            if len(text) > _ANSWER_LIMIT:
                raise LayerError("the layer's worker talks too much")
        self._judge(text, lambda: asyncio.run_coroutine_threadsafe(self._status(), loop).result())

    async def _status(self) -> int:
        assert self._starting is not None
        return await (await asyncio.shield(self._starting)).wait()

    async def _start(self, ends: tuple[int, int, int]) -> WorkerProcess:
        """Start the worker with its ends of the pipes, which are closed here. Raises LayerError, StorageError."""
        names = directory = -1
        try:
            names = os.memfd_create("names", os.MFD_CLOEXEC)
            data = msgspec.json.encode(self._request)
            if os.write(names, data) != len(data):
                raise LayerError("too many names to leave out")
            with translated("open", self._directory):
                directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            tar, answer, gate = ends
            return await self._workers.worker(WORKER, (directory, tar, answer, names, gate))
        finally:
            for fd in (*ends, names, directory):
                if fd >= 0:
                    os.close(fd)

    def _judge(self, data: bytes, status: Callable[[], int]) -> None:
        try:
            answer = msgspec.json.decode(data, type=_Answer)
        except msgspec.MsgspecError as exc:
            raise LayerError(f"the layer's worker ended without an answer (status {status()})") from exc
        if not answer.ok:
            raise LayerError(answer.message)
        self.size = answer.size
        self.skipped = [os.fsdecode(name.encode("latin-1")) for name in answer.skipped]


def _texts(names: Iterable[str]) -> list[str]:
    return [os.fsencode(name).decode("latin-1") for name in names]
