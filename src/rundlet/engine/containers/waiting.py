"""``wait``: for a container's end, the next one, or its removal."""

import asyncio
from collections.abc import Awaitable

from rundlet.api.containers import WaitCondition, WaitError, WaitResult
from rundlet.container.state import is_running
from rundlet.engine.context import Context


def begin(context: Context, reference: str, condition: WaitCondition) -> Awaitable[WaitResult]:
    """Begin to wait; what is returned ends when the condition holds. Raises NoSuchContainerError."""
    record = context.containers.find(reference)
    live = context.live.of(record.id)
    loop = asyncio.get_running_loop()
    code: asyncio.Future[int] = loop.create_future()
    if condition == "removed":
        live.removed.append(code)
    elif condition == "next-exit" or is_running(record.state.status):
        live.exited.append(code)
    else:
        code.set_result(record.state.exit_code)
    result: asyncio.Future[WaitResult] = loop.create_future()

    def settle(done: asyncio.Future[int]) -> None:
        if done.cancelled() or result.done():
            return
        if (error := done.exception()) is not None:
            last = context.containers.by_id(record.id).state.exit_code
            result.set_result(WaitResult(last, WaitError(str(error))))
        else:
            result.set_result(WaitResult(done.result()))

    code.add_done_callback(settle)
    return result
