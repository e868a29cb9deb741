"""For builds: what COPY and ADD take, chosen by patterns, as one tar. Standard library and ``linux`` only.

Patterns are those of Go's ``filepath.Match``, one expression for each component; where there is none, links are
followed inside the root, the last one too. Of a directory its content is taken, under names relative to it; of
anything else the thing itself, under its base name; with ``parents`` both under their whole path.
"""

import errno
import os
import re
import stat
from collections.abc import Sequence
from typing import Any, Final

from rundlet.linux import path
from rundlet.storage.files import pack
from rundlet.storage.layer import members, tar
from rundlet.storage.layer.apply import EntryError

_LOOK: Final = path.RESOLVE_IN_ROOT | path.RESOLVE_NO_MAGICLINKS


class Picked:
    """One thing that a source stands for: its path (no slash at either end), and whether it is a directory."""

    __slots__ = ("directory", "name", "pivot", "source")

    def __init__(self, source: int, name: bytes, pivot: int, directory: bool) -> None:
        self.source = source
        self.name = name
        self.pivot = pivot
        self.directory = directory


def choose(root: int, sources: Sequence[dict[str, Any]]) -> list[Picked]:
    """What the sources stand for, in their order and then by name; a source that is not there gives nothing.

    Each source has ``parts`` (each ``["", name]`` or ``["*", expression]``, an empty expression being any number of
    directories) and ``pivot``, the number of components that do not count for its name with ``parents``. Raises:
    OSError.
    """
    found = []
    for number, source in enumerate(sources):
        names = [b""]
        for kind, text in source["parts"]:
            part = text.encode("latin-1")
            names = [longer for name in names for longer in _longer(root, name, kind, part)]
        if ["*", ""] in source["parts"]:
            # As a walk meets them: what is deeper is not later. Of two that come to one name, the last one stays.
            names.sort(key=lambda name: name.split(b"/"))
        for name in dict.fromkeys(names):
            try:
                fd = path.openat2(root, os.fsdecode(name) or ".", os.O_PATH, 0, _LOOK)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            finally:
                os.close(fd)
            found.append(Picked(number, name, source.get("pivot", 0), directory))
    return found


def _longer(root: int, name: bytes, kind: str, part: bytes) -> list[bytes]:
    prefix = name + b"/" if name else b""
    if not kind:
        return [prefix + part]
    if not part:
        return [name, *_below(root, name)]
    matches = re.compile(part, re.DOTALL).fullmatch
    try:
        fd = path.openat2(root, os.fsdecode(name) or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _LOOK)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return [prefix + base for base in sorted(map(os.fsencode, os.listdir(fd))) if matches(base)]
    finally:
        os.close(fd)


def _below(root: int, name: bytes) -> list[bytes]:
    """Every directory below ``name``, by name; links are not followed."""
    found: list[bytes] = []
    pending = [name]
    while pending:
        current = pending.pop()
        found.append(current)
        try:
            fd = path.openat2(root, os.fsdecode(current) or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _LOOK)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            with os.scandir(fd) as entries:
                inner = sorted(os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False))
        finally:
            os.close(fd)
        prefix = current + b"/" if current else b""
        pending += [prefix + base for base in reversed(inner)]
    return found[1:]


class Excluder:
    """Patterns as in ``.dockerignore``: the last one that fits a name or one of its parents decides."""

    def __init__(self, rules: Sequence[Sequence[Any]]) -> None:
        self._rules = [(re.compile(text.encode("latin-1"), re.DOTALL), bool(negated)) for text, negated in rules]
        self.exceptions = any(negated for _rule, negated in self._rules)

    def excluded(self, name: bytes) -> bool:
        if not self._rules:
            return False
        words = name.split(b"/")
        names = [b"/".join(words[:count]) for count in range(1, len(words) + 1)]
        result = False
        for rule, negated in self._rules:
            if result == negated and any(rule.fullmatch(each) for each in names):
                result = not negated
        return result


