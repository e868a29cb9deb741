"""Snapshots for overlayfs: one directory for each layer, an upper and a work directory for each container.

On disk, under the snapshots directory: ``<name>/fs`` for a layer, ``<name>/upper``, ``<name>/work``, ``<name>/merged``
and ``<name>/empty`` for a container, where ``<name>`` is short (mount options are) and closed to other users (layers
hold set-user-ID programs of foreign origin).

The rows are the truth: a directory gets its (committed) row when it is whole and loses it before the first file of it
goes. A directory without such a row is what a killed engine left behind, and :meth:`OverlaySnapshotter.sweep` removes
it. A layer has a row of state ``preparing`` from the start, so that its parent is not removed meanwhile.
"""

import errno
import logging
import os
import secrets
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from rundlet.linux import inode_flags
from rundlet.oci.digest import Digest
from rundlet.storage.errors import (
    LayerInUseError,
    LayerNotFoundError,
    SnapshotExistsError,
    SnapshotNotFoundError,
    translated,
)
from rundlet.storage.snapshot.snapshotter import LayerInfo, Preparation, Rootfs
from rundlet.storage.sync import boot_id, sync_filesystem
from rundlet.storage.tree import remove_path, tree_size
from rundlet.util.clock import Clock
from rundlet.util.database import Database, StateError

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS layers (
        name TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('preparing', 'committed')),
        chain TEXT,
        parent TEXT,
        diff_id TEXT,
        size INTEGER NOT NULL DEFAULT 0,
        durable INTEGER NOT NULL DEFAULT 0,
        boot TEXT NOT NULL,
        created_ns INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS layers_by_chain ON layers (chain) WHERE state = 'committed'",
    """CREATE TABLE IF NOT EXISTS container_snapshots (
        container TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        chain TEXT,
        created_ns INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS mounted_layers (
        container TEXT NOT NULL,
        chain TEXT NOT NULL,
        PRIMARY KEY (container, chain)
    )""",
)
_log = logging.getLogger(__name__)
_SELECT_LAYER: Final = (
    "SELECT chain, parent, diff_id, size, name, created_ns FROM layers WHERE chain = ? AND state = 'committed'"
)
_SELECT_LAYERS: Final = (
    "SELECT chain, parent, diff_id, size, name, created_ns FROM layers WHERE state = 'committed' ORDER BY created_ns"
)
_SELECT_USERS: Final = (
    "SELECT container FROM container_snapshots WHERE chain = :chain"
    " UNION SELECT container FROM mounted_layers WHERE chain = :chain"
)
_FORBIDDEN_XATTRS: Final = ("trusted.overlay.", "user.overlay.")


