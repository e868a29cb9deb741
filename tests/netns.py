"""Network namespaces with names, as ip(8) makes them."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

from tests import leaks

_NAMES = "/run/netns"


@contextlib.contextmanager
def named(name: str) -> Iterator[str]:
    """The path of a new one. Whoever makes the first has the directory of the names mounted upon itself by ip(8): if
    that was us, it goes again, too."""
    there, mounted = os.path.isdir(_NAMES), _mounted()
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    try:
        yield f"{_NAMES}/{name}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True, capture_output=True)
        if not mounted and not os.listdir(_NAMES):
            subprocess.run(["umount", _NAMES], check=True, capture_output=True)
            if not there:
                os.rmdir(_NAMES)


def _mounted() -> bool:
    return any(mount.startswith(f"{_NAMES} ") for mount in leaks.mounts())
