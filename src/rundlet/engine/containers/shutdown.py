"""The end of an engine that is to take its containers along (``"live-restore": false``)."""

import asyncio
import logging

import msgspec

from rundlet.api.containers import StopOptions
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import documents
from rundlet.engine.containers.lifecycle import DEFAULT_STOP_SECONDS, Lifecycle
from rundlet.engine.context import Context
from rundlet.errors import RundletError

_log = logging.getLogger(__name__)
GRACE = 5
"""Seconds beyond the time that the slowest container asks for."""


async def stop_all(context: Context, lifecycle: Lifecycle, seconds: int) -> None:
    """Stop what runs, each container in the time that it asks for, all of them in ``seconds`` or what they need.

    Nobody stopped them by hand: the next engine starts those whose policy says so. -1 waits for as long as it takes.
    """
    running = [record for record in context.containers if is_running(record.state.status)]
    if not running:
        return
    needed = [_patience(record) for record in running]
    limit = None if seconds < 0 or min(needed) < 0 else max(seconds, *(one + GRACE for one in needed))
    tasks = [asyncio.ensure_future(_stop(context, lifecycle, record)) for record in running]
    _, late = await asyncio.wait(tasks, timeout=limit)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _patience(record: Record) -> int:
    chosen = documents.config(record).stop_timeout
    return DEFAULT_STOP_SECONDS if chosen is None else chosen


async def _stop(context: Context, lifecycle: Lifecycle, record: Record) -> None:
    try:
        await lifecycle.stop(record.id, StopOptions())
    except RundletError as error:
        _log.warning("cannot stop container %s: %s", record.id[:12], error)
    if context.containers.has(record.id):
        left = context.containers.by_id(record.id)
        state = msgspec.structs.replace(left.state, manually_stopped=record.state.manually_stopped)
        context.containers.save(left.with_state(state))
