"""The options of OCI mounts: which are attributes, which propagation, which the file system's own.

See: OCI runtime-spec, config.md, "Linux mount options"; mount_setattr(2).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from rundlet.linux import mount

_SET: Final = {
    "ro": mount.MOUNT_ATTR_RDONLY,
    "nosuid": mount.MOUNT_ATTR_NOSUID,
    "nodev": mount.MOUNT_ATTR_NODEV,
    "noexec": mount.MOUNT_ATTR_NOEXEC,
    "nodiratime": mount.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": mount.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR: Final = {
    "rw": mount.MOUNT_ATTR_RDONLY,
    "suid": mount.MOUNT_ATTR_NOSUID,
    "dev": mount.MOUNT_ATTR_NODEV,
    "exec": mount.MOUNT_ATTR_NOEXEC,
    "diratime": mount.MOUNT_ATTR_NODIRATIME,
    "symfollow": mount.MOUNT_ATTR_NOSYMFOLLOW,
}
_ATIME: Final = {
    "relatime": mount.MOUNT_ATTR_RELATIME,
    "noatime": mount.MOUNT_ATTR_NOATIME,
    "strictatime": mount.MOUNT_ATTR_STRICTATIME,
}
_IDMAP: Final = frozenset({"idmap", "ridmap"})
_IGNORED: Final = frozenset({"defaults", "bind", "rbind", "async", "atime", "norelatime", "nostrictatime", "loud"})


class Options(NamedTuple):
    """``recursive_*`` come from the options with an r before ("rro"); ``data`` goes to the file system."""

    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    propagation_recursive: bool = False
    bind: bool = False
    bind_recursive: bool = False
    data: tuple[tuple[str, str | None], ...] = ()
    idmap: bool = False
    """Files' owners are shown by the container's range of users."""
    idmap_recursive: bool = False


def parse(options: Iterable[str]) -> Options:
    """Later options win over earlier ones, as in mount(8)."""
    attributes = [0, 0]
    recursive = [0, 0]
    propagation, propagation_recursive = 0, False
    data: list[tuple[str, str | None]] = []
    names = list(options)
    for name in names:
        if name in _SET or name in _CLEAR or name in _ATIME:
            _apply(attributes, name)
        elif name.startswith("r") and name[1:] in (_SET.keys() | _CLEAR.keys() | _ATIME.keys()):
            _apply(recursive, name[1:])
        elif name in mount.PROPAGATION or (name[1:] in mount.PROPAGATION and name.startswith("r")):
            propagation_recursive = name not in mount.PROPAGATION
            propagation = mount.PROPAGATION[name[1:] if propagation_recursive else name]
        elif name not in _IGNORED and name not in _IDMAP:
            key, separator, value = name.partition("=")
            data.append((key, value if separator else None))
    return Options(
        attributes[0],
        attributes[1],
        recursive[0],
        recursive[1],
        propagation,
        propagation_recursive,
        "bind" in names or "rbind" in names,
        "rbind" in names,
        tuple(data),
        not _IDMAP.isdisjoint(names),
        "ridmap" in names,
    )


def known() -> list[str]:
    """Every option that is not a file system's own."""
    plain = [*_SET, *_CLEAR, *_ATIME]
    return sorted({*plain, *(f"r{name}" for name in plain), *_propagations(), *_IGNORED, *_IDMAP})


def _propagations() -> list[str]:
    return [*mount.PROPAGATION, *(f"r{name}" for name in mount.PROPAGATION)]


def _apply(attributes: list[int], name: str) -> None:
    if name in _SET:
        attributes[0] |= _SET[name]
        attributes[1] &= ~_SET[name]
    elif name in _CLEAR:
        attributes[0] &= ~_CLEAR[name]
        attributes[1] |= _CLEAR[name]
    else:
        attributes[0] = attributes[0] & ~mount.MOUNT_ATTR_ATIME | _ATIME[name]
        attributes[1] |= mount.MOUNT_ATTR_ATIME
