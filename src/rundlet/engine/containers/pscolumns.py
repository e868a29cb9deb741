"""The columns that ps(1) knows by name, and the ones that its formats are made of. See: ps(1), "standard format"."""

import time
from collections.abc import Callable
from typing import Final

from rundlet.engine import machine
from rundlet.engine.containers.psprocesses import TICKS, Process

Reader = Callable[[Process], str]
Column = tuple[str, Reader]
"""The title, and what is shown of a process."""

_DAY: Final = 86400


def _started(process: Process) -> str:
    now, began = time.localtime(), process.began
    same_day = began[:3] == now[:3]
    return time.strftime("%H:%M" if same_day else "%b%d" if began[0] == now[0] else "%Y", began)


def _started_long(process: Process) -> str:
    return time.strftime("%H:%M:%S" if process.age < _DAY else "%b %d", process.began)


def _cpu_time(process: Process) -> str:
    return _clock(process.cpu // TICKS, hours=True)


def _short_time(process: Process) -> str:
    seconds = process.cpu // TICKS
    return f"{seconds // 60}:{seconds % 60:02}"


def _elapsed(process: Process) -> str:
    return _clock(int(process.age), hours=False)


def _clock(seconds: int, *, hours: bool) -> str:
    days, rest = divmod(seconds, _DAY)
    text = f"{rest // 60 % 60:02}:{rest % 60:02}"
    if hours or rest >= 3600 or days:
        text = f"{rest // 3600:02}:{text}"
    return f"{days}-{text}" if days else text


def _percent_cpu(process: Process) -> str:
    return f"{process.cpu / TICKS / process.age * 100:.1f}"


def _percent_memory(process: Process) -> str:
    return f"{process.resident / machine.memory() * 100:.1f}"


_NUMBERS: Final[dict[str, Column]] = {
    "pid": ("PID", lambda p: str(p.pid)),
    "tgid": ("TGID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "pgid": ("PGID", lambda p: str(p.pgid)),
    "pgrp": ("PGRP", lambda p: str(p.pgid)),
    "sid": ("SID", lambda p: str(p.sid)),
    "sess": ("SESS", lambda p: str(p.sid)),
    "tpgid": ("TPGID", lambda p: str(p.tpgid)),
    "uid": ("UID", lambda p: str(p.uid)),
    "euid": ("EUID", lambda p: str(p.uid)),
    "gid": ("GID", lambda p: str(p.gid)),
    "egid": ("EGID", lambda p: str(p.gid)),
    "c": ("C", lambda p: str(int(float(_percent_cpu(p))))),
    "%cpu": ("%CPU", _percent_cpu),
    "%mem": ("%MEM", _percent_memory),
    "vsz": ("VSZ", lambda p: str(p.virtual // 1024)),
    "rss": ("RSS", lambda p: str(p.resident // 1024)),
    "sz": ("SZ", lambda p: str(p.pages)),
    "ni": ("NI", lambda p: str(p.nice)),
    "pri": ("PRI", lambda p: str(39 - p.priority)),
    "priority": ("PRI", lambda p: str(p.priority)),
    "opri": ("PRI", lambda p: str(60 + p.priority)),
    "nlwp": ("NLWP", lambda p: str(p.threads)),
    "psr": ("PSR", lambda p: str(p.processor)),
    "min_flt": ("MINFL", lambda p: str(p.minor_faults)),
    "maj_flt": ("MAJFL", lambda p: str(p.major_faults)),
    "etimes": ("ELAPSED", lambda p: str(int(p.age))),
    "cputimes": ("TIME", lambda p: str(p.cpu // TICKS)),
    "f": ("F", lambda p: str(p.flags >> 6 & 7)),
}
_TEXTS: Final[dict[str, Column]] = {
    "user": ("USER", lambda p: p.user),
    "euser": ("EUSER", lambda p: p.user),
    "stime": ("STIME", _started),
    "start_time": ("START", _started),
    "start": ("STARTED", _started_long),
    "lstart": ("STARTED", lambda p: time.strftime("%a %b %e %H:%M:%S %Y", p.began)),
    "tty": ("TT", lambda p: p.tty),
    "tname": ("TTY", lambda p: p.tty),
    "time": ("TIME", _cpu_time),
    "bsdtime": ("TIME", _short_time),
    "etime": ("ELAPSED", _elapsed),
    "cmd": ("CMD", lambda p: p.command),
    "args": ("COMMAND", lambda p: p.command),
    "comm": ("COMMAND", lambda p: p.name),
    "ucmd": ("CMD", lambda p: p.name),
    "stat": ("STAT", lambda p: p.marked_state),
    "s": ("S", lambda p: p.state),
    "wchan": ("WCHAN", lambda p: p.waits_in),
    "addr": ("ADDR", lambda _p: "-"),
}
_OTHER_NAMES: Final = {
    "command": "args",
    "cputime": "time",
    "flag": "f",
    "flags": "f",
    "nice": "ni",
    "pcpu": "%cpu",
    "pmem": "%mem",
    "rssize": "rss",
    "rsz": "rss",
    "session": "sess",
    "state": "s",
    "thcount": "nlwp",
    "times": "cputimes",
    "tt": "tty",
    "ucomm": "comm",
    "vsize": "vsz",
}
COLUMNS: Final[dict[str, Column]] = _NUMBERS | _TEXTS
"""By the name that ``-o`` and ``--sort`` take."""
COLUMNS.update({name: COLUMNS[real] for name, real in _OTHER_NAMES.items()})

USER: Final[Column] = ("UID", lambda p: p.user)
"""``-f`` calls the name so."""


def columns(names: str) -> tuple[Column, ...]:
    """Of names with blanks between; ``user`` in capitals is :data:`USER`."""
    return tuple(USER if name == "USER" else COLUMNS[name] for name in names.split())
