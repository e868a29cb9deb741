"""``top``: a container's processes, read from /proc: the host needs no ps(1), and the users are the container's own.

Knows ``-ef``, ``-e``, ``-f``, ``aux``, ``-eo``/``-o`` lists with the columns below, and ``--sort`` by those.
"""

import os
import time
from collections.abc import Callable, Sequence
from operator import itemgetter

import msgspec

from rundlet.api.containers import ContainerTop
from rundlet.container.errors import NotRunningError
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine import machine
from rundlet.engine.containers import processes
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(msgspec.Struct, frozen=True):
    """Times in clock ticks, ``start`` since boot; sizes in bytes."""

    pid: int
    ppid: int
    uid: int
    user: str
    state: str
    tty: str
    cpu: int
    start: int
    nice: int
    threads: int
    virtual: int
    resident: int
    command: str
    name: str


class TopService:
    """Reads only."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def top(self, ref: str, ps_args: str) -> ContainerTop:
        """Raises NotRunningError (409), InvalidParameterError for options that are not known."""
        record = self._context.containers.find(ref)
        if not is_running(record.state.status):
            raise NotRunningError(record.id)
        form, order = _sorting(ps_args or "-ef")
        columns = _columns(form)
        processes = _in_order(self._processes(record), order)
        self._context.events.publish("container", "top", record.id, event_attributes(record))
        return ContainerTop(
            titles=tuple(title for title, _ in columns),
            processes=tuple(tuple(read(process) for _, read in columns) for process in processes),
        )

    def _processes(self, record: Record) -> list[Process]:
        users = _users(record.state.pid)
        found = []
        for pid in processes.members(record, self._context):
            try:
                found.append(_read(pid, users))
            except (OSError, IndexError, ValueError):
                continue  # it ended while we looked
        return found


def _read(pid: int, users: dict[int, str]) -> Process:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
    name = text[text.index("(") + 1 : text.rindex(")")]
    words = text[text.rindex(")") + 2 :].split()
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    uid = os.stat(f"/proc/{pid}").st_uid
    return Process(
        pid=pid,
        ppid=int(words[1]),
        uid=uid,
        user=users.get(uid, str(uid)),
        state=words[0],
        tty=_tty(int(words[4])),
        cpu=int(words[11]) + int(words[12]),
        start=int(words[19]),
        nice=int(words[16]),
        threads=int(words[17]),
        virtual=int(words[20]),
        resident=int(words[21]) * _PAGE,
        command=command or f"[{name}]",
        name=name,
    )


def _users(pid: int) -> dict[int, str]:
    """Names by number from the container's own /etc/passwd, opened beneath its root."""
    from rundlet.linux import path as paths

    users: dict[int, str] = {}
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return users
    try:
        fd = paths.open_in_root(root, "etc/passwd", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return users
    finally:
        os.close(root)
    with open(fd, encoding="utf-8", errors="replace") as file:
        for line in file.read(1 << 20).splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2].isdigit():
                users.setdefault(int(fields[2]), fields[0])
    return users


def _tty(number: int) -> str:
    major = number >> 8 & 0xFFF
    minor = number & 0xFF | number >> 12 & 0xFFF00
    if not number:
        return "?"
    return f"pts/{minor + (major - 136) * 256}" if 136 <= major <= 143 else f"tty{minor}"


Reader = Callable[[Process], str]


def _age(process: Process) -> float:
    with open("/proc/uptime") as file:
        return max(float(file.read().split()[0]) - process.start / _TICKS, 0.001)


def _start_time(process: Process) -> str:
    began = time.time() - _age(process)
    same_day = time.localtime(began)[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if same_day else "%b%d", time.localtime(began))


def _cpu_time(process: Process) -> str:
    seconds = process.cpu // _TICKS
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _short_time(process: Process) -> str:
    seconds = process.cpu // _TICKS
    return f"{seconds // 60}:{seconds % 60:02}"


def _percent_cpu(process: Process) -> str:
    return f"{process.cpu / _TICKS / _age(process) * 100:.1f}"


