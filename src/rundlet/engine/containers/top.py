"""``top``: a container's processes, read from /proc: the host needs no ps(1), and the users are the container's own.

:mod:`psoptions` knows which options of ps(1) may be given, :mod:`pscolumns` what columns there are.
"""

import os
from collections.abc import Sequence
from operator import itemgetter

from rundlet.api.containers import ContainerTop
from rundlet.container.errors import NotRunningError
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import processes, psoptions, psprocesses
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.pscolumns import Reader
from rundlet.engine.containers.psprocesses import Process
from rundlet.engine.context import Context


class TopService:
    """Reads only."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def top(self, ref: str, ps_args: str) -> ContainerTop:
        """Raises NotRunningError (409), InvalidParameterError for options that are not known."""
        record = self._context.containers.find(ref)
        if not is_running(record.state.status):
            raise NotRunningError(record.id)
        listing = psoptions.parse(ps_args)
        found = _in_order(self._processes(record), listing.order)
        self._context.events.publish("container", "top", record.id, event_attributes(record))
        return ContainerTop(
            titles=tuple(title for title, _ in listing.columns),
            processes=tuple(tuple(read(process) for _, read in listing.columns) for process in found),
        )

    def _processes(self, record: Record) -> list[Process]:
        users = _users(record.state.pid)
        found = []
        for pid in processes.members(record, self._context):
            try:
                found.append(psprocesses.read(pid, users))
            except (OSError, IndexError, ValueError):
                continue  # it ended while we looked
        return found


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
