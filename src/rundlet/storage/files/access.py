"""The engine's side of the worker for files: requests, the tar's bytes in and out, verdicts."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from rundlet.errors import InternalError, UnavailableError
from rundlet.linux import userns
from rundlet.storage.files.view import Layers
from rundlet.storage.layer.compression import Inflater
from rundlet.storage.layer.unpack import WorkerLauncher, WorkerProcess
from rundlet.storage.pipes import readable, widen, writable

WORKER: Final = "files"
_CHUNK: Final = 1 << 20
_LINE_LIMIT: Final = 16 << 20
_CHANGES_LIMIT: Final = 256 << 20


class FileAccessError(InternalError):
    """A container's files can't be read or written; ``kind`` is the worker's word for why."""

    reason = "file-access"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class PathInfo(msgspec.Struct, frozen=True):
    """What lstat(2) says of a path; ``target`` is where a link leads in the end, absolute in the container."""

    size: int
    mode: int
    mtime_ns: int
    target: str = ""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Place(msgspec.Struct, frozen=True):
    """Where a container's files are: ``pid`` of one that runs, ``layers`` of one that doesn't.

    ``owner`` has to be part of the process's cgroup path, or ``parent`` its parent where an ordinary user's engine has
    no groups: its number may have gone to another process.
    ``first_time``: it never ran, so that its mount points may have to be made even to read, and so may its
    ``working_directory`` ("": none is). ``mapped``: it has a user namespace of its own, by whose numbers its files are
    read and written while it runs. ``hidden`` are directories that it gets to see nothing of.
    """

    pid: int = 0
    owner: str = ""
    parent: int = 0
    layers: Layers | None = None
    first_time: bool = False
    working_directory: str = ""
    mapped: bool = False
    hidden: Sequence[str] = ()


class PutRequest(msgspec.Struct, frozen=True):
    """``path`` takes an archive. ``user`` is to own all of it, "" leaves that to the archive.

    ``mounts`` are (destination, writable) of what is mounted; outside of them ``readonly_root`` forbids writing.
    """

    path: str
    keep_kinds: bool = False
    user: str = ""
    mounts: Sequence[tuple[str, bool]] = ()
    readonly_root: bool = False


ANY_DEPTH: Final = ""
"""The expression that stands for any number of directories, none too."""


class Source(msgspec.Struct, frozen=True):
    """Paths that a build takes: components, each a name or (True, an expression), from the root.

    ``pivot`` is the number of components that do not count for a name with parents.
    """

    parts: tuple[tuple[bool, str], ...]
    pivot: int = 0


class PickRequest(msgspec.Struct, frozen=True):
    """What a build takes from somewhere: see ``storage.files.pick``. ``excludes`` are (expression, negated)."""

    sources: Sequence[Source]
    excludes: Sequence[tuple[str, bool]] = ()
    owner: tuple[int, int] | None = None
    still: bool = False
    parents: bool = False
    raw: bool = False


class Picked(msgspec.Struct, frozen=True):
    """One path that a source, by its number, stands for."""

    source: int
    name: str
    directory: bool


ModeChange = tuple[str, str, str]
"""Whose mode (letters of ``ugoa``; none for all that the umask 022 allows), ``+``, ``-`` or ``=``, and what: letters of
``rwxXst``, or one of ``ugo`` whose permissions are copied."""


class PlaceRequest(msgspec.Struct, frozen=True):
    """Where a build puts an archive. ``rename``: its one file may get the name. ``own`` (uid, gid) or ``user`` own it
    all; with neither the archive says. ``chmod``: a mode, or changes of the one that the archive says. ``keep_kinds``:
    a directory and something else never replace each other."""

    path: str
    rename: bool = False
    own: tuple[int, int] | None = None
    user: str = ""
    chmod: int | tuple[ModeChange, ...] | None = None
    keep_kinds: bool = True
    enclosed: bool = False
    """Links in the archive lead nowhere outside of the destination, which is their root."""
    own_names: bool = False
    """An archive's members stay whose the archive says, whatever ``user`` says."""
    lenient: bool = False
    """A ``user`` or group that the image does not know is root's."""
    directories: int = 0o755
    """The mode of directories that have to be made on the way."""
    layer: bool = False
    """The archive is a layer, whose whiteouts are carried out."""


