"""The worker that applies one layer: plain tar in, files in one directory out. Standard library and ``linux`` only.

The launcher forks it with three descriptors: the read end of a pipe with the tar, the directory, and the write end of
a pipe for the answer. It confines itself to the directory before it reads the first byte. The answer is one line of
JSON::

    {"ok": true, "entries": 24073, "size": 634000000, "opaque": ["etc/apt"], "skipped_xattrs": 0}
    {"ok": false, "kind": "layer" | "io" | "internal", "errno": 28, "message": "write \\"big\\": no space left …"}

Semantics are those of Docker's overlay2 driver: the layer has a directory of its own, so a parent that the archive does
not name becomes a directory (mode 0755, root) even where a lower layer has a symbolic link of that name; links inside
the layer are followed as a process with that root would; a later entry replaces an earlier one of the same name unless
both are directories; the root's own entry is ignored. ``.wh.`` names become overlay whiteouts (character device 0/0).
Opaque directories need an attribute that this process has no right to set: they are reported (their names as latin-1
text) and the engine sets it.
"""

import errno
import json
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from rundlet.linux import libc, path, userns
from rundlet.storage.layer import confine, owner, tar
from rundlet.storage.layer.fields import TarError, quote
from rundlet.storage.layer.tar import Entry
from rundlet.storage.layer.whiteout import make_whiteout
from rundlet.storage.tree import remove_tree

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
AUFS_PRIVATE: Final = b".wh..wh."
AUFS_LINKS: Final = b".wh..wh.plnk"
OPAQUE_LIMIT: Final = 50_000
"""Opaque directories of one layer; more would be an attack on the engine's memory."""
_OPEN_DIRECTORIES: Final = 256
_MAX_ID: Final = 0xFFFF_FFFE
_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICE_KINDS: Final = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
_FORBIDDEN_XATTRS: Final = (b"trusted.", b"user.overlay.", owner.XATTR.encode())


class LayerError(TarError):
    """An entry that can't be applied."""


class EntryError(Exception):
    """The kernel refused an operation on an entry."""

    def __init__(self, operation: str, name: bytes, error: OSError) -> None:
        super().__init__(f"{operation} {quote(name)}: {reason(error)}")
        self.errno = error.errno or 0


