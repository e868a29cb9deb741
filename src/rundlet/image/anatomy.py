"""What each layer of an image does to the files below it, and how the files of two images differ.

Reads the layers' directories, which never change, by ``lstat`` alone: nothing of an image is opened but the regular
files whose content has to be compared. It goes through all layers together, directory by directory, so that an image of
a million files takes no more memory than its largest directory, besides what is to be shown of it. Blocks; belongs in a
thread.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
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
    counts: Mapping[Kind, int]
    wasted: int
    files: tuple[FileChange, ...]
    """By path; none where they were not asked for."""


class _File(NamedTuple):
    """An entry as it is seen; ``places``: where it is on disk, of a directory all that it is made of, bottom first."""

    mode: int
    uid: int
    gid: int
    size: int
    rdev: int
    places: tuple[bytes, ...]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


def layers(
    config: ImageConfig, stack: Sequence[Layer], directories: Sequence[str], *, files: bool
) -> list[LayerAnatomy]:
    """Every layer of ``stack`` (bottom first, unpacked in ``directories``). Raises OSError."""
    steps = layer_steps(config, len(stack))
    counts: list[dict[Kind, int]] = [{"added": 0, "changed": 0, "deleted": 0} for _ in stack]
    wasted = [0] * len(stack)
    found: list[list[FileChange]] = [[] for _ in stack]
    for number, change in _changes(directories):
        counts[number][change.kind] += 1
        wasted[number] += change.wasted
        if files:
            found[number].append(change)
    return [
        LayerAnatomy(
            str(layer.diff_id),
            steps[number],
            layer.size,
            counts[number],
            wasted[number],
            tuple(sorted(found[number], key=_path)),
        )
        for number, layer in enumerate(stack)
    ]


def differences(first: Sequence[str], second: Sequence[str]) -> list[FileChange]:
    """What changes from the files of one stack of directories (bottom first) to those of another. Raises OSError.

    Type, owner, mode, device, link target and content count; times and extended attributes do not.
    """
    changes = []
    sizes = _Sizes()
    pending = [(b"", tuple(map(os.fsencode, first)), tuple(map(os.fsencode, second)))]
    while pending:
        base, olds, news = pending.pop()
        if olds == news:
            continue  # what both have from the same layers
        before, after = _merged(olds, sizes), _merged(news, sizes)
        below = []
        for name in sorted(before.keys() | after.keys()):
            path = base + name
            old, new = before.get(name), after.get(name)
            if old is None and new is not None:
                changes.append(FileChange(_text(path), "added", new.size))
            elif new is None and old is not None:
                changes.append(FileChange(_text(path), "deleted", old.size))
            elif old is not None and new is not None and not _same(old, new):
                changes.append(FileChange(_text(path), "changed", new.size))
            inner = _inside(old), _inside(new)
            if inner != ((), ()):
                below.append((path + b"/", *inner))
        pending += reversed(below)
    return sorted(changes, key=_path)


def _inside(file: _File | None) -> tuple[bytes, ...]:
    return file.places if file is not None and file.is_directory else ()


class _Sizes:
    """What files weigh: of one with several names in a layer only the first name weighs anything."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], bytes] = {}

    def of(self, status: os.stat_result, place: bytes) -> int:
        if not stat.S_ISREG(status.st_mode):
            return 0
        if status.st_nlink > 1 and self._seen.setdefault((status.st_dev, status.st_ino), place) != place:
            return 0
        return status.st_size


def _merged(places: Sequence[bytes], sizes: _Sizes) -> dict[bytes, _File]:
    """What a directory holds that is made of those at ``places``, bottom first."""
    found: dict[bytes, _File] = {}
    for place in places:
        for name, status in _listed(place).items():
            if is_whiteout(status):
                found.pop(name, None)
                continue
            inner = place + b"/" + name
            below = found.get(name)
            joined = stat.S_ISDIR(status.st_mode) and below is not None and below.is_directory and not _is_opaque(inner)
            found[name] = _file(status, (*below.places, inner) if joined and below else (inner,), sizes)
    return found


def _changes(directories: Sequence[str]) -> Iterator[tuple[int, FileChange]]:
    """What each layer, by its number, changes of those below it."""
    sizes = _Sizes()
    # The path, where each layer has the directory, and the layers that hide what those below them have in it.
    pending: list[tuple[bytes, dict[int, bytes], frozenset[int]]] = [
        (b"", {number: os.fsencode(directory) for number, directory in enumerate(directories)}, frozenset())
    ]
    while pending:
        base, places, hiding = pending.pop()
        found: dict[bytes, dict[int, os.stat_result]] = {}
        for number, place in places.items():
            for name, status in _listed(place).items():
                found.setdefault(name, {})[number] = status
        below: list[tuple[bytes, dict[int, bytes], frozenset[int]]] = []
        for name in sorted(found):
            inner: dict[int, bytes] = {}
            hidden: set[int] = set()
            old: _File | None = None
            for number in sorted(hiding | found[name].keys()) if hiding else found[name]:
                new = None
                gone = old if number in hiding else None
                here = found[name].get(number)
                if here is not None and is_whiteout(here):
                    gone = old
                elif here is not None:
                    place = places[number] + b"/" + name
                    new = _file(here, (place,), sizes)
                    if new.is_directory:
                        inner[number] = place
                    if old is not None and old.is_directory and (not new.is_directory or _is_opaque(place)):
                        hidden.add(number)
                if gone is not None and gone.is_directory:
                    hidden.add(number)
                change = _change(_text(base + name), old, new, gone=gone is not None)
                if change is not None:
                    yield number, change
                if new is not None or gone is not None:
                    old = new
            if inner:
                below.append((base + name + b"/", inner, frozenset(hidden)))
        pending += reversed(below)


def _change(path: str, old: _File | None, new: _File | None, *, gone: bool) -> FileChange | None:
    """What a layer that has ``new`` does to ``old``; ``gone``: it hides that itself, or with all of its directory."""
    if new is None:
        return FileChange(path, "deleted", 0, old.size) if gone and old is not None else None
    if old is None:
        return FileChange(path, "added", new.size)
    if not gone and old.is_directory and new.is_directory and old[:3] == new[:3]:
        return None  # a directory that only holds something changed is repeated in the layer as it was
    return FileChange(path, "changed", new.size, old.size)


def _listed(place: bytes) -> dict[bytes, os.stat_result]:
    """By name: the first name of a file is the same each time."""
    with os.scandir(place) as entries:
        return {entry.name: entry.stat(follow_symlinks=False) for entry in sorted(entries, key=attrgetter("name"))}


def _file(status: os.stat_result, places: tuple[bytes, ...], sizes: _Sizes) -> _File:
    size = sizes.of(status, places[-1])
    return _File(status.st_mode, status.st_uid, status.st_gid, size, status.st_rdev, places)


def _is_opaque(path: bytes) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return is_opaque(fd)
    finally:
        os.close(fd)


def _same(old: _File, new: _File) -> bool:
    if old.places[-1] == new.places[-1]:
        return True
    if (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid):
        return False
    if stat.S_ISLNK(old.mode):
        return os.readlink(old.places[-1]) == os.readlink(new.places[-1])
    if stat.S_ISREG(old.mode):
        return _same_content(old.places[-1], new.places[-1])
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


def _path(change: FileChange) -> str:
    return change.path


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
