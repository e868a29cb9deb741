"""Named and anonymous volumes of the ``local`` driver.

A volume is a row and a directory ``volumes/<name>/_data``. Create: directory, then row (a directory without a row is
swept at start). Delete: row first, then the directory. Use counts are the caller's: it knows the containers.
"""

import os
import re
from collections.abc import Callable

import msgspec

from rundlet.errors import ConflictError, InternalError, InvalidParameterError, NotFoundError
from rundlet.util import ids
from rundlet.util.clock import Clock
from rundlet.util.database import Database
from rundlet.volume.options import check

SCHEMA: tuple[str, ...] = ("CREATE TABLE IF NOT EXISTS volumes (name TEXT PRIMARY KEY, document BLOB NOT NULL) STRICT",)
ANONYMOUS = "com.docker.volume.anonymous"  # the label of a volume that nobody named
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")


class Volume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``path`` is the directory that containers see; ``anonymous`` volumes go with ``rm -v`` and ``--rm``."""

    name: str
    path: str
    created_ns: int
    driver: str = "local"
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    anonymous: bool = False


class NoSuchVolumeError(NotFoundError):
    reason = "no-such-volume"

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")


class VolumeInUseError(ConflictError):
    reason = "volume-in-use"

    def __init__(self, name: str, containers: list[str]) -> None:
        super().__init__(f"remove {name}: volume is in use - [{', '.join(containers)}]")


class InvalidVolumeNameError(InvalidParameterError):
    reason = "invalid-volume-name"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
            if len(name) == 1
            else f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


class VolumeCreateError(InternalError):
    """The disk is full, say."""

    reason = "volume-create"

    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(f"error while creating volume path '{path}': {(error.strerror or str(error)).lower()}")


class VolumeBusyError(ConflictError):
    reason = "volume-busy"

    def __init__(self, volume: Volume) -> None:
        super().__init__(f"remove {volume.name}: {volume.path}: device or resource busy")


class VolumeStore:
    """The only writer below ``volumes/``.

    ``remove`` takes a directory away with all below it: containers nest directories deeper than any path is long.
    """

    def __init__(self, root: str, database: Database, clock: Clock, remove: Callable[[str], None]) -> None:
        self._root = root
        self._database = database
        self._clock = clock
        self._remove = remove
        rows = database.query("SELECT document FROM volumes")
        self._volumes = {volume.name: volume for volume in (msgspec.json.decode(row[0], type=Volume) for row in rows)}

    def sweep(self) -> list[str]:
        """Remove directories that no row owns (creation or removal was cut off); returns their names."""
        lost = [name for name in sorted(os.listdir(self._root)) if name not in self._volumes]
        for name in lost:
            if not _has_mounts(f"{self._root}/{name}"):  # What is mounted there is not ours to remove.
                self._remove(f"{self._root}/{name}")
        return lost

    def get(self, name: str) -> Volume:
        """Raises NoSuchVolumeError."""
        try:
            return self._volumes[name]
        except KeyError:
            raise NoSuchVolumeError(name) from None

    def all(self) -> list[Volume]:
        return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """Make a volume, or return the one of that name. No name makes an anonymous one.

        Raises InvalidVolumeNameError, VolumeOptionError, NotFoundError (for a driver), VolumeCreateError.
        """
        if driver not in ("", "local"):
            made = f"create {name}" if name else "create"
            raise NotFoundError(f'{made}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        known = self._volumes.get(name)
        if known is not None:
            return known
        anonymous = anonymous or not name
        name = name or ids.new_id()
        if not _NAME.match(name):
            raise InvalidVolumeNameError(name)
        check(name, options or {})
        path = f"{self._root}/{name}/_data"
        try:
            os.makedirs(path, 0o755, exist_ok=True)
            os.chmod(path, 0o755)  # noqa: S103  containers of any user write below it
            os.chmod(f"{self._root}/{name}", 0o701)
        except OSError as exc:
            raise VolumeCreateError(path, exc) from exc
        volume = Volume(
            name=name,
            path=path,
            created_ns=self._clock.now_ns(),
            labels=(labels or {}) | ({ANONYMOUS: ""} if anonymous else {}),
            options=options or {},
            anonymous=anonymous,
        )
        with self._database.transaction() as cursor:
            cursor.execute("INSERT INTO volumes VALUES (?, ?)", (name, msgspec.json.encode(volume)))
        self._volumes[name] = volume
        return volume

    def remove(self, name: str, users: Callable[[str], list[str]]) -> Volume:
        """Forget a volume that no container uses (``users`` gives their IDs); the caller removes its directory.

        Raises NoSuchVolumeError, VolumeInUseError.
        """
        volume = self.get(name)
        containers = users(name)
        if containers:
            raise VolumeInUseError(name, containers)
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM volumes WHERE name = ?", (name,))
        del self._volumes[name]
        return volume

    def discard(self, volume: Volume) -> None:
        """Remove a forgotten volume's directory; takes as long as its files are many (call it in a thread).

        Raises VolumeBusyError while something is mounted there: that is not the volume's to remove.
        """
        directory = os.path.dirname(volume.path)
        if _has_mounts(directory):
            raise VolumeBusyError(volume)
        self._remove(directory)


def _has_mounts(directory: str) -> bool:
    """Whether anything is mounted at or below ``directory``."""
    real = os.path.realpath(directory)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(f"{_unescaped(line.split(' ', 5)[4])}/".startswith(f"{real}/") for line in file)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
