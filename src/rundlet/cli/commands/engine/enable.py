"""``rundlet engine enable``: systemd units, for the system or for the user."""

from __future__ import annotations

import os

from rundlet.cli import paths
from rundlet.cli.engine_process import stop
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
{after}Requires=rundlet.socket
# Also who stops it by hand, and wakes it with the next command, starts it.
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=100ms
# Recovery takes the time that it takes: a machine's worth of containers may have to be started.
TimeoutStartSec=infinity
# Containers outlive the engine: only its own process is stopped with the unit.
KillMode=process
Delegate=yes
OOMScoreAdjust=-500
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy={target}
"""

SYSTEM_AFTER = """\
After=network-online.target nftables.service firewalld.service
Wants=network-online.target
"""

SOCKET = """\
[Unit]
Description=Rundlet engine API

[Socket]
ListenStream={socket}
SocketMode=0660
DirectoryMode=0711
{group}
[Install]
WantedBy=sockets.target
"""

UNITS = ("rundlet.socket", "rundlet.service")


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
    arguments = ["--data-root", paths.data_root(), "--exec-root", paths.run_directory(), "--host", "fd://"]
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
        "rundlet.service": SERVICE.format(command=command, target=target, after="" if user else SYSTEM_AFTER),
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
    return _tell_systemd(call, user=user)


def systemd_runs(*, user: bool) -> bool:
    """Whether the system's, or this user's, service manager is there to be told."""
    if not os.path.isdir("/run/systemd/system"):
        return False
    return not user or os.path.exists(f"/run/user/{os.geteuid()}/systemd/private")


def systemctl(*words: str, user: bool) -> int:
    """Run ``systemctl`` for the system or the user and return its status. Raises CommandError."""
    import subprocess
    import sys

    sys.stdout.flush()
    try:
        return subprocess.run(_command(*words, user=user), check=False).returncode
    except OSError as exc:
        raise CommandError(f"systemctl: {exc.strerror}") from exc


def _command(*words: str, user: bool) -> list[str]:
    return ["systemctl", *(["--user"] if user else []), *words]


def _tell_systemd(call: Invocation, *, user: bool) -> int:
    """Have the units loaded, enabled and, if asked for, started; where systemd does not run, say what is to be done."""
    enabling = ["enable", *(["--now"] if call.flags["now"] else []), *UNITS]
    if not systemd_runs(user=user):
        call.context.say("systemd does not run here. Where it does:")
        for words in (["daemon-reload"], enabling):
            call.context.say("  " + " ".join(_command(*words, user=user)))
        return 0
    if call.flags["now"] and systemctl("is-active", "--quiet", UNITS[1], user=user) != 0:
        # An engine that a command line has started holds the data root; systemd's takes its place.
        stop()
    status = systemctl("daemon-reload", user=user) or systemctl(*enabling, user=user)
    if not status and user:
        call.context.say("To start it at boot rather than at your first login: loginctl enable-linger")
    return status
