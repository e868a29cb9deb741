"""The worker that reads and writes a container's files: ``cp`` and ``export``. Standard library and ``linux`` only.

The launcher forks it with a file that holds the request (JSON, below), the pipe that carries the tar (write end to
send, read end to take), the write end of a pipe for answers, and for a running container its mount namespace (and its
user namespace, if it has one of its own: the worker then is that one's root, and numbers are the container's). It
enters the container's file system (see :mod:`rundlet.storage.files.view`), drops its rights, and only then looks at a
name that somebody else chose. Bytes in names travel as latin-1 text.

Request: ``op`` (stat, get, put, export, changes, pick, place, mkdir), ``path``, ``layers`` (of what doesn't run), for
changes ``left_out``, and for put ``keep_kinds``, ``user`` (who is to own everything; "": as the archive says),
``mounts`` ([[destination, writable], …]) and ``readonly_root``. A list of changes is written where a tar would be,
each as a digit (the API's kind), its path and a zero byte. An export may go ``into`` a directory of its archive, which
has no end if there is ``more`` to come.

For builds, ``pick`` sends what ``sources`` (see :mod:`~rundlet.storage.files.pick`) stand for, without ``excludes``,
with ``owner``, ``still``, ``parents``; with ``raw`` it sends the bytes of the one file. ``place`` takes an archive to
``path``: with ``rename`` its one member may get that name; ``own`` ([uid, gid]) or ``user`` own it, ``chmod`` is its
mode. ``mkdir`` makes the directory ``path``. What was picked is answered first::

    {"picked": [{"source": 0, "name": "etc/hosts", "directory": false}]}

Answers are lines of JSON: for stat and get first what the path is, last always the verdict::

    {"stat": {"size": 4096, "mode": 16877, "mtime_ns": 1700000000000000000, "target": ""}}
    {"ok": true}
    {"ok": false, "kind": "missing" | "not-directory" | "read-only-root" | "read-only-volume" | "archive" | "user"
     | "io" | "internal", "errno": 2, "message": "…"}
"""

import errno
import json
import os
import resource
import stat
from collections.abc import Sequence
from typing import Any, Final

from rundlet.linux import passwd, path
from rundlet.storage.files import changelist, pack, pick, place, view
from rundlet.storage.files.extract import Extractor
from rundlet.storage.layer import confine, members, tar
from rundlet.storage.layer.apply import EntryError, keep_only, reason
from rundlet.storage.layer.fields import TarError

READER: Final = ("CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE")
WRITER: Final = confine.CAPABILITIES
_BAD_PATHS: Final = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)
_WRITES: Final = ("put", "place", "mkdir")
_REQUEST_LIMIT: Final = 4 << 20


