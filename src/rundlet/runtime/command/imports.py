"""Imports come to an end before a container is entered.

After a change of root the interpreter would look for a module in the *image*, and run what it finds with the host's
rights (CVE-2019-14271 was that). So what set-up imports late is imported early here, and then nothing can be any more.
"""

import fcntl  # noqa: F401 - all of these are for later
import json  # noqa: F401
import socket  # noqa: F401
import sys
import termios  # noqa: F401

from rundlet.linux import copyup, scheduling, seccomp  # noqa: F401
from rundlet.runtime.init import reaper  # noqa: F401


def end() -> None:
    """In the process that is about to enter, or in the one that forks it."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
