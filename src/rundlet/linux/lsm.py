"""The security modules that confine by name: AppArmor's profiles, SELinux's labels; whether they are there."""

import os
from typing import Final

_APPARMOR: Final = "/sys/module/apparmor/parameters/enabled"
_PROFILES: Final = "/sys/kernel/security/apparmor/profiles"
_SELINUX: Final = "/sys/fs/selinux/enforce"
_SELINUX_ATTRIBUTE: Final = "security.selinux"


def apparmor_enabled() -> bool:
    try:
        with open(_APPARMOR, encoding="ascii") as file:
            return file.read().strip() == "Y"
    except OSError:
        return False


def apparmor_profiles(path: str = _PROFILES) -> frozenset[str]:
    """The names of the loaded profiles; none where we may not see them."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return frozenset(line.rpartition(" (")[0] for line in lines)
    except OSError:
        return frozenset()


def selinux_enabled() -> bool:
    return os.path.exists(_SELINUX)


def relabel(path: str, label: str) -> None:
    """Give ``path`` and all below it an SELinux label; links aren't followed. Raises: OSError."""
    value = os.fsencode(label) + b"\0"
    os.setxattr(path, _SELINUX_ATTRIBUTE, value, follow_symlinks=False)
    for directory, inner, files in os.walk(path):
        for name in (*inner, *files):
            os.setxattr(os.path.join(directory, name), _SELINUX_ATTRIBUTE, value, follow_symlinks=False)
