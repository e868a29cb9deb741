"""The worker that writes what a container changed, its upper directory, as a layer tar. Standard library, linux.

The launcher forks it with the directory, the write end of a pipe for the tar, the write end of a pipe for the answer,
a file with a JSON object, and the read end of a pipe: a byte from there says that the files hold still and may be
looked at, its end that nobody wants them. The object has names to leave out (``left_out``: mount points that the
runtime made; latin-1 text), directories that go too when nothing else is in them (``quiet``), the latest time that a
member may have (``latest``, nanoseconds, or null), what all names begin with (``prefix``), and whether another archive
is to follow (``more``: then this one has no end). It sees nothing but the directory, read-only. Overlay whiteouts
become ``.wh.`` entries, opaque directories get ``.wh..wh..opq``. What a layer can't hold is left out and named in the
answer::

    {"ok": true, "skipped": ["run/socket", "odd/.wh.name"], "size": 4096}
    {"ok": false, "kind": "io", "errno": 5, "message": "read \\"f\\": input/output error"}
"""

import errno
import json
import os
import resource
from collections.abc import Sequence
from typing import Any, Final

from rundlet.linux import userns
from rundlet.storage.layer import confine, members, tar, tarwrite
from rundlet.storage.layer.apply import OPAQUE, WHITEOUT, EntryError, keep_only, reason
from rundlet.storage.layer.whiteout import is_whiteout

CAPABILITIES: Final = ("CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN")
"""To read every file; SYS_ADMIN shows overlay's trusted attributes (the filter forbids all else that it allows)."""
SKIPPED_LIMIT: Final = 1000


def main(fds: Sequence[int]) -> int:
    """Write the tar; the exit status is 0 when the answer says ok.

    ``fds``: directory, tar, answer, names to leave out, gate.
    """
    directory, out, answer, names, gate = fds
    result: dict[str, object]
    try:
        keep_only((0, 1, 2, *fds))
        request = json.loads(os.pread(names, 1 << 24, 0) or b"{}")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        changes = Changes(
            confine.confine(directory, CAPABILITIES, readonly=True),
            out,
            _names(request, "left_out"),
            _names(request, "quiet"),
            request.get("latest"),
            request.get("prefix", "").encode("latin-1"),
        )
        if not os.read(gate, 1):
            return 1
        changes.run(more=request.get("more", False))
        result = {"ok": True, "skipped": changes.skipped, "size": changes.size}
    except EntryError as exc:
        result = {"ok": False, "kind": "io", "errno": exc.errno, "message": str(exc)}
    except OSError as exc:
        result = {
            "ok": False,
            "kind": "internal",
            "errno": exc.errno or 0,
            "message": f"write the layer: {reason(exc)}",
        }
    os.close(out)
    data = json.dumps(result).encode() + b"\n"
    while data:
        data = data[os.write(answer, data) :]
    return 0 if result["ok"] else 1


def _names(request: dict[str, Any], key: str) -> frozenset[bytes]:
    return frozenset(name.encode("latin-1") for name in request.get(key, ()))


class Changes:
    """Writes the tar of the directory ``root_fd`` to ``out``, in an order that depends on names only.

    Raises EntryError for what can't be read, OSError for what can't be written.
    """

    def __init__(
        self,
        root_fd: int,
        out: int,
        left_out: frozenset[bytes] = frozenset(),
        quiet: frozenset[bytes] = frozenset(),
        latest: int | None = None,
        prefix: bytes = b"",
    ) -> None:
        self._root = root_fd
        self._prefix = prefix
        self._writer = members.Writer(out, self._adjust)
        self._left_out = left_out
        self._quiet = quiet
        self._latest = latest
        self.skipped: list[str] = []
        self.size = 0
        """Bytes of regular files and link targets, as Docker counts a layer."""
        self._counted: set[int] = set()

    def _adjust(self, entry: tar.Entry) -> None:
        if self._latest is not None and entry.mtime_ns > self._latest:
            entry.mtime_ns = self._latest

    def run(self, *, more: bool = False) -> None:
        """Write everything and, unless there is ``more`` to come, the end of the archive."""
        if is_opaque(self._root):
            self._writer.write(_marker(self._prefix + OPAQUE, os.fstat(self._root)))
        levels = [(os.dup(self._root), self._prefix, self._list(self._root))]
        try:
            while levels:
                fd, prefix, names = levels[-1]
                if not names:
                    os.close(levels.pop()[0])
                    continue
                base = names.pop()
                inner = self._member(fd, prefix + base, base)
                if inner is not None:
                    levels.append((inner, prefix + base + b"/", self._list(inner)))
        finally:
            for fd, _prefix, _names in levels:
                os.close(fd)
        if more:
            self._writer.flush()
        else:
            self._writer.end()

    def _list(self, fd: int) -> list[bytes]:
        return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)

    def _member(self, parent: int, name: bytes, base: bytes) -> int | None:
        """Write one member; a descriptor when it is a directory that has to be gone through."""
        if name in self._left_out:
            return None
        try:
            status = os.lstat(base, dir_fd=parent)
            if is_whiteout(status):
                self._writer.write(_marker(name[: -len(base)] + WHITEOUT + base, status))
                return None
            kind = members.kind_of(status)
            if kind is None or base.startswith(WHITEOUT) or len(name) > tar.PATH_LIMIT:
                if len(self.skipped) < SKIPPED_LIMIT:
                    self.skipped.append(name.decode("latin-1"))
                return None
            if kind == tar.DIRECTORY:
                if name in self._quiet and self._is_quiet(parent, base, name):
                    return None
                fd = self._writer.directory(parent, base, name, status)
                if is_opaque(fd):
                    self._writer.write(_marker(name + b"/" + OPAQUE, status))
                return fd
            self._writer.plain(parent, base, name, status)
            if status.st_nlink == 1:
                self.size += status.st_size
            elif status.st_ino not in self._counted:
                self._counted.add(status.st_ino)
                self.size += status.st_size
        except BrokenPipeError:
            raise
        except OSError as exc:
            if exc.errno == errno.ENOENT:
                return None  # a running container removed it meanwhile
            raise EntryError("read", name, exc) from exc
        return None

    def _is_quiet(self, parent: int, base: bytes, name: bytes) -> bool:
        """Whether the runtime alone has been at work in the directory."""
        fd = os.open(base, members.DIRECTORY_FLAGS, dir_fd=parent)
        try:
            return not is_opaque(fd) and all(
                name + b"/" + inner in self._left_out
                or (name + b"/" + inner in self._quiet and self._is_quiet(fd, inner, name + b"/" + inner))
                for inner in self._list(fd)
            )
        finally:
            os.close(fd)


def is_opaque(fd: int) -> bool:
    """Whether the upper directory hides all that its namesakes below hold."""
    try:
        return os.getxattr(fd, userns.OPAQUE_XATTR) == b"y"
    except OSError:
        return False


def _marker(name: bytes, status: os.stat_result) -> bytes:
    """An empty file that says something about its neighbours."""
    entry = members.new_entry(name, tar.REGULAR, status)
    entry.mode, entry.major, entry.minor = 0o600, 0, 0
    return tarwrite.encode(entry)
