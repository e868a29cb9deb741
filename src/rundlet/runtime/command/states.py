"""What is known about containers: one directory each below ``--root``, with a JSON file and the FIFO of the gate.

Status is never stored, it is looked at: whether the first process lives (and is the same one), whether the FIFO is
still there, whether the cgroup is frozen.
"""

import fcntl
import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from rundlet.linux.cgroup import Cgroup, managed, remove_if_empty
from rundlet.runtime.command import filters, notify, resctrl
from rundlet.runtime.command.errors import CommandError, MissingError
from rundlet.runtime.shim.cgroups import layout

CREATING: Final = "creating"
CREATED: Final = "created"
RUNNING: Final = "running"
PAUSED: Final = "paused"
STOPPED: Final = "stopped"

FIFO: Final = "exec.fifo"
DEFAULT_PARENT: Final = "/rundlet-runtime"
"""The cgroup above those of containers whose configuration names none: it goes with the last of them."""
_FILE: Final = "state.json"
_NAME: Final = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")


class State(NamedTuple):
    """One container. ``birth``: when its first process began (field 22 of /proc/PID/stat); 0: there is none yet.

    ``scope`` names what systemd made for it, ``classes`` (:class:`resctrl.Classes`) what it joined there.
    """

    id: str
    directory: str
    bundle: str
    rootfs: str
    pid: int
    birth: int
    created: str
    cgroup: str
    annotations: dict[str, str]
    own_pids: bool
    config: dict[str, Any]
    scope: dict[str, Any] | None = None
    classes: dict[str, Any] | None = None

    @property
    def fifo(self) -> str:
        return f"{self.directory}/{FIFO}"

    def group(self) -> Cgroup:
        return group(self.cgroup, self.scope)

    def alive(self) -> bool:
        return self.pid > 0 and born(self.pid) == self.birth

    def status(self) -> str:
        if self.pid == 0:
            return CREATING if _is_locked(self.directory) else STOPPED
        if not self.alive():
            return STOPPED
        if os.path.exists(self.fifo):
            return CREATED
        return PAUSED if self.group().frozen() else RUNNING

    def document(self, status: str) -> dict[str, Any]:
        """What the specification wants to be said; hooks read it, too."""
        pid = self.pid if status not in (STOPPED,) else 0
        version = self.config.get("ociVersion") or ""
        found = {"ociVersion": version, "id": self.id, "pid": pid, "status": status, "bundle": self.bundle}
        return found | ({"annotations": self.annotations} if self.annotations else {})


class States:
    """All containers below ``root``."""

    def __init__(self, root: str) -> None:
        self._root = root

    def directory(self, container: str) -> str:
        """Raises: CommandError for a name that would lead elsewhere."""
        if not _NAME.fullmatch(container) or container in (".", "..", filters.DIRECTORY):
            raise CommandError(f"invalid container ID format: {container}")
        return f"{self._root}/{container}"

    def make(self, container: str) -> str:
        """A new container's directory. Raises: CommandError when there is one."""
        directory = self.directory(container)
        os.makedirs(self._root, 0o700, exist_ok=True)
        try:
            os.mkdir(directory, 0o711)
        except FileExistsError:
            raise CommandError(f'container with given ID already exists: "{container}"') from None
        return directory

    def load(self, container: str) -> State:
        """Raises: MissingError, CommandError."""
        directory = self.directory(container)
        try:
            with open(f"{directory}/{_FILE}", "rb") as file:
                return State(**json.loads(file.read()) | {"directory": directory})
        except FileNotFoundError:
            if os.path.isdir(directory):
                # Nothing but its name was made before the one who made it died.
                return State(container, directory, "", "", 0, 0, "", "", {}, True, {})
            raise MissingError(container) from None
        except (ValueError, TypeError) as exc:
            raise CommandError(f"the state of {container} can't be read: {exc}") from exc

    def all(self) -> list[State]:
        """Those that can be read, by name."""
        try:
            names = sorted(os.listdir(self._root))
        except FileNotFoundError:
            return []
        found: list[State] = []
        for name in names:
            if _NAME.fullmatch(name) and name != filters.DIRECTORY and os.path.isdir(f"{self._root}/{name}"):
                try:
                    found.append(self.load(name))
                except CommandError:
                    continue  # deleted meanwhile, or somebody else's
        return found


def group(path: str, scope: Mapping[str, Any] | None) -> Cgroup:
    """The control group ``path``, which is below that of the manager if it is a ``scope``."""
    return Cgroup(path, layout() if scope is None else managed(scope["base"]))


def save(state: State) -> None:
    """In one piece. Raises: OSError."""
    path = f"{state.directory}/{_FILE}"
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(json.dumps(state._asdict()).encode())
    os.rename(f"{path}.new", path)


def forget(state: State) -> None:
    """Remove the directory. Raises: OSError."""
    for name in (FIFO, f"{_FILE}.new", _FILE):
        try:
            os.unlink(f"{state.directory}/{name}")
        except FileNotFoundError:
            pass
    notify.forget(state.directory)
    os.rmdir(state.directory)


def clean_up(state: State) -> None:
    """Kill what is in the cgroup, remove that and the state. Raises: OSError."""
    if state.cgroup:
        group = state.group()
        group.kill()
        group.remove(managed=state.scope is not None)
        parent, _, _ = state.cgroup.rpartition("/")
        if parent == DEFAULT_PARENT:
            remove_if_empty(parent, layout())
    if state.classes:
        resctrl.remove(state.classes["made"])
    forget(state)


def lock(directory: str) -> int:
    """Keep others from creating, starting or deleting the container until the descriptor is closed.

    Raises: MissingError when it is being deleted.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingError(os.path.basename(directory)) from None
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def born(pid: int) -> int:
    """When the process began; 0 when there is none, or only its exit status is left."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _is_locked(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