class OverlaySnapshotter:
    """The Snapshotter that mounts with overlayfs. Thread-safe as its database is."""

    driver = "overlay2"

    def __init__(self, root: str, database: Database, clock: Clock, *, layer_limit: int | None = None) -> None:
        """``layer_limit``: bytes of a layer's tar at most, None for any size."""
        self.layer_limit = layer_limit
        self._root = root
        self._database = database
        self._clock = clock
        self._boot = boot_id()
        self._leftovers: set[str] = set()
        self._stubborn: set[str] = set()
        _spread(root)

    def has_layer(self, chain: Digest) -> bool:
        return bool(self._database.query("SELECT 1 FROM layers WHERE chain = ? AND state = 'committed'", (str(chain),)))

    def layer(self, chain: Digest) -> LayerInfo:
        rows = self._database.query(_SELECT_LAYER, (str(chain),))
        if not rows:
            raise LayerNotFoundError(chain)
        return self._info(rows[0])

    def layers(self) -> list[LayerInfo]:
        return [self._info(row) for row in self._database.query(_SELECT_LAYERS)]

    def stack(self, chain: Digest | None) -> list[str]:
        with self._database.transaction() as cursor:
            return self._chain_paths(cursor, chain)

    def settle(self, container_id: str) -> None:
        """Overlayfs writes there itself."""

    def prepare_layer(self, parent: Digest | None) -> Preparation:
        name = _new_name()
        with self._database.transaction(durable=False) as cursor:
            cursor.execute(
                "INSERT INTO layers (name, state, parent, boot, created_ns) VALUES (?, 'preparing', ?, ?, ?)",
                (name, _text(parent), self._boot, self._clock.now_ns()),
            )
        preparation = Preparation(name, f"{self._root}/{name}/fs", parent, self.layer_limit)
        model = self.layer(parent).path if parent is not None and self.has_layer(parent) else None
        try:
            with translated("prepare layer", preparation.path):
                os.mkdir(f"{self._root}/{name}", 0o700)
                _make_root(preparation.path, model)
        except BaseException:
            self.abort_layer(preparation)
            raise
        return preparation

    def adopt_layer(self, preparation: Preparation, parent: Digest | None) -> Preparation:
        if parent is None:
            return preparation
        with self._database.transaction(durable=False) as cursor:
            cursor.execute(
                "UPDATE layers SET parent = ? WHERE name = ? AND state = 'preparing'", (str(parent), preparation.name)
            )
            if not cursor.rowcount:
                raise LayerNotFoundError(parent)  # it was aborted meanwhile
        if self.has_layer(parent):
            with translated("prepare layer", preparation.path):
                _copy_attributes(self.layer(parent).path, preparation.path)
        return msgspec.structs.replace(preparation, parent=parent)

    def commit_layer(self, preparation: Preparation, chain: Digest, diff_id: Digest, size: int) -> None:
        parent = preparation.parent
        if parent is not None and not self.has_layer(parent):
            raise LayerNotFoundError(parent)
        # The image that needs the layer is recorded after it, durably, and takes this along. Without its row the
        # directory is nobody's, and goes at the next start.
        with self._database.transaction(durable=False) as cursor:
            cursor.execute("SELECT 1 FROM layers WHERE chain = ? AND state = 'committed'", (str(chain),))
            late = cursor.fetchone() is not None
            if not late:
                cursor.execute(
                    "UPDATE layers SET state = 'committed', chain = ?, diff_id = ?, size = ? WHERE name = ?",
                    (str(chain), str(diff_id), size, preparation.name),
                )
                if not cursor.rowcount:
                    raise LayerNotFoundError(chain)  # it was aborted meanwhile
        if late:  # somebody else brought the same layer meanwhile
            self.abort_layer(preparation)

    def abort_layer(self, preparation: Preparation) -> None:
        try:
            mine = self._forget(preparation.name)
        except StateError as exc:
            rows = self._database.query("SELECT state FROM layers WHERE name = ?", (preparation.name,))
            if not exc.full or rows != [("preparing",)]:
                raise
            # The disk has no room even for the loss of a row. The directory makes some.
            self._remove_directory(preparation.name)
            self._forget(preparation.name)
            return
        if mine:
            self._remove_directory(preparation.name)

    def _forget(self, name: str) -> bool:
        """Remove the row of a preparation; whether it was there."""
        with self._database.transaction(durable=False, freeing=True) as cursor:
            cursor.execute("DELETE FROM layers WHERE name = ? AND state = 'preparing'", (name,))
            return cursor.rowcount > 0

    def drop_layer(self, chain: Digest) -> str:
        name = os.path.basename(os.path.dirname(self.layer(chain).path))
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("SELECT chain FROM layers WHERE parent = ?", (str(chain),))
            if row := cursor.fetchone():
                raise LayerInUseError(chain, f"layer {row[0]}" if row[0] else "a layer being unpacked")
            cursor.execute(_SELECT_USERS, {"chain": str(chain)})
            if row := cursor.fetchone():
                raise LayerInUseError(chain, f"container {row[0][:12]}")
            cursor.execute("DELETE FROM layers WHERE name = ?", (name,))
        return name

    def clear(self, name: str) -> None:
        self._remove_directory(name)

    def prepare_container(self, container_id: str, chain: Digest | None, mounted: Iterable[Digest] = ()) -> Rootfs:
        name = _new_name()
        base = f"{self._root}/{name}"
        with self._database.transaction() as cursor:
            cursor.execute("SELECT 1 FROM container_snapshots WHERE container = ?", (container_id,))
            if cursor.fetchone():
                raise SnapshotExistsError(container_id)
            lower = self._chain_paths(cursor, chain)
            try:
                with translated("prepare snapshot", base):
                    os.mkdir(base, 0o700)
                    for directory in ("work", "merged", *(() if lower else ("empty",))):
                        os.mkdir(f"{base}/{directory}", 0o755)
                    _make_root(f"{base}/upper", lower[0] if lower else None)
            except BaseException:
                self._remove_directory(name)
                raise
            cursor.execute(
                "INSERT INTO container_snapshots (container, name, chain, created_ns) VALUES (?, ?, ?, ?)",
                (container_id, name, _text(chain), self._clock.now_ns()),
            )
            cursor.executemany(
                "INSERT OR IGNORE INTO mounted_layers (container, chain) VALUES (?, ?)",
                [(container_id, str(one)) for one in mounted],
            )
        return self._rootfs(base, lower)

    def adopt(self, container_id: str, chain: Digest, diff_id: Digest, size: int) -> None:
        rows = self._database.query("SELECT name, chain FROM container_snapshots WHERE container = ?", (container_id,))
        if not rows:
            raise SnapshotNotFoundError(container_id)
        source, parent = rows[0]
        name = _new_name()
        with translated("adopt layer", f"{self._root}/{name}"):
            os.mkdir(f"{self._root}/{name}", 0o700)
            os.rename(f"{self._root}/{source}/upper", f"{self._root}/{name}/fs")
        late = False
        try:
            with self._database.transaction() as cursor:
                if parent is not None:
                    cursor.execute("SELECT 1 FROM layers WHERE chain = ? AND state = 'committed'", (parent,))
                    if cursor.fetchone() is None:
                        raise LayerNotFoundError(Digest.parse(parent))
                cursor.execute("SELECT 1 FROM layers WHERE chain = ? AND state = 'committed'", (str(chain),))
                late = cursor.fetchone() is not None
                if not late:
                    cursor.execute(
                        "INSERT INTO layers (name, state, chain, parent, diff_id, size, boot, created_ns) "
                        "VALUES (?, 'committed', ?, ?, ?, ?, ?, ?)",
                        (name, str(chain), parent, str(diff_id), size, self._boot, self._clock.now_ns()),
                    )
        except BaseException:
            self._remove_directory(name)
            raise
        if late:  # another one has just made the same layer
            self._remove_directory(name)

    def container(self, container_id: str) -> Rootfs:
        with self._database.transaction() as cursor:
            cursor.execute("SELECT name, chain FROM container_snapshots WHERE container = ?", (container_id,))
            row = cursor.fetchone()
            if row is None:
                raise SnapshotNotFoundError(container_id)
            return self._rootfs(f"{self._root}/{row[0]}", self._chain_paths(cursor, _digest(row[1])))

    def containers(self) -> dict[str, Digest | None]:
        rows = self._database.query("SELECT container, chain FROM container_snapshots")
        return {container: _digest(chain) for container, chain in rows}

    def remove_container(self, container_id: str) -> None:
        name = self._container_name(container_id)
        if name is None:
            return
        base = f"{self._root}/{name}"
        with translated("remove", f"{base}/merged"):
            if _is_mount(f"{base}/merged"):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        # Files before the row: on a full disk the row can only go once there is room again. The container's record is
        # a tombstone by now, so a removal that is cut off here is finished at the next start.
        self._remove_directory(name)
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM container_snapshots WHERE container = ?", (container_id,))
            cursor.execute("DELETE FROM mounted_layers WHERE container = ?", (container_id,))

    def usage(self, container_id: str) -> int:
        name = self._container_name(container_id)
        if name is None:
            raise SnapshotNotFoundError(container_id)
        path = f"{self._root}/{name}/upper"
        # Other file systems under a root that is the host's have theirs beside it.
        below = f"{self._root}/{name}/below"
        with translated("measure", path):
            return tree_size(path) + (tree_size(below) if os.path.isdir(below) else 0)

    def sweep(self) -> None:
        for name in list(self._leftovers):
            self._remove_leftover(name)

    def sync(self) -> None:
        names = [
            row[0] for row in self._database.query("SELECT name FROM layers WHERE state = 'committed' AND durable = 0")
        ]
        if not names:
            return
        with translated("sync", self._root):
            sync_filesystem(self._root)
        with self._database.transaction() as cursor:
            cursor.executemany("UPDATE layers SET durable = 1 WHERE name = ?", [(name,) for name in names])

    def check(self) -> list[Digest]:
        dropped = self._drop_damaged()
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM layers WHERE state = 'preparing'")
        known = {
            name
            for select in ("SELECT name FROM layers", "SELECT name FROM container_snapshots")
            for (name,) in self._database.query(select)
        }
        with translated("clean up", self._root):
            self._leftovers = {name for name in os.listdir(self._root) if name not in known}
        return dropped

    def _remove_leftover(self, name: str) -> None:
        """What can't go now (a killed engine's worker still writes, a mount is left) is tried again."""
        try:
            remove_path(f"{self._root}/{name}")
        except OSError as exc:
            if name not in self._stubborn:
                _log.warning("could not remove the leftover snapshot %s yet: %s", name, exc)
            self._stubborn.add(name)
        else:
            self._leftovers.discard(name)

    def _drop_damaged(self) -> list[Digest]:
        """Forget layers whose files may be missing: never synced and of another boot, or without a directory.

        Layers and containers above them stay: the same chain ID, unpacked again, takes the old one's place.
        """
        rows = self._database.query("SELECT chain, name, durable, boot FROM layers WHERE state = 'committed'")
        bad = [
            chain
            for chain, name, durable, boot in rows
            if (not durable and boot != self._boot) or not os.path.isdir(f"{self._root}/{name}/fs")
        ]
        with self._database.transaction(freeing=True) as cursor:
            cursor.executemany("DELETE FROM layers WHERE chain = ?", [(chain,) for chain in bad])
        return sorted(Digest.parse(chain) for chain in bad)

    def _container_name(self, container_id: str) -> str | None:
        rows = self._database.query("SELECT name FROM container_snapshots WHERE container = ?", (container_id,))
        return rows[0][0] if rows else None

    def _remove_directory(self, name: str) -> None:
        path = f"{self._root}/{name}"
        with translated("remove", path):
            remove_path(path)

    def _chain_paths(self, cursor: Any, chain: Digest | None) -> list[str]:
        """The directories of ``chain`` and all below it, topmost first. Raises LayerNotFoundError."""
        paths = []
        while chain is not None:
            cursor.execute("SELECT name, parent FROM layers WHERE chain = ? AND state = 'committed'", (str(chain),))
            row = cursor.fetchone()
            if row is None:
                raise LayerNotFoundError(chain)
            paths.append(f"{self._root}/{row[0]}/fs")
            chain = _digest(row[1])
        return paths

    def _rootfs(self, base: str, lower: list[str]) -> Rootfs:
        return Rootfs(lower or [f"{base}/empty"], f"{base}/upper", f"{base}/work", f"{base}/merged")

    def _info(self, row: tuple[Any, ...]) -> LayerInfo:
        chain, parent, diff_id, size, name, created_ns = row
        path = f"{self._root}/{name}/fs"
        return LayerInfo(Digest.parse(chain), _digest(parent), Digest.parse(diff_id), size, path, created_ns)


