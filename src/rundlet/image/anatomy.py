"""What each layer of an image does to the files below it, and how the files of two images differ.

Reads the layers' directories, which never change, by ``lstat`` alone: nothing of an image is opened but the regular
files whose content has to be compared. Blocks; belongs in a thread.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from rundlet.image.history import layer_steps
from rundlet.image.records import Layer
from rundlet.oci.config import ImageConfig
from rundlet.storage.layer.diff import is_opaque
from rundlet.storage.layer.whiteout import is_whiteout

Kind = Literal["added", "changed", "deleted"]
_BLOCK = 1 << 20


class FileChange(msgspec.Struct, frozen=True):
    """One path, without its leading slash. ``size`` in bytes; ``wasted`` what it hides of lower layers' files."""

    path: str
    kind: Kind
    size: int
    wasted: int = 0


class LayerAnatomy(msgspec.Struct, frozen=True):
    """One layer; ``wasted`` are bytes of lower layers that travel with the image although nobody sees them."""

    diff_id: str
    created_by: str
    size: int
    files: tuple[FileChange, ...]

    @property
    def wasted(self) -> int:
        return sum(change.wasted for change in self.files)

    def count(self, kind: Kind) -> int:
        return sum(change.kind == kind for change in self.files)


class _File(NamedTuple):
    """An entry as it is seen; ``place`` is where it is on disk."""

    mode: int
    uid: int
    gid: int
    size: int
    rdev: int
    place: bytes

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


_State = dict[bytes, _File]


def layers(config: ImageConfig, stack: Sequence[Layer], directories: Sequence[str]) -> list[LayerAnatomy]:
    """Every layer of ``stack`` (bottom first, unpacked in ``directories``). Raises OSError."""
    state: _State = {}
    found = []
    for layer, step, directory in zip(stack, layer_steps(config, len(stack)), directories, strict=True):
        changes = _merged(_apply(state, os.fsencode(directory)))
        found.append(LayerAnatomy(str(layer.diff_id), step, layer.size, changes))
    return found


def _merged(changes: Iterable[FileChange]) -> tuple[FileChange, ...]:
    """By path; what an opaque directory hides and holds again has changed."""
    found: dict[str, FileChange] = {}
    for change in changes:
        old = found.get(change.path)
        if old is not None and old.kind == "deleted":
            change = FileChange(change.path, "changed", change.size, old.wasted + change.wasted)  # noqa: PLW2901
        found[change.path] = change
    return tuple(found[path] for path in sorted(found))


def differences(first: Sequence[str], second: Sequence[str]) -> list[FileChange]:
    """What changes from the files of one stack of directories (bottom first) to those of another. Raises OSError.

    Type, owner, mode, device, link target and content count; times and extended attributes do not.
    """
    before, after = _state(first), _state(second)
    changes = []
    for path, file in after.items():
        old = before.get(path)
        if old is None:
            changes.append(FileChange(_text(path), "added", file.size))
        elif not _same(old, file):
            changes.append(FileChange(_text(path), "changed", file.size))
    changes += [FileChange(_text(path), "deleted", file.size) for path, file in before.items() if path not in after]
    return sorted(changes, key=lambda change: change.path)


def _state(directories: Iterable[str]) -> _State:
    state: _State = {}
    for directory in directories:
        for _ in _apply(state, os.fsencode(directory)):
            pass
    return state


def _apply(state: _State, root: bytes) -> Iterator[FileChange]:
    """Put a layer on top of ``state``; what that changes, in no order."""
    linked: set[int] = set()
    for path, status, opaque in _walk(root):
        if is_whiteout(status):
            yield from _hide(state, path, itself=True)
            continue
        # Of a file with several names only the first weighs anything.
        weighs = stat.S_ISREG(status.st_mode) and status.st_ino not in linked
        linked.add(status.st_ino)
        size = status.st_size if weighs else 0
        file = _File(status.st_mode, status.st_uid, status.st_gid, size, status.st_rdev, root + b"/" + path)
        old = state.get(path)
        if opaque or (old is not None and old.is_directory and not file.is_directory):
            yield from _hide(state, path, itself=False)
        state[path] = file
        if old is None:
            yield FileChange(_text(path), "added", size)
        elif not (old.is_directory and file.is_directory and old[:3] == file[:3]):
            # A directory that only holds something changed is repeated in the layer as it was.
            yield FileChange(_text(path), "changed", size, old.size)


def _hide(state: _State, path: bytes, *, itself: bool) -> Iterator[FileChange]:
    """Take ``path`` (when ``itself``) and all below it out of ``state``."""
    below = path + b"/"
    for name in [name for name in state if name.startswith(below)] if _has_children(state, path) else []:
        gone = state.pop(name)
        yield FileChange(_text(name), "deleted", 0, gone.size)
    if itself and path in state:
        gone = state.pop(path)
        yield FileChange(_text(path), "deleted", 0, gone.size)


def _has_children(state: _State, path: bytes) -> bool:
    old = state.get(path)
    return old is not None and old.is_directory


def _walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result, bool]]:
    """Everything below ``root``, parents first: relative path, status, whether it is an opaque directory."""
    pending = [b""]
    while pending:
        base = pending.pop()
        with os.scandir(root + b"/" + base) as entries:
            for entry in entries:
                path = base + b"/" + entry.name if base else entry.name
                status = entry.stat(follow_symlinks=False)
                opaque = False
                if stat.S_ISDIR(status.st_mode):
                    pending.append(path)
                    opaque = _is_opaque(root + b"/" + path)
                yield path, status, opaque


def _is_opaque(path: bytes) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return is_opaque(fd)
    finally:
        os.close(fd)


def _same(old: _File, new: _File) -> bool:
    if old.place == new.place:
        return True
    if (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid):
        return False
    if stat.S_ISLNK(old.mode):
        return os.readlink(old.place) == os.readlink(new.place)
    if stat.S_ISREG(old.mode):
        return _same_content(old.place, new.place)
    return old.rdev == new.rdev


def _same_content(first: bytes, second: bytes) -> bool:
    with open(first, "rb", buffering=0) as one, open(second, "rb", buffering=0) as two:
        if os.fstat(one.fileno()).st_size != os.fstat(two.fileno()).st_size:
            return False
        while True:
            data = one.read(_BLOCK)
            if data != two.read(_BLOCK):
                return False
            if not data:
                return True


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
