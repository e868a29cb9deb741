"""Whether this process lives in the machine's own user namespace, and what differs where it doesn't.

Looked up once, at import: workers ask again when they can't see /proc any more. A process that changes its user
namespace executes itself anew.

See: user_namespaces(7); Documentation/filesystems/overlayfs.rst, "User xattr".
"""

from typing import Final

_WHOLE: Final = ["0", "0", "4294967295"]


def _initial() -> bool:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return True  # a kernel without user namespaces
    return lines == [_WHOLE]


def _setgroups() -> bool:
    try:
        with open("/proc/self/setgroups", encoding="ascii") as file:
            return file.read().strip() == "allow"
    except OSError:
        return True


def _last(name: str) -> int:
    try:
        with open(f"/proc/self/{name}", encoding="ascii") as file:
            return max(int(line.split()[0]) + int(line.split()[2]) for line in file) - 1
    except (OSError, ValueError):
        return 0


INITIAL: Final = _initial()
"""The machine's own: all users are there, and root is root."""
LAST_USER: Final = _last("uid_map")
"""The highest user that there is; those below it are taken to be there, too."""
GROUPS: Final = INITIAL or _setgroups()
"""Whether supplementary groups can be set."""
LAST_GROUP: Final = _last("gid_map")
OPAQUE_XATTR: Final = "trusted.overlay.opaque" if INITIAL else "user.overlay.opaque"
"""By what overlayfs knows a directory that hides all below it."""
