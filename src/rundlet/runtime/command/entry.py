"""The first thing that runs, and the least: what enters a container is started again at once.

It starts again from a clone of the interpreter that can't be written through (a container finds it at /proc/PID/exe:
CVE-2019-5736), and without site-packages.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

PINNED: Final = "--pinned"
_ENTERING: Final = frozenset({"create", "run", "exec"})
_BOOTSTRAP: Final = (
    "import sys;sys.path.append({path!r});from rundlet.runtime.command.main import main;main(sys.argv[1:])"
)


def script() -> NoReturn:
    """The installed command."""
    words = sys.argv[1:]
    # A guess that saves time: a container called "run" only costs it.
    if not _ENTERING.isdisjoint(words):
        pin(words)
    from rundlet.runtime.command.main import main

    main(words)


def pin(words: Sequence[str]) -> NoReturn:
    """Start again with the same command line. Raises: OSError."""
    from rundlet.linux import libc, mount

    interpreter = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    clone = mount.clone_readonly(interpreter)
    argv = [interpreter, "-I", "-S", "-c", _BOOTSTRAP.format(path=source), PINNED, *words]
    libc.execveat(clone, argv, dict(os.environ))