class _Verdict(msgspec.Struct, frozen=True):
    ok: bool
    kind: str = ""
    errno: int = 0
    message: str = ""


class FileAccess:
    """One request's worker. Use each object once, and :meth:`close` it."""

    def __init__(self, workers: WorkerLauncher, place: Place) -> None:
        self._workers = workers
        self._place = place
        self._process: WorkerProcess | None = None
        self._data = -1
        self._answers = -1
        self._pending = b""

    async def stat(self, path: str) -> PathInfo:
        """Raises FileAccessError (kind ``missing``), LauncherError."""
        await self._start({"op": "stat", "path": _text(path)}, sending=False)
        info = await self._info()
        await self._end()
        return info

    async def open(self, path: str) -> PathInfo:
        """Begin to read ``path``; its tar is :meth:`chunks`. Raises FileAccessError, LauncherError."""
        await self._start({"op": "get", "path": _text(path)}, sending=False)
        return await self._info()

    async def open_root(self, into: str = "", *, more: bool = False) -> None:
        """Begin to read the whole root file system, without what is mounted in it; its tar is :meth:`chunks`. With
        ``into`` it is in that directory; with ``more`` it has no end, for another to follow."""
        await self._start({"op": "export", "into": into, "more": more}, sending=False)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The tar's bytes. Raises FileAccessError at the end when something could not be read."""
        while chunk := await _read(self._data):
            yield chunk
        await self._end()

    async def changes(self, left_out: Sequence[str]) -> list[tuple[str, int]]:
        """(absolute path, the API's kind) of every change, sorted; ``left_out`` as in ``changelist``.

        Raises FileAccessError, LauncherError.
        """
        await self._start({"op": "changes", "left_out": [_text(name) for name in left_out]}, sending=False)
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            if len(data) > _CHANGES_LIMIT:
                raise FileAccessError("internal", "the container changed more files than can be listed")
        records = bytes(data).split(b"\0")[:-1]
        return sorted((os.fsdecode(record[1:]), record[0] - ord("0")) for record in records)

    async def start_put(self, request: PutRequest) -> None:
        """Begin to write; to be followed by :meth:`put`."""
        document = {
            "op": "put",
            "path": _text(request.path),
            "keep_kinds": request.keep_kinds,
            "user": request.user,
            "mounts": [list(item) for item in request.mounts],
            "readonly_root": request.readonly_root,
        }
        await self._start(document, sending=True)

    async def put(self, body: AsyncIterator[bytes]) -> None:
        """Unpack ``body`` (plain or compressed). Raises FileAccessError, LayerError, and what ``body`` does."""
        inflater = Inflater()
        try:
            async for chunk in body:
                pieces = inflater.feed(chunk)
                if inflater.compression in ("", "none"):
                    # Nothing to inflate: not worth the way to a thread and back for each piece.
                    for plain in pieces:
                        await _write(self._data, plain)
                    continue
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    await _write(self._data, piece)
            pieces = inflater.finish()
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                await _write(self._data, piece)
        except BrokenPipeError:
            pass  # the worker gave up, and says why
        os.close(self._data)
        self._data = -1
        await self._end()

    async def pick(self, request: PickRequest) -> list[Picked]:
        """Begin to read what ``request`` stands for; its tar (or bytes) are :meth:`chunks`. Raises FileAccessError."""
        document: dict[str, Any] = {
            "op": "pick",
            "sources": [
                {"parts": [["*" if glob else "", _text(text)] for glob, text in source.parts], "pivot": source.pivot}
                for source in request.sources
            ],
            "excludes": [[_text(rule), negated] for rule, negated in request.excludes],
            "owner": request.owner,
            "still": request.still,
            "parents": request.parents,
            "raw": request.raw,
        }
        await self._start(document, sending=False)
        line = await self._line()
        if not line.startswith(b'{"picked"'):
            await self._judge(line)
            raise FileAccessError("internal", "the worker for files said nothing of what it found")
        found = msgspec.json.decode(line, type=dict[str, list[Picked]])["picked"]
        return [msgspec.structs.replace(item, name=os.fsdecode(item.name.encode("latin-1"))) for item in found]

    async def start_place(self, request: PlaceRequest) -> None:
        """Begin to write a build's files; to be followed by :meth:`put`."""
        document = {
            "op": "place",
            "path": _text(request.path),
            "rename": request.rename,
            "own": request.own,
            "user": request.user,
            "chmod": request.chmod,
            "keep_kinds": request.keep_kinds,
            "enclosed": request.enclosed,
            "own_names": request.own_names,
            "lenient": request.lenient,
            "directories": request.directories,
            "layer": request.layer,
        }
        await self._start(document, sending=True)

    async def make_directory(self, path: str, owner: str = "") -> None:
        """Make ``path`` and its parents, ``owner``'s or, without one that the image knows, root's.

        Raises FileAccessError, LauncherError.
        """
        await self._start({"op": "mkdir", "path": _text(path), "user": owner, "lenient": True}, sending=True)
        os.close(self._data)
        self._data = -1
        await self._end()

    async def finish(self, patience: float) -> None:
        """Return when the worker has ended: by itself within ``patience`` seconds, or killed."""
        process = self._process
        if process is None:
            return
        with suppress(UnavailableError):  # the launcher is gone, and its workers with it
            try:
                await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def close(self) -> None:
        """Let go; a worker that is still at work is ended."""
        for fd in (self._data, self._answers):
            if fd >= 0:
                os.close(fd)
        self._data = self._answers = -1
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(Exception):
                await asyncio.shield(process.wait())

    async def _start(self, request: dict[str, Any], *, sending: bool) -> None:
        request["layers"] = self._place.layers
        request["hidden"] = list(self._place.hidden)
        request["first_time"] = self._place.first_time
        request["working_directory"] = self._place.working_directory
        memory = os.memfd_create("request", os.MFD_CLOEXEC)
        theirs: list[int] = [memory]
        try:
            document = json.dumps(request).encode()
            if os.write(memory, document) != len(document):
                raise FileAccessError("internal", "the request is too long")
            read, write = os.pipe2(os.O_CLOEXEC)
            self._data, other = (write, read) if sending else (read, write)
            theirs.append(other)
            widen(self._data)
            self._answers, answers = os.pipe2(os.O_CLOEXEC)
            theirs.append(answers)
            for fd in (self._data, self._answers):
                os.set_blocking(fd, False)
            if self._place.pid:
                theirs += _namespaces(self._place)
            self._process = await self._workers.worker(WORKER, theirs)
        finally:
            for fd in theirs:
                os.close(fd)

    async def _line(self) -> bytes:
        while b"\n" not in self._pending:
            data = await _read(self._answers)
            if not data:
                return b""
            self._pending += data
            if len(self._pending) > _LINE_LIMIT:
                raise FileAccessError("internal", "the worker for files talks too much")
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    async def _info(self) -> PathInfo:
        line = await self._line()
        if line.startswith(b'{"stat"'):
            info = msgspec.json.decode(line, type=dict[str, PathInfo])["stat"]
            return msgspec.structs.replace(info, target=os.fsdecode(info.target.encode("latin-1")))
        await self._judge(line)
        raise FileAccessError("internal", "the worker for files said nothing of the path")

    async def _end(self) -> None:
        await self._judge(await self._line())

    async def _judge(self, line: bytes) -> None:
        process, self._process = self._process, None
        assert process is not None
        status = await asyncio.shield(process.wait())
        try:
            verdict = msgspec.json.decode(line, type=_Verdict)
        except msgspec.MsgspecError as exc:
            raise FileAccessError("internal", f"the worker for files ended without an answer ({status})") from exc
        if not verdict.ok:
            raise FileAccessError(verdict.kind, verdict.message)


def _namespaces(place: Place) -> list[int]:
    """The mount namespace of the process that ``place`` names, and its user namespace if that is its own."""
    opened: list[int] = []
    try:
        for kind in ("mnt", *(("user",) if place.mapped else ())):
            opened.append(os.open(f"/proc/{place.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
        # Looked at after the opening: if it is the right process now, it was then.
        with open(f"/proc/{place.pid}/cgroup") as file:
            if place.owner in file.read():
                return opened
        if place.parent and not userns.INITIAL:
            with open(f"/proc/{place.pid}/stat", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == place.parent:
                    return opened
    except (FileNotFoundError, ProcessLookupError):
        pass
    for fd in opened:
        os.close(fd)
    raise FileAccessError("ended", "the container has just ended")


def _text(path: str) -> str:
    return os.fsencode(path).decode("latin-1")


async def _read(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            await readable(fd)


async def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await writable(fd)
