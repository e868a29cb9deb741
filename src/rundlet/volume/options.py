"""The ``local`` driver's options: what is mounted where a volume is, as mount(8) would take it.

``type`` and ``device`` go together, ``o`` has the options. See: docker volume create, "Driver-specific options".
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.linux import mount

_KNOWN: Final = ("type", "o", "device", "size")
_NEEDED: Final = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_BY_NETWORK: Final = ("nfs", "nfs4", "cifs")
_SET: Final = {
    "ro": mount.MS_RDONLY,
    "nosuid": mount.MS_NOSUID,
    "nodev": mount.MS_NODEV,
    "noexec": mount.MS_NOEXEC,
    "sync": mount.MS_SYNCHRONOUS,
    "mand": mount.MS_MANDLOCK,
    "dirsync": mount.MS_DIRSYNC,
    "noatime": mount.MS_NOATIME,
    "nodiratime": mount.MS_NODIRATIME,
    "relatime": mount.MS_RELATIME,
    "strictatime": mount.MS_STRICTATIME,
    "bind": mount.MS_BIND,
    "rbind": mount.MS_BIND | mount.MS_REC,
    "remount": mount.MS_REMOUNT,
    "private": mount.MS_PRIVATE,
    "rprivate": mount.MS_PRIVATE | mount.MS_REC,
    "shared": mount.MS_SHARED,
    "rshared": mount.MS_SHARED | mount.MS_REC,
    "slave": mount.MS_SLAVE,
    "rslave": mount.MS_SLAVE | mount.MS_REC,
}
_CLEAR: Final = {
    "rw": mount.MS_RDONLY,
    "suid": mount.MS_NOSUID,
    "dev": mount.MS_NODEV,
    "exec": mount.MS_NOEXEC,
    "async": mount.MS_SYNCHRONOUS,
    "nomand": mount.MS_MANDLOCK,
    "atime": mount.MS_NOATIME,
    "diratime": mount.MS_NODIRATIME,
    "norelatime": mount.MS_RELATIME,
    "nostrictatime": mount.MS_STRICTATIME,
    "defaults": 0,
}

_SIZE: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?) ?[kmgtp]?(?:i?b)?", re.IGNORECASE)
_CIFS_HOST: Final = re.compile(r"//(?P<host>\[[^\]]*\]|[^/:]*)(?P<port>:[0-9]+)?(?=/|$)")
_PASSWORD: Final = re.compile(r"(?<=\bpassword=)[^,]*")

Resolve = Callable[[str], str]


class VolumeOptionError(InvalidParameterError):
    """An option that the driver can't heed."""

    reason = "invalid-volume-option"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"create {name}: {problem}")


class UnknownAddressError(Exception):
    """The name of a volume's server has no address; the cause is the OSError that says why."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


class NoDeviceError(Exception):
    """There is nothing to be mounted."""


class MountPlan(msgspec.Struct, frozen=True):
    """The arguments of mount(2)."""

    device: str
    kind: str
    flags: int
    data: str

    @property
    def shown(self) -> str:
        """``data`` as it may be told."""
        return _PASSWORD.sub("********", self.data)


def check(name: str, options: Mapping[str, str]) -> None:
    """Raises VolumeOptionError, in Docker's words."""
    for option in options:
        if option not in _KNOWN:
            raise VolumeOptionError(name, f'invalid option: "{option}"')
    if options.get("type") == "cifs":
        found = _CIFS_HOST.match(options.get("device", ""))
        if found is not None and found["port"]:
            raise VolumeOptionError(name, "port not allowed in CIFS device URL, include 'port' in 'o='")
    if "size" in options:
        _check_size(name, options["size"])
    for option, needed in _NEEDED.items():
        missing = [other for other in needed if option in options and other not in options]
        if missing:
            raise VolumeOptionError(name, f'missing required option: "{missing[0]}"')


def _check_size(name: str, text: str) -> None:
    """No quota can be had; none (0) may be asked for. Raises VolumeOptionError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise VolumeOptionError(name, f"invalid size: '{text}'")
    if float(found["number"]) >= 1:
        raise VolumeOptionError(name, "quota size requested but no quota support")


def mounted(options: Mapping[str, str]) -> bool:
    """Whether there is anything to mount: the volume is a plain directory otherwise."""
    return bool(options.get("type") or options.get("device"))


def plan(options: Mapping[str, str], resolve: Resolve) -> MountPlan:
    """``resolve`` gives the address of a host's name: the kernel takes addresses only.

    Raises UnknownAddressError, NoDeviceError.
    """
    flags, data = 0, []
    kind, device = options.get("type", ""), options.get("device", "")
    if not device:
        raise NoDeviceError
    if kind == "cifs" and "addr=" not in options.get("o", ""):
        device = _CIFS_HOST.sub(lambda found: f"//{_address(found['host'], resolve)}", device, count=1)
    for word in options.get("o", "").split(","):
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word.startswith("addr=") and kind in _BY_NETWORK:
            data.append(f"addr={_address(word.removeprefix('addr='), resolve)}")
        elif word:
            data.append(word)
    return MountPlan(device, kind, flags, ",".join(data))


def resolved(host: str) -> str:
    """By the system's resolver. Raises OSError."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def _address(host: str, resolve: Resolve) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return resolve(host) if host else ""
    except (OSError, UnicodeError) as exc:
        raise UnknownAddressError(host) from exc