def _spread(root: str) -> None:
    """Have each snapshot in a part of the disk of its own, where the file system can (ext4).

    ext4 does not give an inode away again for minutes after its deletion, and looks at every such inode of a group for
    each new file there: a pull after a removal took five times the kernel time of the first. It also lets two layers
    that are unpacked at once work in different groups.
    """
    try:
        inode_flags.add(root, inode_flags.TOPDIR)
    except OSError:
        pass  # other file systems have no groups


def _new_name() -> str:
    return secrets.token_hex(6)


def _text(chain: Digest | None) -> str | None:
    return None if chain is None else str(chain)


def _digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)


def _is_mount(path: str) -> bool:
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        return False


def _make_root(path: str, model: str | None) -> None:
    """Make directory ``path`` with the owner, mode and attributes of ``model``; without one as Docker: 0755, root's."""
    os.mkdir(path, 0o755)
    if model is None:
        os.chown(path, os.geteuid(), os.getegid())
        os.chmod(path, 0o755)  # noqa: S103 the root of a file system; nobody can reach it from outside
        return
    _copy_attributes(model, path)


def _copy_attributes(model: str, path: str) -> None:
    status = os.stat(model)
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, status.st_mode & 0o7777)
    for name in os.listxattr(model):
        if not name.startswith(_FORBIDDEN_XATTRS):
            os.setxattr(path, name, os.getxattr(model, name))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
