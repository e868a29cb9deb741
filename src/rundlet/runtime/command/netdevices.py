"""``linux.netDevices``: interfaces of the machine that the container gets.

They go with its network namespace: the kernel gives what is hardware back to the machine, and removes what is not.
See: OCI runtime-spec, config-linux.md, "Network Devices".
"""

import errno
from collections.abc import Mapping
from typing import Any, Final

from rundlet.linux import linkmove, ns
from rundlet.linux.netlink import Netlink
from rundlet.runtime.command.errors import CommandError

_LONGEST: Final = 15  # IFNAMSIZ, less the zero byte


def check(linux: Mapping[str, Any]) -> None:
    """Raises: CommandError."""
    wanted = linux.get("netDevices") or {}
    if not wanted:
        return
    if not any(entry.get("type") == "network" for entry in linux.get("namespaces") or ()):
        raise CommandError("unable to move network devices without a NET namespace")
    inside = _names(wanted)
    for name in (*wanted, *inside.values()):
        if not _valid(name):
            raise CommandError(f"invalid network device name {name!r}")
    if len(set(inside.values())) < len(inside):
        raise CommandError("duplicate network device name")


def _names(wanted: Mapping[str, Any]) -> dict[str, str]:
    return {name: (entry or {}).get("name") or name for name, entry in wanted.items()}


def _valid(name: str) -> bool:
    """The kernel's own rules."""
    if not 0 < len(name.encode()) <= _LONGEST or name in (".", ".."):
        return False
    return not any(letter in "/:" or letter.isspace() for letter in name)


class Mover:
    """Made while this process is in the machine's network namespace, used when it is in the container's."""

    def __init__(self, linux: Mapping[str, Any]) -> None:
        self._names = _names(linux.get("netDevices") or {})
        self._machine = Netlink() if self._names else None

    def move(self) -> None:
        """Raises: OSError, ValueError for an interface that isn't there."""
        if self._machine is None:
            return
        namespace = ns.open_namespace("self", "network")
        with self._machine, Netlink() as inside:
            for name, new in self._names.items():
                try:
                    addresses = linkmove.move(self._machine, name, namespace, new)
                except OSError as exc:
                    if exc.errno != errno.ENODEV:
                        raise
                    raise ValueError(f"network device {name!r} not found") from None
                linkmove.set_up(inside, new, addresses)
