"""``rundlet stats``: all samples are read by one thread, from one stream per container."""

from __future__ import annotations

import select
import sys
import time

from rundlet.cli.each import container_path
from rundlet.cli.format.rows import print_rows
from rundlet.cli.format.stats import COLUMNS, FIELDS, Row
from rundlet.cli.shared_flags import TABLE_FORMAT
from rundlet.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [CONTAINER...]"
SHORT = "Display a live stream of container(s) resource usage statistics"
ARGS = (0, -1)
FLAGS = (
    ("all", "a", "bool", "Show all containers (default shows just running)"),
    TABLE_FORMAT,
    ("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
    ("no-trunc", "", "bool", "Do not truncate output"),
)
INTERVAL = 0.5
CLEAR = "\x1b[H\x1b[J"


class _Watched:
    """One container's stream of samples."""

    def __init__(self, call: Invocation, row: Row) -> None:
        self.row = row
        session = call.context.session
        self.connection = session.send("GET", container_path(row.identifier, "stats"), query={"stream": True})
        self._samples: Iterator[Any] | None = None
        self._session = session

    def take(self) -> bool:
        """Read one sample; False when the container is gone."""
        try:
            if self._samples is None:
                self._samples = self._session.answer(self.connection).json_stream()
            sample = next(self._samples)
        except (StopIteration, ClientError):
            return False
        self.row.name = str(sample.get("name") or self.row.name).removeprefix("/")
        if sample.get("precpu_stats", {}).get("system_cpu_usage"):
            self.row.stats = sample
        return True


def run(call: Invocation) -> int:
    flags = call.flags
    if flags["no-stream"]:
        _print(call, _once(call, _targets(call)))
        return 0
    watched = {row.identifier: _Watched(call, row) for row in _targets(call)}
    poll = select.poll()
    by_fd = {}
    for one in watched.values():
        poll.register(one.connection.socket.fileno(), select.POLLIN)
        by_fd[one.connection.socket.fileno()] = one
    due = 0.0
    while watched or not call.args:
        for fd, _event in poll.poll(INTERVAL * 1000):
            one = by_fd[fd]
            if not one.take():
                poll.unregister(fd)
                one.connection.close()
                del by_fd[fd], watched[one.row.identifier]
        if time.monotonic() < due:
            continue
        due = time.monotonic() + INTERVAL
        if not call.args:
            for row in _targets(call):
                if row.identifier not in watched:
                    one = watched[row.identifier] = _Watched(call, row)
                    poll.register(one.connection.socket.fileno(), select.POLLIN)
                    by_fd[one.connection.socket.fileno()] = one
        sys.stdout.write(CLEAR)
        _print(call, [one.row for one in watched.values()])
        sys.stdout.flush()
    return 0


def _targets(call: Invocation) -> list[Row]:
    """What to show, as yet without a sample. Raises ApiError for a container that is not there."""
    session = call.context.session
    if call.args:
        found = [session.get(container_path(name, "json")) for name in call.args]
        return [
            Row(item["Id"], item["Name"].removeprefix("/"), asked) for asked, item in zip(call.args, found, strict=True)
        ]
    items = session.get("/containers/json", {"all": call.flags["all"] or None})
    return [Row(item["Id"], (item.get("Names") or [""])[0].removeprefix("/"), item["Id"][:12]) for item in items]


def _once(call: Invocation, rows: list[Row]) -> list[Row]:
    """One sample of each, asked for together: the engine takes a second for each."""
    session = call.context.session
    pending = [
        (row, session.send("GET", container_path(row.identifier, "stats"), query={"stream": False})) for row in rows
    ]
    for row, connection in pending:
        try:
            row.stats = session.answer(connection).json()
        except ApiError:
            row.stats = None
    return rows


def _print(call: Invocation, rows: list[Row]) -> None:
    template = call.flags["format"] or call.context.config.get("statsFormat") or ""
    print_rows(
        call.context,
        rows,
        FIELDS,
        COLUMNS,
        template=template,
        full=call.flags["no-trunc"],
        type_name="container.statsContext",
    )
