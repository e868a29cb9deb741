"""Capabilities: names, masks, and the calls that change the sets of the calling thread.

A mask has bit *n* set for capability number *n*. See: capabilities(7).
"""

import ctypes
import struct
from collections.abc import Iterable
from typing import Final

from rundlet.linux import libc

_NAMES: Final = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES: Final[dict[str, int]] = {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}

# What a container has unless the user asks for more or less: Docker's fourteen, in Docker's order.
DEFAULT: Final[tuple[str, ...]] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

SECBIT_NOROOT: Final = 1 << 0
SECBIT_NOROOT_LOCKED: Final = 1 << 1
SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
SECBIT_NO_SETUID_FIXUP_LOCKED: Final = 1 << 3
SECBIT_KEEP_CAPS: Final = 1 << 4
SECBIT_KEEP_CAPS_LOCKED: Final = 1 << 5

_VERSION_3: Final = 0x20080522
_AMBIENT_RAISE: Final = 2
_AMBIENT_CLEAR_ALL: Final = 4
_found: Final[list[int]] = []


def mask(names: Iterable[str]) -> int:
    """The mask of capability names (``CAP_CHOWN``; ``chown`` will do).

    Raises: ValueError with Docker's words for a name that does not exist.
    """
    result = 0
    for name in names:
        full = name.upper()
        if not full.startswith("CAP_"):
            full = f"CAP_{full}"
        number = CAPABILITIES.get(full)
        if number is None:
            raise ValueError(f'invalid capability: "{name}"')
        result |= 1 << number
    return result


def names(bits: int) -> list[str]:
    """The names of the capabilities in a mask, by number; numbers we have no name for are left out."""
    return [name for name, number in CAPABILITIES.items() if bits >> number & 1]


def last_cap() -> int:
    """The highest capability number that the running kernel knows; asked for once, best while there is a /proc."""
    if not _found:
        _found.append(_look_for_last_cap())
    return _found[0]


def _look_for_last_cap() -> int:
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            return int(file.read())
    except OSError:
        number = 0
        while _bounding_has(number + 1):
            number += 1
        return number


def kernel_mask() -> int:
    """The mask of all capabilities that the running kernel knows."""
    return (1 << last_cap() + 1) - 1


def bounding() -> int:
    """The calling thread's bounding set."""
    result = 0
    for number in range(64):
        try:
            result |= libc.prctl(libc.PR_CAPBSET_READ, number) << number
        except OSError:
            break
    return result


def drop_bounding(keep: int) -> None:
    """Drop from the bounding set everything that is not in the mask ``keep``. Needs CAP_SETPCAP."""
    for number in range(last_cap() + 1):
        if not keep >> number & 1:
            libc.prctl(libc.PR_CAPBSET_DROP, number)


def get_capabilities() -> tuple[int, int, int]:
    """The calling thread's effective, permitted and inheritable masks."""
    data = ctypes.create_string_buffer(24)
    libc.call("capget", struct.pack("=Ii", _VERSION_3, 0), data)
    low = struct.unpack("=6I", data.raw)
    return low[0] | low[3] << 32, low[1] | low[4] << 32, low[2] | low[5] << 32


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set the calling thread's three sets to these masks.

    Raises: PermissionError where a set would grow beyond what it may.
    """
    word = 0xFFFF_FFFF
    data = struct.pack(
        "=6I",
        effective & word,
        permitted & word,
        inheritable & word,
        effective >> 32,
        permitted >> 32,
        inheritable >> 32,
    )
    libc.call("capset", struct.pack("=Ii", _VERSION_3, 0), data)


def set_ambient(bits: int) -> None:
    """Make the ambient set exactly this mask; each bit must be permitted and inheritable already."""
    libc.prctl(libc.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for number in range(64):
        if bits >> number & 1:
            libc.prctl(libc.PR_CAP_AMBIENT, _AMBIENT_RAISE, number)


def securebits() -> int:
    """The calling thread's ``SECBIT_*`` flags."""
    return libc.prctl(libc.PR_GET_SECUREBITS)


def set_securebits(bits: int) -> None:
    """Set the calling thread's ``SECBIT_*`` flags. Needs CAP_SETPCAP."""
    libc.prctl(libc.PR_SET_SECUREBITS, bits)


def keep_capabilities(keep: bool) -> None:
    """Whether the permitted set survives the change from uid 0 to others (cleared by execve)."""
    libc.prctl(libc.PR_SET_KEEPCAPS, int(keep))


def _bounding_has(number: int) -> bool:
    try:
        libc.prctl(libc.PR_CAPBSET_READ, number)
    except OSError:
        return False
    return True