_COLUMNS: dict[str, tuple[str, Reader]] = {
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "user": ("USER", lambda p: p.user),
    "uid": ("UID", lambda p: str(p.uid)),
    "c": ("C", lambda p: str(int(float(_percent_cpu(p))))),
    "stime": ("STIME", _start_time),
    "start": ("START", _start_time),
    "tty": ("TTY", lambda p: p.tty),
    "tt": ("TT", lambda p: p.tty),
    "time": ("TIME", _cpu_time),
    "cmd": ("CMD", lambda p: p.command),
    "args": ("COMMAND", lambda p: p.command),
    "command": ("COMMAND", lambda p: p.command),
    "comm": ("COMMAND", lambda p: p.name),
    "%cpu": ("%CPU", _percent_cpu),
    "pcpu": ("%CPU", _percent_cpu),
    "%mem": ("%MEM", lambda p: f"{p.resident / machine.memory() * 100:.1f}"),
    "pmem": ("%MEM", lambda p: f"{p.resident / machine.memory() * 100:.1f}"),
    "vsz": ("VSZ", lambda p: str(p.virtual // 1024)),
    "rss": ("RSS", lambda p: str(p.resident // 1024)),
    "stat": ("STAT", lambda p: p.state),
    "s": ("S", lambda p: p.state),
    "ni": ("NI", lambda p: str(p.nice)),
    "nlwp": ("NLWP", lambda p: str(p.threads)),
}
_FULL: tuple[tuple[str, Reader], ...] = (
    ("UID", lambda p: p.user),
    *(_COLUMNS[name] for name in ("pid", "ppid", "c", "stime", "tty", "time", "cmd")),
)
_BSD: tuple[tuple[str, Reader], ...] = (
    *(_COLUMNS[name] for name in ("user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start")),
    ("TIME", _short_time),
    _COLUMNS["command"],
)
_PLAIN: tuple[tuple[str, Reader], ...] = tuple(_COLUMNS[name] for name in ("pid", "tty", "time", "comm"))
_FORMS = {
    "-ef": _FULL,
    "-f": _FULL,
    "ef": _FULL,
    "-eF": _FULL,
    "aux": _BSD,
    "-aux": _BSD,
    "axu": _BSD,
    "-e": _PLAIN,
    "-A": _PLAIN,
    "": _FULL,
}


def _sorting(ps_args: str) -> tuple[str, list[tuple[Reader, bool]]]:
    """The options without ``--sort``, and its keys, each with whether it is the other way round (``-rss``).

    Raises InvalidParameterError.
    """
    rest: list[str] = []
    keys: list[str] = []
    words = iter(ps_args.split())
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--sort":
            keys += (value if equals else next(words, "")).split(",")
        else:
            rest.append(word)
    for key in keys:
        if key.lstrip("+-") not in _COLUMNS:
            raise InvalidParameterError(f"error: unknown sort specifier: {key}")
    order = [(_COLUMNS[key.lstrip("+-")][1], key.startswith("-")) for key in keys]
    return " ".join(rest), order


def _in_order(processes: list[Process], order: Sequence[tuple[Reader, bool]]) -> list[Process]:
    for read, reverse in reversed(order):  # each sort keeps the order of the ones before it among equals
        ranked = sorted(((_rank(read(process)), process) for process in processes), key=itemgetter(0), reverse=reverse)
        processes = [process for _, process in ranked]
    return processes


def _rank(shown: str) -> tuple[int, float, str]:
    """Numbers by their size, before all else."""
    try:
        return 0, float(shown), ""
    except ValueError:
        return 1, 0.0, shown


def _columns(ps_args: str) -> Sequence[tuple[str, Reader]]:
    """The columns that ps(1) options ask for. Raises InvalidParameterError."""
    text = ps_args.strip()
    known = _FORMS.get(text)
    if known is not None:
        return known
    names: list[str] = []
    words = text.split()
    position = 0
    while position < len(words):
        word = words[position]
        if word in ("-e", "-A", "-a", "ax", "-ax"):
            position += 1
            continue
        for flag in ("-eo", "-Ao", "-o", "axo", "o", "--format"):
            if word.startswith(flag):
                value = word[len(flag) :].removeprefix("=")
                if not value:
                    position += 1
                    value = words[position] if position < len(words) else ""
                names += [name for name in value.split(",") if name]
                break
        else:
            raise InvalidParameterError(f"ps option {word!r} is not supported by Rundlet's top")
        position += 1
    columns = []
    for name in names:
        key, _, title = name.partition("=")
        if key not in _COLUMNS:
            raise InvalidParameterError(f"unknown ps column: {key}")
        columns.append((title or _COLUMNS[key][0], _COLUMNS[key][1]))
    if not any(read is _COLUMNS["pid"][1] for _, read in columns):
        raise InvalidParameterError("Couldn't find PID field in ps output")
    return columns
