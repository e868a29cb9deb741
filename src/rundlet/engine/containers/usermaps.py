"""Which users of the machine a container's users are: ``--userns``, and what is the default.

| mode          | the container's users                                                                |
|---------------|--------------------------------------------------------------------------------------|
| host          | the machine's own: root is root, with fewer rights                                   |
| auto[:size=N] | a range that no other container has, from the container's creation to its removal    |
| (empty)       | as ``default-userns`` says, or ``userns-remap``: one range that all containers share |

Ranges are cut from those of the user ``rundlet`` (or else ``containers``, as podman's) in /etc/subuid and /etc/subgid;
where neither has any in both, from :data:`DEFAULT_POOL`, which no distribution gives to users or services. The disk
knows nothing of them (see :mod:`rundlet.linux.usermap`): they matter while containers run only.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from rundlet.api.container_config import HostConfig
from rundlet.container.record import Record, UserMap
from rundlet.errors import InvalidParameterError, NotSupportedError, UnavailableError
from rundlet.linux import subids, usermap, userns
from rundlet.linux.subids import Range

AUTO: Final = "auto"
HOST: Final = "host"
SIZE: Final = 65536
MOST: Final = 1 << 24
OWNERS: Final = ("rundlet", "containers")
DEFAULT_POOL: Final = Range("rundlet", 0x7000_0000, 0x0FFE_0000)
_NATIVE: Final = "rundlet"
_AUTO: Final = re.compile(r"auto(?::size=([0-9]{1,9}))?\Z")
_PODMANS: Final = re.compile(r"auto:|keep-id|nomap|ns:|private|container:")


class NoRangeError(UnavailableError):
    """All users that may be handed out are taken."""

    reason = "no-user-range"

    def __init__(self, size: int) -> None:
        super().__init__(
            f"no range of {size} users is left for --userns=auto: remove containers, ask for fewer users "
            "(--userns=auto:size=…), or give the user rundlet a larger range in /etc/subuid and /etc/subgid"
        )


class UserMaps:
    """Hands out ranges. A container's is in its record; until it has one it is reserved here."""

    def __init__(
        self,
        records: Callable[[], Iterable[Record]],
        instance: str,
        default: str = "",
        shared: UserMap | None = None,
        read: Callable[[str], list[Range]] = subids.read,
    ) -> None:
        """``default`` is a mode for those who ask for none, ``shared`` what they get instead of a range."""
        self._records = records
        self._instance = instance
        self._default = default
        self._shared = shared
        self._read = read
        self._reserved: dict[str, UserMap] = {}

    def mode(self, host: HostConfig) -> HostConfig:
        """The request with the default filled in. Raises InvalidParameterError, NotSupportedError."""
        check(host.userns_mode)
        if not host.userns_mode and self._default:
            return msgspec.structs.replace(host, userns_mode=self._default)
        return host

    def reserve(self, container_id: str, host: HostConfig) -> UserMap | None:
        """The users of a container to be; None: the machine's.

        To be released when the container has a record, or won't have one. Raises InvalidParameterError,
        NotSupportedError (it asks for what users of its own exclude), NoRangeError.
        """
        if host.userns_mode == HOST or (not host.userns_mode and self._shared is None):
            return None
        refuse(host)
        if not host.userns_mode:
            return self._shared
        size = int(host.userns_mode.partition("=")[2] or SIZE)
        found = self._cut(size)
        self._reserved[container_id] = found
        return found

    def release(self, container_id: str) -> None:
        self._reserved.pop(container_id, None)

    def _cut(self, size: int) -> UserMap:
        users, groups = self._pools()
        taken = [entry.users for entry in self._reserved.values()], [entry.groups for entry in self._reserved.values()]
        for record in self._records():
            if record.user_map is not None and record.user_map != self._shared:
                taken[0].append(record.user_map.users)
                taken[1].append(record.user_map.groups)
        found = [
            _free(pool, [Range("", start, length) for lines in used for _, start, length in lines], size)
            for pool, used in ((users, taken[0]), (groups, taken[1]))
        ]
        return UserMap(users=[(0, found[0], size)], groups=[(0, found[1], size)])

    def _pools(self) -> tuple[Sequence[Range], Sequence[Range]]:
        tables = self._read(subids.SUBUID), self._read(subids.SUBGID)
        for owner in OWNERS:
            users, groups = ([entry for entry in table if entry.owner == owner] for table in tables)
            if users and groups:
                return users, groups
        # Two engines of one machine begin at different places, so as not to hand out the same ranges.
        slots = DEFAULT_POOL.length // SIZE
        start = DEFAULT_POOL.start + int(self._instance[:8] or "0", 16) % slots * SIZE
        pool = [Range("", start, DEFAULT_POOL.end - start), Range("", DEFAULT_POOL.start, start - DEFAULT_POOL.start)]
        return pool, pool


