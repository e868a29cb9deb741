"""A container's record: what survives the engine, one JSON file per container, replaced atomically.

``config`` and ``host_config`` are the user's request as Docker's API documents it; this room keeps them as opaque JSON,
the engine's side decodes them. The ``version`` is checked on load: one release back is migrated, newer is refused.
"""

import msgspec

from rundlet.container.state import Status
from rundlet.errors import InternalError

VERSION = 1


class NewerRecordError(InternalError):
    """The record was written by a newer Rundlet."""

    reason = "newer-state"

    def __init__(self, path: str, found: int) -> None:
        super().__init__(
            f"{path} has record version {found}, this Rundlet knows up to {VERSION}: install the newer Rundlet again"
        )


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changes while a container lives. Times are nanoseconds since the epoch, 0 = never."""

    status: Status = Status.CREATED
    pid: int = 0
    shim_pid: int = 0
    boot_id: str = ""
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    restart_count: int = 0
    manually_stopped: bool = False
    start_again: bool = False
    """It is being restarted: an engine that finds this ends what another began."""
    paused_briefly: bool = False
    """Paused while its files are read: an engine that finds this lets it go on."""


class MountPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mount as ``inspect`` lists it. ``kind`` is bind, volume or image; ``source`` is a host path.

    Of an image ``name`` is the ID, ``chain`` its layers' and ``source`` the reference. ``subpath`` is a path inside the
    volume or image.
    ``recursive`` says what becomes of mounts below a bind's source: "" (bound too, read-only with it), "disabled" (not
    bound), "writable" (bound, not made read-only), "readonly" (made read-only, or refused).
    """

    kind: str
    source: str
    destination: str
    name: str = ""
    chain: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    anonymous: bool = False
    no_copy: bool = False
    subpath: str = ""
    recursive: str = ""
    idmap: bool = False
    """Its files' owners are the container's users, whichever of the machine's those are."""


class HostRoot(msgspec.Struct, frozen=True, omit_defaults=True):
    """A root file system that is a view of this machine's own. Places are absolute paths in the container."""

    path: str
    below: list[str] = []
    """Where other file systems are mounted: each has an overlay of its own, outer ones first."""
    readonly: list[str] = []
    """Those that can't be written anyway: shown as they are."""
    tmpfs: dict[str, str] = {}
    """In-memory file systems, of which only an empty one of the same mode is shown."""
    hidden: list[str] = []
    """The engine's own directories."""


class UserMap(msgspec.Struct, frozen=True):
    """The users and groups of the machine that the container's are: (inside, outside, how many) each."""

    users: list[tuple[int, int, int]]
    groups: list[tuple[int, int, int]]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One container. ``image`` is the reference as the user gave it, ``image_id`` the config digest it meant then.

    ``rootfs`` is set where the root is no image's; ``image_id`` may be empty then, and ``image`` the directory's path.
    ``user_map`` is None where the container's users are the engine's own.
    """

    version: int = VERSION
    id: str
    name: str
    created_ns: int
    image: str
    image_id: str
    platform: str = "linux"
    path: str = ""
    args: list[str] = []
    config: msgspec.Raw
    host_config: msgspec.Raw
    networking: msgspec.Raw = msgspec.Raw(b"{}")
    runtime: str = "rundlet"
    mounts: list[MountPoint] = []
    rootfs: HostRoot | None = None
    user_map: UserMap | None = None
    state: State = State()

    def with_state(self, state: State) -> "Record":
        return msgspec.structs.replace(self, state=state)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


class _Version(msgspec.Struct):
    version: int = 0


def encode(record: Record) -> bytes:
    # The version is written even though it is the default: it is what the next release reads first.
    body = _encoder.encode(record)
    return b'{"version":%d,' % record.version + body[1:]


def decode(data: bytes, path: str) -> Record:
    """Raises :class:`NewerRecordError`, or msgspec.DecodeError for a file that is not a record."""
    found = msgspec.json.decode(data, type=_Version).version
    if found > VERSION:
        raise NewerRecordError(path, found)
    return _decoder.decode(data)
