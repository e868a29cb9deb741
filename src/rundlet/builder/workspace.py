"""One build's directory on disk, and how workers get to see what its steps read and write.

``<root>/builds/<name>/``: ``context`` (what the client sent), ``upper``, ``work``, ``merged``, ``empty`` (for views),
``files`` (downloads, scripts). ``<run>/builds/<name>/``: secrets; never on a disk that outlives the machine's run. A
directory that is there when the engine starts is what a killed engine left, and is removed.
"""

import os
import secrets
import stat
from collections.abc import Sequence
from typing import Final

from rundlet.builder.memo import PickMemo
from rundlet.image.records import Layer
from rundlet.linux import path as safe_path
from rundlet.storage.files.access import FileAccess, Place
from rundlet.storage.files.view import Layers
from rundlet.storage.layer.unpack import WorkerLauncher
from rundlet.storage.snapshot import Snapshotter
from rundlet.storage.tree import remove_path
from rundlet.util.layout import Layout

_INSIDE: Final = safe_path.RESOLVE_BENEATH | safe_path.RESOLVE_NO_SYMLINKS


class Workspace:
    """Of one build. :meth:`remove` it at the end. ``memo`` remembers what was found in the context."""

    def __init__(self, layout: Layout, snapshots: Snapshotter, workers: WorkerLauncher) -> None:
        self.name = secrets.token_hex(8)
        self.path = f"{layout.builds}/{self.name}"
        self._secrets = f"{layout.run}/builds/{self.name}"
        self._snapshots = snapshots
        self._workers = workers
        self._count = 0
        self.memo = PickMemo()

    def make(self) -> None:
        """Raises OSError."""
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        os.mkdir(self.path, 0o700)
        for name in ("context", "work", "merged", "empty", "nothing", "files"):
            os.mkdir(f"{self.path}/{name}", 0o755)

    def remove(self) -> None:
        """Everything; blocks. Raises OSError."""
        remove_path(self.path)
        remove_path(self._secrets)

    @property
    def context(self) -> str:
        return f"{self.path}/context"

    def directory(self, kind: str) -> str:
        """A new directory of the build's own."""
        self._count += 1
        path = f"{self.path}/files/{kind}-{self._count}"
        os.mkdir(path, 0o755)
        return path

    def secret_directory(self) -> str:
        """A new directory in memory, that nobody else may enter."""
        os.makedirs(os.path.dirname(self._secrets), 0o700, exist_ok=True)
        os.makedirs(self._secrets, 0o700, exist_ok=True)
        self._count += 1
        path = f"{self._secrets}/{self._count}"
        os.mkdir(path, 0o700)
        return path

    def read_directory(self, path: str) -> FileAccess:
        """To read below the directory ``path``."""
        return self._access([f"{self.path}/empty"], path, path)

    def write_directory(self, path: str) -> FileAccess:
        """To write below the directory ``path``."""
        work = self.directory("work")
        return FileAccess(self._workers, Place(layers=self._layers([f"{self.path}/empty"], path, work, path)))

    def read_stack(self, stack: Sequence[Layer]) -> FileAccess:
        """To read the files of an image."""
        # Not the directory above it: overlay takes none twice.
        lower = self._snapshots.stack(stack[-1].chain if stack else None) or [f"{self.path}/nothing"]
        return self._access(lower, f"{self.path}/empty", lower[0])

    def is_plain(self, stack: Sequence[Layer], path: str) -> bool:
        """Whether ``path`` is a directory or a file of an image, without a link on the way. Blocks."""
        for layer in reversed(stack):
            root = os.open(self._snapshots.layer(layer.chain).path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fd = safe_path.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, 0, _INSIDE)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return False
            finally:
                os.close(root)
            try:
                kind = os.fstat(fd).st_mode
                return stat.S_ISDIR(kind) or stat.S_ISREG(kind)
            finally:
                os.close(fd)
        return False

    def write_snapshot(self, container_id: str) -> FileAccess:
        """To write to a container snapshot that nothing runs in."""
        rootfs = self._snapshots.container(container_id)
        layers = Layers(lower=rootfs.lower, upper=rootfs.upper, work=rootfs.work, merged=rootfs.merged, binds=[])
        if rootfs.tree:
            layers["path"] = rootfs.tree
        return FileAccess(self._workers, Place(layers=layers))

    def _access(self, lower: list[str], upper: str, whole: str) -> FileAccess:
        return FileAccess(self._workers, Place(layers=self._layers(lower, upper, f"{self.path}/work", whole)))

    def _layers(self, lower: list[str], upper: str, work: str, whole: str) -> Layers:
        """``whole`` has all files that there are, for a snapshotter that mounts nothing."""
        layers = Layers(lower=lower, upper=upper, work=work, merged=f"{self.path}/merged", binds=[])
        if self._snapshots.driver != "overlay2":
            layers["path"] = whole
        return layers


def remove_leftovers(layout: Layout) -> None:
    """At an engine's start: the directories of builds that ended with the engine before. Blocks. Raises OSError."""
    for parent in (layout.builds, f"{layout.run}/builds"):
        try:
            names = os.listdir(parent)
        except FileNotFoundError:
            continue
        for name in names:
            remove_path(f"{parent}/{name}")
