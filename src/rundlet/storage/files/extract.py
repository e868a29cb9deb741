"""Into a container: an archive's members below one of its directories. Standard library and ``linux`` only.

Unlike a layer, the target is full of somebody else's files, who may be at work on them. Links in the way are followed
inside the container's root, by the kernel. An entry replaces what has its name, unless both are directories; with
``keep_kinds`` a directory and anything else never replace each other. Names that begin with ``.wh.`` are ordinary.
"""

import os
import stat
from collections.abc import Callable

from rundlet.linux import path
from rundlet.storage.layer import fields, tar
from rundlet.storage.layer.apply import Applier, EntryError, LayerError, give
from rundlet.storage.layer.tar import Entry


class OverwriteError(LayerError):
    """A directory and something else are in each other's way."""


class Extractor(Applier):
    """``directory`` is the target's descriptor, ``where`` its absolute path in the container, whose root is ``root``.

    ``owner``: (uid, gid) of everything that is made, instead of the archive's. Raises what the Applier raises.
    """

    def __init__(
        self,
        root: int,
        directory: int,
        where: str,
        reader: tar.Reader,
        *,
        keep_kinds: bool,
        owner: tuple[int, int] | None,
    ) -> None:
        super().__init__(directory, reader)
        self._container = root
        self._where = where
        self._keep_kinds = keep_kinds
        self._owner = owner

    def _entry(self, entry: Entry) -> None:
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        self._forget_many()
        self._check_owner(entry)
        directory, _, base = entry.name.rpartition(b"/")
        if self._keep_kinds:
            self._check_kinds(directory, base, entry)
        self._make(directory, base, entry)

    def _check_kinds(self, directory: bytes, base: bytes, entry: Entry) -> None:
        try:
            mode = os.lstat(base, dir_fd=self._existing(directory)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as exc:
            raise EntryError("write", entry.name, exc) from exc
        is_directory = stat.S_ISDIR(mode)
        if is_directory == (entry.type == tar.DIRECTORY):
            return
        there = fields.quote(os.fsencode(self._where.rstrip("/")) + b"/" + entry.name)
        target = fields.quote(os.fsencode(self._where))
        if is_directory:
            raise OverwriteError(f"cannot overwrite directory {there} with non-directory {target}")
        raise OverwriteError(f"cannot overwrite non-directory {there} with directory {target}")

    def _own(self, entry: Entry, change: Callable[[int, int], None], fd: int = -1) -> None:
        # Always: a set-group-ID directory gives its group to what is made in it, and what exists has an owner.
        give(entry, change, fd)

    def _follow(self, whole: bytes, flags: int) -> int:
        inside = f"{self._where.rstrip('/')}/{os.fsdecode(whole)}"
        return path.open_in_root(self._container, inside, flags)
