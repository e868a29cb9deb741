"""Where this user's own engine keeps its state and its socket.

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

    Where that variable is not set, its usual place, ``/run/user/<uid>``, is used if it is there.
    """
    chosen = os.environ.get("RUNDLET_RUN")
    if chosen:
        return chosen
    if os.geteuid() == 0:
        return "/run/rundlet"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if not os.path.isdir(runtime):
        from rundlet.cli.engine_start import missing

        if what := missing():
            raise CommandError(what)
        # A guessable directory in /tmp could be someone else's: its owner would answer in the engine's place.
        raise CommandError(
            "Rundlet needs a private directory for its socket and there is none ($XDG_RUNTIME_DIR): log in through a "
            "session manager (loginctl enable-linger), or set RUNDLET_RUN to a directory of your own"
        )
    return f"{runtime}/rundlet"


def engine_socket() -> str:
    return f"{run_directory()}/rundlet.sock"