class RefusedError(Exception):
    """The request can't be carried out; ``kind`` says why."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def main(fds: Sequence[int]) -> int:
    """Carry out one request; the exit status is 0 when the answer says ok.

    ``fds``: request, tar, answers, and the mount and perhaps the user namespace of a running container.
    """
    request_fd, data, answers, *namespaces = fds
    try:
        keep_only((0, 1, 2, *fds))
        os.umask(0)
        request = json.loads(os.pread(request_fd, _REQUEST_LIMIT, 0))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        confine.limit()
        if request["op"] == "changes":
            _changes(request, data)
        else:
            root = _enter(request, namespaces)
            confine.restrict(WRITER if request["op"] in _WRITES else READER)
            _Task(request, root, data, answers).run()
        verdict = {"ok": True}
    except RefusedError as exc:
        verdict = _failure(exc.kind, str(exc))
    except EntryError as exc:
        verdict = _failure("io", str(exc), exc.errno)
    except TarError as exc:
        verdict = _failure("archive", str(exc))
    except BrokenPipeError:
        verdict = _failure("internal", "nobody reads any more")
    except OSError as exc:
        name = f" {_shown(exc.filename)}" if exc.filename else ""
        verdict = _failure("internal", f"the container's files{name}: {reason(exc)}", exc.errno or 0)
    os.close(data)
    _say(answers, verdict)
    return 0 if verdict["ok"] else 1


def _shown(name: str | bytes) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else name


def _enter(request: dict[str, Any], namespaces: list[int]) -> int:
    readonly = request["op"] not in _WRITES and not request.get("first_time")
    if namespaces:
        whole = request["op"] != "export"
        return view.enter_running(namespaces, readonly=readonly, submounts=whole, hidden=request["hidden"])
    root = view.enter_stopped(request["layers"], readonly=readonly, hidden=request["hidden"])
    if not readonly and request.get("working_directory"):
        try:
            os.close(path.makedirs_in_root(root, request["working_directory"]))
        except OSError:
            pass  # the start will say why
    return root


def _changes(request: dict[str, Any], data: int) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    upper = os.open(request["layers"]["upper"], flags)
    lowers = [os.open(directory, flags) for directory in request["layers"]["lower"]]
    # It stays where it is: from these descriptors down no link is followed and ``..`` is never said.
    confine.restrict((*READER, "CAP_SYS_ADMIN"))  # which shows overlay's trusted attributes
    writer = members.Writer(data)
    for kind, name in changelist.list_changes(upper, lowers, [_name(text) for text in request["left_out"]]):
        writer.write(b"%d%b\0" % (kind, name))
    writer.flush()


class _Task:
    def __init__(self, request: dict[str, Any], root: int, data: int, answers: int) -> None:
        self._request = request
        self._root = root
        self._data = data
        self._answers = answers

    def run(self) -> None:
        operation = self._request["op"]
        if operation == "export":
            device = os.fstat(self._root).st_dev
            packer = pack.Packer(self._root, self._data, device)
            packer.everything(_name(self._request.get("into", "")), more=self._request.get("more", False))
            return
        if operation == "pick":
            self._pick()
            return
        name = os.fsdecode(_name(self._request["path"]))
        if operation in ("place", "mkdir"):
            self._place(name, operation)
            return
        if operation == "put":
            self._put(name)
            return
        _say(self._answers, {"stat": self._stat(name)})
        if operation == "get":
            rebased = os.fsencode(os.path.basename(name.rstrip("/")) or "/")
            pack.Packer(self._root, self._data).path(name, rebased)

    def _stat(self, name: str) -> dict[str, object]:
        try:
            status = pack.lstat(self._root, name)
        except FileNotFoundError as exc:
            raise RefusedError("missing") from exc
        except OSError as exc:
            kind = "path" if exc.errno in _BAD_PATHS else "io"
            raise RefusedError(kind, f"lstat {name}: {reason(exc)}") from exc
        target = view.evaluate(self._root, name)[0] if stat.S_ISLNK(status.st_mode) else ""
        return {
            "size": status.st_size,
            "mode": status.st_mode,
            "mtime_ns": status.st_mtime_ns,
            "target": os.fsencode(target).decode("latin-1"),
        }

    def _pick(self) -> None:
        request = self._request
        chosen = pick.choose(self._root, request["sources"])
        found = [
            {"source": item.source, "name": item.name.decode("latin-1"), "directory": item.directory} for item in chosen
        ]
        _say(self._answers, {"picked": found})
        picker = pick.Picker(
            self._root,
            self._data,
            excluder=pick.Excluder(request.get("excludes", ())),
            owner=request.get("owner"),
            still=request.get("still", False),
            parents=request.get("parents", False),
        )
        if request.get("raw"):
            for item in chosen:
                picker.contents(item)
            return
        for item in chosen:
            picker.write(item)
        picker.end()

    def _place(self, name: str, operation: str) -> None:
        request = self._request
        own = request.get("own")
        owner: tuple[int, int] | None = (own[0], own[1]) if own is not None else None
        if request.get("user"):
            try:
                owner = place.owner_of(self._root, request["user"], lenient=request.get("lenient", False))
            except passwd.UserError as exc:
                raise RefusedError("user", str(exc)) from exc
        try:
            where = place.target(self._root, name, rename=request.get("rename", False))
            mode = request.get("directories", 0o755)
            directory = place.make_directories(self._root, where.directory, owner or (0, 0), mode)
        except place.DestinationError as exc:
            raise RefusedError("not-directory", str(exc)) from exc
        except OSError as exc:
            raise RefusedError("io", f"{name}: {reason(exc)}") from exc
        try:
            if operation == "place":
                stream = tar.Source(self._data)
                placer = place.Placer(self._root, directory, where, tar.Reader(stream), request, owner)
                try:
                    placer.run()
                    stream.drain()
                finally:
                    placer.close()
        finally:
            os.close(directory)

    def _put(self, name: str) -> None:
        try:
            where, exists = view.evaluate(self._root, name)
            if not exists:
                raise RefusedError("missing")
            directory = path.open_in_root(self._root, where, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as exc:
            raise RefusedError("missing") from exc
        except NotADirectoryError as exc:
            raise RefusedError("not-directory") from exc
        except OSError as exc:
            raise RefusedError("io", f"open {name}: {reason(exc)}") from exc
        self._check_writable(where)
        stream = tar.Source(self._data)
        extractor = Extractor(
            self._root,
            directory,
            where,
            tar.Reader(stream),
            keep_kinds=self._request["keep_kinds"],
            owner=self._owner(),
        )
        try:
            extractor.run()
            stream.drain()
        finally:
            extractor.close()
            os.close(directory)

    def _check_writable(self, where: str) -> None:
        mounted = view.deepest(self._request["mounts"], where)
        if mounted is None and self._request["readonly_root"]:
            raise RefusedError("read-only-root")
        if mounted is not None and not mounted[1]:
            raise RefusedError("read-only-volume")

    def _owner(self) -> tuple[int, int] | None:
        if not self._request["user"]:
            return None
        try:
            user = passwd.resolve_user(self._root, self._request["user"])
        except passwd.UserError as exc:
            raise RefusedError("user", str(exc)) from exc
        return user.uid, user.gid


def _name(text: str) -> bytes:
    return text.encode("latin-1")


def _failure(kind: str, message: str, number: int = 0) -> dict[str, Any]:
    return {"ok": False, "kind": kind, "errno": number, "message": message}


def _say(answers: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    try:
        while data:
            data = data[os.write(answers, data) :]
    except OSError as exc:
        if exc.errno != errno.EPIPE:
            raise
