"""Which snapshotter a data root gets: overlayfs where it can write there, else copies. Decided once, and noted."""

import os
from typing import Final

from rundlet.daemon.errors import ConfigError
from rundlet.linux import libc, mount
from rundlet.storage.tree import remove_path
from rundlet.util import fs
from rundlet.util.layout import Layout

OVERLAY: Final = "overlay2"
VFS: Final = "vfs"
_FILE: Final = "storage-driver"


def choose(layout: Layout, wanted: str) -> str:
    """``wanted`` is a driver, or empty. Raises ConfigError where the data root was begun with another, OSError."""
    path = f"{layout.root}/{_FILE}"
    begun = _begun(layout, path)
    if begun and wanted in ("", begun):
        return begun
    if begun:
        raise ConfigError(f"storage-driver: {layout.root} was begun with {begun}: {wanted} takes another data root")
    chosen = wanted or (OVERLAY if fit(layout.snapshots) else VFS)
    fs.write_atomic(path, chosen.encode() + b"\n", mode=0o600)
    return chosen


def on_a_network(directory: str) -> str:
    """The kind of file system if ``directory`` is on another machine; empty for a local one. Raises OSError.

    What lies there has no memory that several processes share.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mount.ANSWERED_BY_OTHERS.get(libc.filesystem_type(fd), "")
    finally:
        os.close(fd)


def fit(directory: str) -> bool:
    """Whether overlayfs can write below ``directory``; what is made to find that out is removed. Raises OSError."""
    place = f"{directory}/.probe-{os.urandom(6).hex()}"
    os.mkdir(place, 0o700)
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{place}/{name}", 0o700)
        try:
            os.close(mount.overlay([f"{place}/lower"], f"{place}/upper", f"{place}/work"))
        except OSError:
            return False
        return True
    finally:
        remove_path(place)


def _begun(layout: Layout, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        # Before drivers were written down there was one.
        return OVERLAY if any(not name.startswith(".") for name in os.listdir(layout.snapshots)) else ""
