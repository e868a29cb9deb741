"""``rundlet engine enable``: systemd units, for the system or for the user."""

from __future__ import annotations

import os

from rundlet.cli import paths
from rundlet.cli.engine_start import engine_argv
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Let systemd start the engine, so that restart policies hold after a reboot"
ARGS = (0, 0)
FLAGS = (
    ("now", "", "bool", "Also start it now"),
    ("user", "", "bool", "For this user's own engine instead of the system's"),
)

SERVICE = """\
[Unit]
Description=Rundlet container engine
After=network-online.target
Wants=network-online.target
Requires=rundlet.socket

[Service]
Type=exec
ExecStart={command}
Restart=on-failure
RestartSec=1
# Containers outlive the engine: only its own process is stopped with the unit.
KillMode=process
Delegate=yes
OOMScoreAdjust=-500
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy={target}
"""

SOCKET = """\
[Unit]
Description=Rundlet engine API

[Socket]
ListenStream={socket}
SocketMode=0660
{group}
[Install]
WantedBy=sockets.target
"""


def _quoted(word: str) -> str:
    """One word of ExecStart: systemd's own quoting, with % and $ doubled."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if not text or any(letter in " ;'\"\\" for letter in text) else text


def unit_directory(*, user: bool) -> str:
    """Where an administrator's, or a user's own, units are."""
    if not user:
        return "/etc/systemd/system"
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return f"{config}/systemd/user"


def units(*, user: bool) -> dict[str, str]:
    """The unit files' names and contents."""
    arguments = ["--data-root", paths.data_root(), "--exec-root", paths.run_directory()]
    command = " ".join(_quoted(word) for word in engine_argv(arguments))
    group = ""
    if not user:
        import grp

        try:
            grp.getgrnam("rundlet")
        except KeyError:
            pass
        else:
            group = "SocketUser=root\nSocketGroup=rundlet\n"
    target = "default.target" if user else "multi-user.target"
    return {
        "rundlet.service": SERVICE.format(command=command, target=target),
        "rundlet.socket": SOCKET.format(socket=paths.engine_socket().replace("%", "%%"), group=group),
    }


def run(call: Invocation) -> int:
    user = bool(call.flags["user"])
    if not user and os.geteuid() != 0:
        raise CommandError("the system's engine is enabled by root; use --user for one of your own")
    directory = unit_directory(user=user)
    from rundlet.util.fs import write_atomic

    try:
        os.makedirs(directory, exist_ok=True)
        for name, text in units(user=user).items():
            write_atomic(f"{directory}/{name}", text.encode(), mode=0o644)
            call.context.say(f"wrote {directory}/{name}")
    except OSError as exc:
        raise CommandError(f"{exc.filename or directory}: {exc.strerror}") from exc
    return _systemctl(call, user=user)


def _systemctl(call: Invocation, *, user: bool) -> int:
    """Tell systemd, where it runs; else say what to do once it does."""
    import subprocess

    scope = ["--user"] if user else []
    commands = [
        ["systemctl", *scope, "daemon-reload"],
        ["systemctl", *scope, "enable", *(["--now"] if call.flags["now"] else []), "rundlet.socket", "rundlet.service"],
    ]
    if not os.path.isdir("/run/systemd/system"):
        call.context.say("systemd does not run here. Where it does:")
        for command in commands:
            call.context.say("  " + " ".join(command))
        return 0
    for command in commands:
        try:
            done = subprocess.run(command, check=False)
        except OSError as exc:
            raise CommandError(f"systemctl: {exc.strerror}") from exc
        if done.returncode:
            return done.returncode
    if user:
        call.context.say("To start it at boot rather than at your first login: loginctl enable-linger")
    return 0
