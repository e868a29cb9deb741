"""Namespaces: the flags, and the files of /proc that stand for them."""

import os
from typing import Final

CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# The OCI runtime specification's names of namespaces.
FLAGS: Final[dict[str, int]] = {
    "mount": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
    "time": CLONE_NEWTIME,
}
_FILES: Final[dict[str, str]] = {"mount": "mnt", "network": "net"}


def path(pid: int | str, kind: str) -> str:
    """The file that stands for the ``kind`` (an OCI name) of namespace that process ``pid`` (or "self") is in."""
    return f"/proc/{pid}/ns/{_FILES.get(kind, kind)}"


def open_namespace(pid: int | str, kind: str) -> int:
    """A descriptor that holds the ``kind`` of namespace of process ``pid`` (or "self") open.

    Raises: OSError with the path; FileNotFoundError also where the kernel lacks this kind.
    """
    return os.open(path(pid, kind), os.O_RDONLY | os.O_CLOEXEC)
