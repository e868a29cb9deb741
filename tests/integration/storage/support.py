"""What the tests of layers share: a launcher that forks right here, and archives made by hand."""

import asyncio
import io
import os
import signal
import tarfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rundlet.storage.layer import apply
from rundlet.storage.snapshot import SCHEMA, OverlaySnapshotter
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database


class ForkedWorker:
    """A child of the test itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    async def wait(self) -> int:
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
                break
            await asyncio.sleep(0.002)
        return self._status

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)


class ForkLauncher:
    """Implements WorkerLauncher by forking. Only tests may: the engine has threads and secrets."""

    def __init__(self, main: Callable[[Sequence[int]], int] = apply.main, kind: str = "apply") -> None:
        self.main = main
        self.kind = kind
        self.started: list[ForkedWorker] = []

    async def worker(self, kind: str, fds: Sequence[int]) -> ForkedWorker:
        assert kind == self.kind
        with warnings.catch_warnings():
            # The parent has threads; the child uses nothing that they may hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            status = 99
            try:
                status = self.main(fds)
            finally:
                os._exit(status)
        worker = ForkedWorker(pid)
        self.started.append(worker)
        return worker


_opened: dict[str, Database] = {}


def make_snapshotter(root: Path, state: Path | None = None, *, limit: int | None = None) -> OverlaySnapshotter:
    """A snapshotter under ``root``, with its database there or under ``state``; ``limit`` is that of a layer's tar."""
    (root / "snapshots").mkdir(exist_ok=True)
    path = str((state or root) / "state.db")
    if path in _opened:
        _opened[path].close()  # by the end of the engine that had it: nobody else may open it before
    database = _opened[path] = Database.open(path, [SCHEMA])
    return OverlaySnapshotter(str(root / "snapshots"), database, SystemClock(), layer_limit=limit)


def member(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    """One member of an archive."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    """The bytes of an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
