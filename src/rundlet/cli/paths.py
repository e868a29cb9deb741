"""Where this user's own engine keeps its state and its socket, and the command line its configuration.

The same rules as ``rundlet.util.layout`` (a test compares them), computed here without its imports because every
command needs the socket's path.
"""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError


def data_root() -> str:
    """``$RUNDLET_ROOT``, root's ``/var/lib/rundlet``, or ``$XDG_DATA_HOME/rundlet``."""
    chosen = os.environ.get("RUNDLET_ROOT")
    if chosen:
        return chosen
    if os.geteuid() == 0:
        return "/var/lib/rundlet"
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local/share")
    return f"{home}/rundlet"


def run_directory() -> str:
    """``$RUNDLET_RUN``, root's ``/run/rundlet``, or ``$XDG_RUNTIME_DIR/rundlet``. Raises CommandError.

    Where that variable is not set, its usual place, ``/run/user/<uid>``, is used if it is there; else a private
    directory in /tmp.
    """
    chosen = os.environ.get("RUNDLET_RUN")
    if chosen:
        return chosen
    if os.geteuid() == 0:
        return "/run/rundlet"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return f"{runtime}/rundlet" if os.path.isdir(runtime) else private_directory()


def private_directory() -> str:
    """``/tmp/rundlet-<uid>``, for users without a session manager's directory. Raises CommandError.

    The name can be guessed: a directory there that is another's, who would answer in the engine's place, is refused.
    """
    path = f"/tmp/rundlet-{os.geteuid()}"
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return path
    if found.st_uid != os.geteuid() or found.st_mode & 0o170022 != 0o040000:
        raise CommandError(
            f"{path} is not a private directory of yours, and there is no $XDG_RUNTIME_DIR for the engine's socket: "
            "log in through a session manager (loginctl enable-linger), or set RUNDLET_RUN to a directory of your own"
        )
    return path


def engine_socket() -> str:
    return f"{run_directory()}/rundlet.sock"


def config_directory(setting: str) -> str:
    """--config, else ``$DOCKER_CONFIG``, else ``~/.docker``."""
    return setting or os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
