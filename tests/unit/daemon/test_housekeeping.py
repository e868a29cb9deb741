"""What is put off is done in a later round, and says so once."""

import asyncio
import logging

import pytest

from rundlet.daemon.housekeeping import Duty, rounds
from rundlet.errors import InternalError


class Work:
    """Fails as it is told to, one word for each round."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.over = asyncio.Event()
        self.done = 0

    async def __call__(self) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if not self.failures:
            self.over.set()
        if failure is not None:
            raise failure
        self.done += 1


async def test_a_duty_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    full = OSError(28, "No space left on device")
    failing = Work(full, full, None, full, InternalError("broken"), None)
    other, once = Work(), Work(full)
    duties = (Duty("fail", failing), Duty("succeed", other))
    task = asyncio.create_task(rounds((Duty("begin", once),), duties, pause=0))
    async with asyncio.timeout(30):
        await failing.over.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert failing.done == 2
    assert other.done >= 5
    assert once.done == 0
    assert [record.getMessage() for record in caplog.records] == [
        "begin: [Errno 28] No space left on device",
        "fail: [Errno 28] No space left on device",
        "fail: [Errno 28] No space left on device",
        "fail: broken",
    ]
