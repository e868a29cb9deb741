"""``rundlet engine status``: exit code 0 when the engine runs, 3 when not (as systemctl and init scripts say it)."""

from __future__ import annotations

from rundlet.cli import paths
from rundlet.cli.engine_process import engine_pid, is_running
from rundlet.cli.engine_start import listening
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = ""
SHORT = "Say whether the engine runs, where and since when"
ARGS = (0, 0)
FLAGS = ()
NOT_RUNNING = 3


def _since(pid: int) -> str:
    """When a process started, in words."""
    import os
    import time

    from rundlet.cli.format.units import human_duration

    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return ""
    up = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return f", up {human_duration(up).lower()}"


def _held(path: str) -> bool:
    """Whether someone listens on the socket: looked up, for a connection would make systemd start the engine."""
    try:
        with open("/proc/net/unix", "rb") as file:
            # Number: references protocol flags type state inode path; 0x10000 is __SO_ACCEPTCON.
            sockets = [line.split(None, 7) for line in file.read().splitlines()]
    except OSError:
        return False
    name = path.encode()
    return any(words[3] == b"00010000" and words[-1] == name for words in sockets if len(words) == 8)


def run(call: Invocation) -> int:
    socket, root = paths.engine_socket(), paths.data_root()
    if not is_running():
        starter = "systemd starts it at the next command" if _held(socket) else "the next command starts it"
        call.context.say(f"not running (data in {root}; {starter})")
        return NOT_RUNNING
    pid = engine_pid()
    if not listening():
        raise CommandError(f"the engine{f' (process {pid})' if pid else ''} runs, but nothing answers on {socket}")
    call.context.say(f"running (process {pid}{_since(pid)})" if pid else "running")
    call.context.say(f"socket: unix://{socket}")
    call.context.say(f"data:   {root}")
    return 0
