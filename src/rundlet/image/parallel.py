"""Several things at once, of which the first failure is everybody's."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def all_or_none(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run ``works`` together, started in order. The first error cancels the others and is raised as it is."""
    tasks = [asyncio.create_task(work) for work in works]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
