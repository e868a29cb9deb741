"""The engine's side of layer.diff: what a container changed, as the bytes of a layer tar."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import msgspec

from rundlet.storage.errors import LayerError, translated
from rundlet.storage.layer.unpack import WorkerLauncher, WorkerProcess
from rundlet.storage.pipes import readable, widen

WORKER: Final = "diff"
_CHUNK: Final = 1 << 20
_ANSWER_LIMIT: Final = 16 << 20


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    skipped: tuple[str, ...] = ()
    size: int = 0
    kind: str = ""
    errno: int = 0
    message: str = ""


class Changes:
    """One upper directory, to be read once by :meth:`tar`."""

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
        self.size = 0
        """After the end of :meth:`tar`: bytes of the files, as Docker counts a layer."""
        self.skipped: list[str] = []
        """After the end of :meth:`tar`: what a layer can't hold (sockets, names that begin with ``.wh.``)."""

    async def tar(self) -> AsyncGenerator[bytes, None]:
        """The plain tar, in chunks of at most a mebibyte; close it when it is not read to its end.

        Raises: LayerError, StorageError.
        """
        tar_read, tar_write = os.pipe2(os.O_CLOEXEC)
        answer_read, answer_write = os.pipe2(os.O_CLOEXEC)
        worker: WorkerProcess | None = None
        try:
            try:
                widen(tar_write)
                worker = await self._start(tar_write, answer_write)
            finally:
                os.close(tar_write)
                os.close(answer_write)
            while chunk := await _read(tar_read):
                yield chunk
            answer = b""
            while chunk := await _read(answer_read):
                answer += chunk
                if len(answer) > _ANSWER_LIMIT:
                    raise LayerError("the layer's worker talks too much")
            self._judge(answer, await worker.wait())
            worker = None
        finally:
            os.close(tar_read)
            os.close(answer_read)
            if worker is not None:
                worker.kill()
                await asyncio.shield(asyncio.ensure_future(worker.wait()))

    async def _start(self, tar_write: int, answer_write: int) -> WorkerProcess:
        names = os.memfd_create("names", os.MFD_CLOEXEC)
        directory = -1
        try:
            data = msgspec.json.encode(self._request)
            if os.write(names, data) != len(data):
                raise LayerError("too many names to leave out")
            with translated("open", self._directory):
                directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return await self._workers.worker(WORKER, (directory, tar_write, answer_write, names))
        finally:
            os.close(names)
            if directory >= 0:
                os.close(directory)

    def _judge(self, data: bytes, status: int) -> None:
        try:
            answer = msgspec.json.decode(data, type=_Answer)
        except msgspec.MsgspecError as exc:
            raise LayerError(f"the layer's worker ended without an answer (status {status})") from exc
        if not answer.ok:
            raise LayerError(answer.message)
        self.size = answer.size
        self.skipped = [os.fsdecode(name.encode("latin-1")) for name in answer.skipped]


def _texts(names: Iterable[str]) -> list[str]:
    return [os.fsencode(name).decode("latin-1") for name in names]


async def _read(fd: int) -> bytes:
    """The next bytes from a pipe without holding up the event loop; empty at its end."""
    os.set_blocking(fd, False)
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            await readable(fd)