class Picker(pack.Packer):
    """Writes what was chosen. ``owner`` and ``still`` (no times) change every member alike."""

    def __init__(
        self, root: int, out: int, *, excluder: Excluder, owner: Sequence[int] | None, still: bool, parents: bool
    ) -> None:
        super().__init__(root, out, adjust=self._change)
        self._excluder = excluder
        self._owner = owner
        self._still = still
        self._parents = parents
        self._hidden = b""
        """What stands before the names that the patterns are about."""
        self._pending: list[tuple[int, bytes, os.stat_result]] = []
        self._written: set[bytes] = set()

    def _change(self, entry: tar.Entry) -> None:
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        if self._still:
            entry.mtime_ns = 0

    def write(self, picked: Picked) -> None:
        """The members of one thing. Raises EntryError, OSError."""
        name = os.fsdecode(picked.name)
        shown = picked.name if self._parents else b"" if picked.directory else os.path.basename(picked.name)
        if self._parents:
            words = picked.name.split(b"/")
            shown = b"/".join(words[picked.pivot :])
            self._ancestors(words, picked.pivot)
        if picked.directory:
            self._hidden = shown + b"/" if shown else b""
            try:
                fd = path.openat2(self._root, name or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _LOOK)
            except OSError as exc:
                raise EntryError("read", picked.name, exc) from exc
            try:
                if shown and shown not in self._written:
                    self._written.add(shown)
                    self._writer.opened_directory(fd, shown, os.fstat(fd))
                self._tree(fd, self._hidden)
            finally:
                os.close(fd)
            return
        self._hidden = shown[: -len(os.path.basename(shown))] if shown else b""
        if self._excluder.excluded(os.path.basename(picked.name)):
            return
        self._file(name, shown)

    def end(self) -> None:
        self._writer.end()

    def contents(self, picked: Picked) -> None:
        """The bytes of a file, nothing around them. Raises OSError."""
        fd = self._opened(os.fsdecode(picked.name))
        try:
            while data := os.read(fd, 1 << 20):
                self._writer.write(data)
        finally:
            os.close(fd)
        self._writer.flush()

    def _ancestors(self, words: list[bytes], pivot: int) -> None:
        for count in range(pivot + 1, len(words)):
            shown = b"/".join(words[pivot:count])
            if shown in self._written:
                continue
            self._written.add(shown)
            whole = os.fsdecode(b"/".join(words[:count]))
            fd = path.openat2(self._root, whole, os.O_RDONLY | os.O_DIRECTORY, 0, _LOOK)
            try:
                self._writer.opened_directory(fd, shown, os.fstat(fd))
            finally:
                os.close(fd)

    def _file(self, name: str, shown: bytes) -> None:
        # A link was followed: what is written is what it leads to, under the link's name.
        target = path.openat2(self._root, name, os.O_PATH, 0, _LOOK)
        try:
            status = os.fstat(target)
        finally:
            os.close(target)
        if stat.S_ISREG(status.st_mode):
            fd = self._opened(name)
            try:
                self._writer.opened_file(fd, shown)
            finally:
                os.close(fd)
        elif members.kind_of(status) is not None:
            entry = members.new_entry(shown, members.kind_of(status) or tar.REGULAR, status)
            self._writer.entry(entry)

    def _opened(self, name: str) -> int:
        fd = path.openat2(self._root, name, os.O_RDONLY | os.O_NONBLOCK, 0, _LOOK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return fd

    def _member(self, parent: int, name: bytes, base: bytes) -> int | None:
        if self._excluder.excluded(name[len(self._hidden) :]):
            if not self._excluder.exceptions or not stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
                return None
            # Something below it may be wanted after all; its own member is left out, its parents are made plainly.
            return os.open(base, members.DIRECTORY_FLAGS, dir_fd=parent)
        return super()._member(parent, name, base)
