"""When to try again: growing, jittered pauses; a server's ``Retry-After`` counts up to a limit."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from rundlet.errors import RundletError
from rundlet.registry.errors import RateLimitError, RegistryError
from rundlet.transport.auth import AuthenticationError
from rundlet.transport.errors import TransportError

Sleep = Callable[[float], Awaitable[None]]

HASTY_ATTEMPTS = 2
HASTY_PATIENCE = 2.0


class Retry:
    """A policy shared by all requests. ``attempts`` counts the first one too."""

    def __init__(
        self,
        *,
        attempts: int = 5,
        base: float = 0.5,
        longest: float = 15.0,
        patience: float = 60.0,
        sleep: Sleep = asyncio.sleep,
        hasty: bool = False,
    ) -> None:
        self.attempts = attempts
        self._base = base
        self._longest = longest
        self._patience = patience
        self._sleep = sleep
        self._hasty = hasty

    def in_haste(self) -> "Retry":
        """For a server that another one follows: once more, soon, and not at all when it does not answer."""
        attempts = min(HASTY_ATTEMPTS, self.attempts)
        return Retry(attempts=attempts, base=self._base, patience=HASTY_PATIENCE, sleep=self._sleep, hasty=True)

    def pause(self, exc: RundletError, failures: int) -> float | None:
        """Seconds to wait after the ``failures``-th failure, or None when trying again makes no sense."""
        if failures >= self.attempts:
            return None
        if not isinstance(exc, TransportError | RegistryError | AuthenticationError) or not exc.temporary:
            return None
        if self._hasty and isinstance(exc, TransportError) and exc.unreachable:
            return None
        wait = None if isinstance(exc, TransportError) else exc.wait
        if isinstance(exc, RateLimitError) and wait is None and (exc.remaining or "").partition(";")[0].strip() == "0":
            return None
        if wait is not None and wait > self._patience:
            return None
        growing: float = min(self._base * 2.0 ** (failures - 1), self._longest)
        return wait if wait is not None else growing * random.uniform(0.75, 1.25)  # noqa: S311

    async def wait(self, seconds: float) -> None:
        await self._sleep(seconds)