def reason(error: OSError) -> str:
    """The kernel's reason as Go programs print it."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def main(fds: Sequence[int]) -> int:
    """Apply the layer; the exit status is 0 when the answer says ok. ``fds``: tar, directory, answer."""
    source, directory, answer = fds
    try:
        keep_only((0, 1, 2, *fds))
        os.umask(0)
        result = _apply(source, confine.confine(directory))
    except (TarError, EntryError) as exc:
        io_error = isinstance(exc, EntryError)
        result = _failure("io" if io_error else "layer", str(exc), exc.errno if isinstance(exc, EntryError) else 0)
    except OSError as exc:
        result = _failure("internal", f"confine the layer's worker: {reason(exc)}", exc.errno or 0)
    except MemoryError:
        result = _failure("layer", "the layer takes more memory than any real one", 0)
    os.close(source)
    data = json.dumps(result).encode() + b"\n"
    try:
        while data:
            data = data[os.write(answer, data) :]
    except BrokenPipeError:
        return 1  # the engine was killed: its successor removes the directory
    return 0 if result["ok"] else 1


def _apply(source: int, directory: int) -> dict[str, object]:
    stream = tar.Source(source)
    applier = Applier(directory, tar.Reader(stream))
    try:
        applier.run()
        stream.drain()
    finally:
        applier.close()
    return {
        "ok": True,
        "entries": applier.entries,
        "size": applier.size,
        "opaque": [name.decode("latin-1") for name in sorted(applier.opaque)],
        "skipped_xattrs": applier.skipped_xattrs,
    }


def _failure(kind: str, message: str, number: int) -> dict[str, object]:
    return {"ok": False, "kind": kind, "errno": number, "message": message}


def keep_only(fds: Sequence[int]) -> None:
    """Close every descriptor that is not in ``fds``."""
    first = 0
    for fd in sorted(fds):
        if fd > first:
            libc.close_range(first, fd - 1)
        first = fd + 1
    libc.close_range(first)


class Applier:
    """Makes the members of an archive in the directory ``root_fd``, which stays the caller's.

    Every name is resolved beneath the root by directory descriptors that never follow a link unasked. The umask must
    be 0. Raises TarError (LayerError), EntryError.
    """

    def __init__(self, root_fd: int, reader: tar.Reader) -> None:
        self._root = root_fd
        self._reader = reader
        self._open: dict[bytes, int] = {b"": root_fd}
        self._directories: dict[bytes, Entry] = {}
        self._whiteouts: set[bytes] = set()
        self._linked = False
        self.opaque: set[bytes] = set()
        self.entries = 0
        self.size = 0
        """Bytes of regular files and link targets, as Docker counts a layer."""
        self.skipped_xattrs = 0

    def run(self) -> None:
        """Apply all members, then give the directories their attributes, deepest first."""
        while (entry := self._reader.next()) is not None:
            self.entries += 1
            if entry.name:
                self._entry(entry)
        if self._linked:
            self._forget_open()
            self._guard("remove", AUFS_LINKS, remove_tree, self._root, AUFS_LINKS)
        for name, entry in sorted(self._directories.items(), reverse=True):
            self._guard("set attributes of", name, self._finish_directory, name, entry)

    def close(self) -> None:
        """Let go of the directories held open."""
        self._forget_open()

    def _entry(self, entry: Entry) -> None:
        self._forget_many()
        self._check_owner(entry)
        directory, _, base = entry.name.rpartition(b"/")
        if AUFS_PRIVATE in directory and any(w.startswith(AUFS_PRIVATE) for w in directory.split(b"/")):
            # What the old aufs driver kept for itself. Hard links lead to some of it: those files stay until the end.
            if directory == AUFS_LINKS and entry.type == tar.REGULAR:
                self._linked = True
                self._make(directory, base, entry)
        elif base.startswith(WHITEOUT):
            self._whiteout(directory, base, entry)
        else:
            self._make(directory, base, entry)

    def _forget_many(self) -> None:
        if len(self._open) > _OPEN_DIRECTORIES:
            self._forget_open()

    def _check_owner(self, entry: Entry) -> None:
        if entry.uid > _MAX_ID or entry.gid > _MAX_ID:
            raise LayerError(f"{quote(entry.name)}: invalid owner {entry.uid}:{entry.gid}")

    def _make(self, directory: bytes, base: bytes, entry: Entry) -> None:
        if entry.type == tar.REGULAR:
            self._guard("write", entry.name, self._regular, directory, base, entry)
        elif entry.type == tar.DIRECTORY:
            self._guard("mkdir", entry.name, self._directory, directory, base, entry)
        elif entry.type == tar.SYMLINK:
            self._guard("symlink", entry.name, self._symlink, directory, base, entry)
        elif entry.type == tar.HARDLINK:
            self._hardlink(directory, base, entry)
        else:
            self._guard("mknod", entry.name, self._device, directory, base, entry)

    def _guard(self, operation: str, name: bytes, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except OSError as exc:
            raise EntryError(operation, name, exc) from exc

    def _regular(self, directory: bytes, base: bytes, entry: Entry) -> None:
        parent = self._open.get(directory)
        if parent is None:
            parent = self._parent(directory)
        mode = entry.mode
        try:
            fd = os.open(base, _FILE_FLAGS, mode, dir_fd=parent)
        except FileExistsError:
            parent = self._make_room(directory, base)
            fd = os.open(base, _FILE_FLAGS, mode, dir_fd=parent)
        try:
            if entry.size:
                self._reader.copy_data(fd)
                self.size += entry.size
            self._own(entry, partial(os.fchown, fd), fd)
            if mode & 0o7000:  # a change of owner and a write take the set-id bits away
                os.fchmod(fd, mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _directory(self, directory: bytes, base: bytes, entry: Entry) -> None:
        # Owner, mode and times come last: a set-group-ID bit or a default ACL must not colour what is made inside.
        parent = self._parent(directory)
        try:
            os.mkdir(base, 0o755, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
                hidden = entry.name in self._whiteouts
                os.mkdir(base, 0o755, dir_fd=self._make_room(directory, base))
                if hidden:
                    self._add_opaque(entry.name)
        self._directories[entry.name] = entry

    def _symlink(self, directory: bytes, base: bytes, entry: Entry) -> None:
        if not entry.link:
            raise LayerError(f"{quote(entry.name)}: symbolic link without a target")
        parent = self._parent(directory)
        try:
            os.symlink(entry.link, base, dir_fd=parent)
        except FileExistsError:
            parent = self._make_room(directory, base)
            os.symlink(entry.link, base, dir_fd=parent)
        self.size += len(entry.link)
        self._own(entry, partial(_lchown, parent, base))
        if entry.xattrs:
            self.skipped_xattrs += len(entry.xattrs)  # user attributes don't exist on links; others are not ours to set
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _hardlink(self, directory: bytes, base: bytes, entry: Entry) -> None:
        target = tar.clean(b"/" + entry.link)
        target_directory, _, target_base = target.rpartition(b"/")
        try:
            parent = self._make_room(directory, base)
            source = self._existing(target_directory)
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as exc:
            raise LayerError(
                f"link {quote(entry.name)} to {quote(entry.link)}: the target is not in the layer"
            ) from exc
        except OSError as exc:
            raise EntryError(f"link {quote(entry.link)} to", entry.name, exc) from exc

    def _device(self, directory: bytes, base: bytes, entry: Entry) -> None:
        parent = self._make_room(directory, base)
        if entry.major > 0xFFF or entry.minor > 0xFFFFF:
            raise LayerError(f"{quote(entry.name)}: invalid device number {entry.major}:{entry.minor}")
        try:
            os.mknod(base, entry.mode | _DEVICE_KINDS[entry.type], os.makedev(entry.major, entry.minor), dir_fd=parent)
        except PermissionError:
            if userns.INITIAL:
                raise
            return  # as Docker: a user namespace has no device nodes, and nothing could be opened by one
        self._own(entry, partial(_lchown, parent, base))
        if entry.mode & 0o7000:  # a change of owner takes the set-id bits away
            os.chmod(base, entry.mode, dir_fd=parent)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _own(self, entry: Entry, change: Callable[[int, int], None], fd: int = -1) -> None:
        if entry.uid or entry.gid:
            give(entry, change, fd)

    def _whiteout(self, directory: bytes, base: bytes, entry: Entry) -> None:
        if base == OPAQUE:
            self._guard("mkdir", directory, self._make_parent, directory)
            if directory:
                self._add_opaque(directory)
            else:
                self._add_opaque(b".")
            return
        if base.startswith(AUFS_PRIVATE):
            return
        hidden = base[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise LayerError(f"invalid whiteout {quote(entry.name)}")
        name = directory + b"/" + hidden if directory else hidden
        self._guard("whiteout", name, self._make_whiteout, directory, hidden, name)

    def _make_whiteout(self, directory: bytes, hidden: bytes, name: bytes) -> None:
        parent = self._parent(directory)
        try:
            make_whiteout(hidden, parent)
        except FileExistsError:
            # It hides what lower layers have, never what this layer brings.
            if stat.S_ISDIR(os.lstat(hidden, dir_fd=parent).st_mode):
                self._add_opaque(name)
        else:
            self._whiteouts.add(name)

    def _add_opaque(self, name: bytes) -> None:
        self.opaque.add(name)
        if len(self.opaque) > OPAQUE_LIMIT:
            raise LayerError(f"the layer has more than {OPAQUE_LIMIT} opaque directories")

    def _finish_directory(self, name: bytes, entry: Entry) -> None:
        fd = self._parent(name)
        self._own(entry, partial(os.fchown, fd), fd)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(fd, entry.xattrs)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _set_xattrs(self, fd: int, xattrs: list[tuple[bytes, bytes]]) -> None:
        for name, value in xattrs:
            if name.startswith(_FORBIDDEN_XATTRS):
                self.skipped_xattrs += 1  # they would steer the overlay that this layer becomes a part of
                continue
            try:
                os.setxattr(fd, name, value)
            except OSError as exc:
                # As Docker: an attribute that this file system or our rights don't allow is left out.
                if exc.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
                self.skipped_xattrs += 1

    def _make_room(self, directory: bytes, base: bytes) -> int:
        """The descriptor of ``directory`` after removing whatever it has under ``base``."""
        parent = self._parent(directory)
        try:
            kind = os.lstat(base, dir_fd=parent).st_mode
        except FileNotFoundError:
            return parent
        name = directory + b"/" + base if directory else base
        if not stat.S_ISDIR(kind):
            os.unlink(base, dir_fd=parent)
            self._whiteouts.discard(name)
            # A link may have been a way to directories that are held open under its name.
            if stat.S_ISLNK(kind):
                self._forget_open()
                return self._parent(directory)
            return parent
        self._forget_open()
        parent = self._parent(directory)
        remove_tree(parent, base)
        inside = name + b"/"
        self._directories = {k: v for k, v in self._directories.items() if k != name and not k.startswith(inside)}
        self.opaque = {k for k in self.opaque if k != name and not k.startswith(inside)}
        return parent

    def _make_parent(self, name: bytes) -> None:
        self._parent(name)

    def _parent(self, name: bytes) -> int:
        """A descriptor of directory ``name``, made (with its parents) where it is missing."""
        return self._walk(name, make=True)

    def _existing(self, name: bytes) -> int:
        """A descriptor of directory ``name``. Raises FileNotFoundError."""
        return self._walk(name, make=False)

    def _walk(self, name: bytes, make: bool) -> int:
        fd = self._open.get(name)
        if fd is not None:
            return fd
        known = name
        while known not in self._open:
            known = known.rpartition(b"/")[0]
        fd, held = self._open[known], known
        rest = name[len(known) :].strip(b"/").split(b"/")
        passing = len(rest) > _OPEN_DIRECTORIES // 2  # too deep to hold every step open
        for position, word in enumerate(rest):
            held = held + b"/" + word if held else word
            next_fd = self._step(fd, word, held, make)
            if passing and position:
                os.close(fd)
            fd = next_fd
            if not passing:
                self._open[held] = fd
        self._open[name] = fd
        return fd

    def _step(self, fd: int, word: bytes, whole: bytes, make: bool) -> int:
        try:
            return os.open(word, _DIRECTORY_FLAGS, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        except NotADirectoryError:
            # A symbolic link (or a file, which fails here too): followed as a process with this root would.
            return self._follow(whole, os.O_RDONLY | os.O_DIRECTORY)
        os.mkdir(word, 0o755, dir_fd=fd)
        return os.open(word, _DIRECTORY_FLAGS, dir_fd=fd)

    def _follow(self, whole: bytes, flags: int) -> int:
        return path.open_in_root(self._root, os.fsdecode(whole), flags)

    def _forget_open(self) -> None:
        for fd in self._open.values():
            if fd != self._root:
                os.close(fd)
        self._open = {b"": self._root}


def give(entry: Entry, change: Callable[[int, int], None], fd: int) -> None:
    """Change the owner to the entry's; one that this user namespace doesn't have is noted at ``fd`` (-1: nowhere)."""
    try:
        change(entry.uid, entry.gid)
    except OSError as exc:
        if userns.INITIAL or exc.errno != errno.EINVAL:
            raise
        owner.remember(fd, entry.uid, entry.gid)


def _lchown(parent: int, base: bytes, uid: int, gid: int) -> None:
    os.chown(base, uid, gid, dir_fd=parent, follow_symlinks=False)