def check(mode: str) -> None:
    """Raises InvalidParameterError, NotSupportedError."""
    if mode in ("", HOST):
        return
    found = _AUTO.match(mode)
    if found is None and _PODMANS.match(mode):
        raise NotSupportedError(f"--userns {mode} (there are host, auto and auto:size=N)")
    if found is None or (found[1] and not 1 <= int(found[1]) <= MOST):
        raise InvalidParameterError(f"invalid userns mode: {mode}")


def refuse(host: HostConfig) -> None:
    """What a container with users of its own can't have. Raises InvalidParameterError, NotSupportedError."""
    if not userns.INITIAL:
        raise NotSupportedError("--userns auto in an engine without root, which has a user namespace of its own")
    if _kernel() < usermap.LEAST_KERNEL:
        raise NotSupportedError("a user namespace for a container before Linux 5.19 (--userns=host does without)")
    if host.privileged:
        raise InvalidParameterError(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace "
            "when running privileged mode"
        )
    for kind, mode in (("network's", host.network_mode), ("PID", host.pid_mode)):
        if mode == "host":
            space = "network namespace" if kind == "network's" else "PID namespace"
            owner = "host's" if kind == "network's" else "host"
            raise InvalidParameterError(f"cannot share the {owner} {space} when user namespaces are enabled")
    for kind, mode in (("PID", host.pid_mode), ("IPC", host.ipc_mode)):
        if mode.startswith("container:"):
            raise NotSupportedError(f"the {kind} namespace of another container with users of its own (--userns=host)")
    if host.runtime not in ("", _NATIVE):
        raise NotSupportedError(f"--runtime {host.runtime} with users of the container's own (--userns=host)")
    if host.rootfs:
        raise NotSupportedError("--rootfs with users of the container's own (--userns=host)")


def shared_by(name: str, read: Callable[[str], list[Range]] = subids.read) -> UserMap:
    """Docker's ``userns-remap``: all ranges of one user, and of one group, for all containers.

    ``name`` is ``user``, ``user:group`` or ``default`` (dockremap). Raises ValueError where there is none.
    """
    user, _, group = ("dockremap" if name == "default" else name).partition(":")
    maps = []
    for path, owner in ((subids.SUBUID, user), (subids.SUBGID, group or user)):
        lines: list[tuple[int, int, int]] = []
        inside = 0
        for entry in read(path):
            if entry.owner == owner:
                lines.append((inside, entry.start, entry.length))
                inside += entry.length
        if not lines:
            raise ValueError(f"{path} has no range for {owner} (add one: usermod --add-sub{path[-3:]}s)")
        maps.append(lines)
    return UserMap(users=maps[0], groups=maps[1])


def _free(pool: Sequence[Range], taken: Sequence[Range], size: int) -> int:
    """The start of the first ``size`` numbers of ``pool`` that nobody has. Raises NoRangeError."""
    for part in pool:
        start = part.start
        while start + size <= part.end:
            other = next((item for item in taken if item.start < start + size and start < item.end), None)
            if other is None:
                return start
            start = other.end
    raise NoRangeError(size)


def _kernel() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)
