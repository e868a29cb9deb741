"""What need not be done at once, for as long as the engine runs.

A machine that lacks something, room or descriptors, puts a duty off: the others are done, and this one in the next
round.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from rundlet.daemon.wiring import Engine
from rundlet.errors import RundletError

_log = logging.getLogger(__name__)
_ROUND: Final = 30.0
_AFTER_AN_END: Final = 0.5
"""Seconds in which more containers may end, so that all are cleared up behind in one go."""


class Duty:
    """Something to do again and again; why it failed is logged once, until it succeeds."""

    def __init__(self, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        self._what = what
        self._work = work
        self._trouble = ""

    async def do(self) -> None:
        try:
            await self._work()
        except (OSError, RundletError) as error:
            if str(error) != self._trouble:
                _log.warning("%s: %s", self._what, error)
            self._trouble = str(error)
        else:
            self._trouble = ""


def begin(engine: Engine) -> None:
    """Has it done from now on."""
    context, in_thread = engine.context, partial(partial, asyncio.to_thread)
    layers = Duty("remove what is left of layers", in_thread(context.snapshots.sweep))
    addresses = Duty("clear up behind containers on networks", in_thread(context.network.sweep))
    duties = (
        Duty("set room aside for removals", in_thread(engine.database.keep_reserve)),
        Duty("bring contents to the disk", in_thread(engine.content.sync)),
        Duty("remove downloads that nobody goes on with", in_thread(engine.content.expire)),
        Duty("bring layers to the disk", in_thread(context.snapshots.sync)),
        layers,
        Duty("remove layers that nothing stands on any more", engine.garbage.look_at_used),
        addresses,
        Duty("let containers through the old iptables", in_thread(context.network.allow_legacy)),
        Duty("clear up behind containers", partial(_clear_up, engine)),
    )
    first = (layers, Duty("remove content that nothing refers to", engine.garbage.collect))
    engine.tasks.spawn(rounds(first, duties), name="housekeeping")
    released = asyncio.Event()
    context.network.on_release = released.set
    engine.tasks.spawn(_after_ends(released, addresses), name="sweeping")


async def rounds(first: tuple[Duty, ...], duties: tuple[Duty, ...], pause: float = _ROUND) -> None:
    """``first`` once; then ``duties``, and again after every ``pause`` (seconds)."""
    for duty in first:
        await duty.do()
    while True:
        for duty in duties:
            await duty.do()
        await asyncio.sleep(pause)


async def _clear_up(engine: Engine) -> None:
    engine.context.containers.flush()
    engine.lifecycle.give_back_leftovers()
    engine.lifecycle.sweep_cgroups()


async def _after_ends(released: asyncio.Event, addresses: Duty) -> None:
    """Their addresses are free again soon after containers' end, many at a time."""
    while True:
        await released.wait()
        await asyncio.sleep(_AFTER_AN_END)
        released.clear()
        await addresses.do()
