"""The engine's main for an ordinary user: settings, whose the data root is, then into the namespaces."""

import os
from collections.abc import Sequence

from rundlet.daemon import service
from rundlet.daemon.config import load
from rundlet.daemon.lock import check_owner
from rundlet.daemon.rootless import entering
from rundlet.errors import RundletError


def main(argv: Sequence[str]) -> int:
    """Doesn't return when all is well: this process executes the engine; returns the exit status otherwise."""
    ready_fd = -1
    try:
        config = load(argv, dict(os.environ), os.geteuid())
        ready_fd = config.ready_fd
        check_owner(config.data_root)
        entering.enter(config.exec_root)
    except (RundletError, OSError) as error:
        return service.give_up(error, ready_fd)
