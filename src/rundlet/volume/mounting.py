"""Volumes with driver options: mounted when the first container uses them, unmounted after the last.

The mounts are the host's, so they outlive an engine that is killed; the next one is told which containers run, and
takes down what none of them uses. A container that runs holds the file system itself, whatever happens to our mount.
"""

import contextlib
import errno
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping

from rundlet.errors import InternalError
from rundlet.linux import mount
from rundlet.volume import options
from rundlet.volume.store import NoSuchVolumeError, Volume, VolumeStore

_log = logging.getLogger(__name__)
_MOST_LAYERS = 64


class VolumeMountError(InternalError):
    reason = "volume-mount"

    def __init__(self, volume: Volume, problem: str) -> None:
        super().__init__(f"error while mounting volume '{volume.path}': {problem}")

    @classmethod
    def of_kernel(cls, volume: Volume, wanted: options.MountPlan, error: OSError) -> "VolumeMountError":
        """Everything that mount(2) was told, but for a password."""
        data = f", data: {wanted.shown}" if wanted.data else ""
        return cls(
            volume,
            f"failed to mount local volume: mount {wanted.device}:{volume.path}, flags: {hex(wanted.flags)}{data}: "
            + _reason(error),
        )


class VolumeMounts:
    """Who uses what. Calls may wait for a server on the network: make them in a thread."""

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._users: dict[str, set[str]] = {}

    def needed(self, names: Iterable[str]) -> bool:
        """Whether any of the volumes is one that is mounted."""
        return any(self._find(name) is not None for name in names)

    def acquire(self, container_id: str, names: Iterable[str]) -> None:
        """Mount what the container uses. Raises VolumeMountError; then it uses nothing."""
        with self._lock:
            try:
                for name in names:
                    volume = self._find(name)
                    if volume is not None:
                        if not self._users.get(name):
                            _mount(volume)
                        self._users.setdefault(name, set()).add(container_id)
            except BaseException:
                self._release(container_id)
                raise

    def release(self, container_id: str) -> None:
        """The container has ended: what nobody else uses is unmounted. Failures are logged."""
        with self._lock:
            self._release(container_id)

    def uses(self, container_id: str) -> bool:
        return any(container_id in users for users in self._users.values())

    def recover(self, running: Mapping[str, Iterable[str]]) -> None:
        """``running``: the volumes of each container that runs. What an engine left mounted for others goes."""
        with self._lock:
            for container_id, names in running.items():
                for name in names:
                    if self._find(name) is not None:
                        self._users.setdefault(name, set()).add(container_id)
            for volume in self._store.all():
                if options.mounted(volume.options) and not self._users.get(volume.name):
                    _unmount(volume.path)

    def _find(self, name: str) -> Volume | None:
        try:
            volume = self._store.get(name)
        except NoSuchVolumeError:
            return None
        return volume if options.mounted(volume.options) else None

    def _release(self, container_id: str) -> None:
        for name, users in list(self._users.items()):
            users.discard(container_id)
            if not users:
                del self._users[name]
                volume = self._find(name)
                if volume is not None:
                    _unmount(volume.path)


def _mount(volume: Volume) -> None:
    _unmount(volume.path)
    try:
        wanted = options.plan(volume.options, options.resolved)
    except options.UnknownAddressError as error:
        problem = f"error resolving passed in network volume address: lookup {error.host}: {_reason(error.__cause__)}"
        raise VolumeMountError(volume, problem) from error
    except options.NoDeviceError as error:
        raise VolumeMountError(volume, "missing device in volume options") from error
    propagation = wanted.flags & (mount.MS_PRIVATE | mount.MS_SHARED | mount.MS_SLAVE)
    first = wanted.flags & ~(propagation | mount.MS_BIND | mount.MS_REC)
    try:
        mount.mount(wanted.device, volume.path, wanted.kind, wanted.flags & ~propagation, wanted.data)
        with _undone(volume.path):
            if wanted.flags & mount.MS_BIND and first:
                # A bind mount takes its flags in a second call only.
                mount.mount(None, volume.path, None, first | mount.MS_BIND | mount.MS_REMOUNT)
            if propagation:
                mount.mount(None, volume.path, None, propagation | (wanted.flags & mount.MS_REC))
    except OSError as error:
        raise VolumeMountError.of_kernel(volume, wanted, error) from error


def _reason(error: BaseException | None) -> str:
    return (getattr(error, "strerror", "") or str(error)).lower()


@contextlib.contextmanager
def _undone(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _unmount(path)
        raise


def _unmount(path: str) -> None:
    """Everything that is mounted there. Never raises."""
    for _ in range(_MOST_LAYERS):
        try:
            mount.umount(path, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                _log.warning("cannot unmount %s: %s", path, error)
            return
