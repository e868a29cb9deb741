"""What must stay although no image names it yet: content that a pull, import or push is at work with.

In memory: one engine owns the store, and at its start nothing is at work. A lease is taken *before* looking whether
content is there; while content is being deleted nobody can take one, so what was seen stays.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rundlet.oci.digest import Digest


class Lease:
    """Digests (of blobs and chains) held until the lease ends."""

    def __init__(self, leases: "Leases", held: list[Digest]) -> None:
        self._leases = leases
        self.held = held

    async def hold(self, *digests: Digest) -> None:
        """Keep ``digests`` from being deleted; waits while a deletion is under way."""
        async with self._leases.deleting():
            self._leases.count(digests)
            self.held += digests

    def holds(self, digest: Digest) -> bool:
        return digest in self.held


class Leases:
    """One per engine, shared by pulls, imports, pushes and removals."""

    def __init__(self) -> None:
        self._counts: Counter[Digest] = Counter()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def lease(self, held: list[Digest] | None = None) -> AsyncIterator[Lease]:
        """A new lease, ended with the block; ``held`` is filled with what it held."""
        lease = Lease(self, [] if held is None else held)
        try:
            yield lease
        finally:
            self._counts.subtract(lease.held)
            for digest in set(lease.held):
                if self._counts[digest] <= 0:
                    del self._counts[digest]

    def count(self, digests: tuple[Digest, ...]) -> None:
        self._counts.update(digests)

    def held(self, digest: Digest) -> bool:
        return self._counts[digest] > 0

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[None]:
        """While this is held nobody can take a lease."""
        async with self._lock:
            yield
