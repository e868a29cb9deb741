"""A shim whose connection was lost: whether it is there all the same, and its container runs on."""

import asyncio
import logging
from typing import Any, Final, NamedTuple

import msgspec

from rundlet.container.record import Record, State
from rundlet.container.state import Status
from rundlet.errors import RundletError
from rundlet.runtime.shimclient import ShimClient, ShimGoneError
from rundlet.util.layout import Layout

_log = logging.getLogger(__name__)
STATUSES: Final = {"running": Status.RUNNING, "paused": Status.PAUSED, "restarting": Status.RESTARTING}
"""What a shim says that its container does, where that is alive."""
_SECONDS: Final = 10.0  # for an answer


class Regained(NamedTuple):
    """A new connection, and how things are: events may have been lost with the old one.

    ``execs`` are those that run; None where the shim is of a release that doesn't say.
    """

    shim: ShimClient
    state: State
    execs: frozenset[str] | None


async def regain(layout: Layout, record: Record) -> Regained | None:
    """Connect again; None where the shim is gone, or has nothing more to tell than its exit record."""
    try:
        shim = await ShimClient.connect(layout.shim_socket(record.id))
    except ShimGoneError:
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            hello = await shim.hello()
    except (RundletError, TimeoutError) as error:
        _log.warning("shim of container %s: %s", record.id[:12], error)
        shim.close()
        return None
    if hello["id"] != record.id or hello["status"] not in STATUSES:
        shim.close()
        return None
    _log.warning("the connection to the shim of container %s was lost, and made again", record.id[:12])
    execs = hello.get("execs")
    return Regained(shim, _state(record, hello), None if execs is None else frozenset(execs))


def _state(record: Record, hello: dict[str, Any]) -> State:
    return msgspec.structs.replace(
        record.state,
        status=STATUSES[hello["status"]],
        pid=hello["pid"],
        started_ns=hello["started_at_ns"] or record.state.started_ns,
        restart_count=hello["restart_count"],
    )
