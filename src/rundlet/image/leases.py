"""What must stay although no image names it yet: content that a pull, import or push is at work with.

In memory: one engine owns the store, and at its start nothing is at work. A lease is taken *before* looking whether
content is there; while content is being deleted nobody can take one, so what was seen stays.

What was to be deleted meanwhile, and what a failed operation leaves that nothing else names, is looked at again when
the last lease on it ends.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from rundlet.image.errors import LeaseEndedError
from rundlet.oci.digest import Digest


class Lease:
    """Digests (of blobs and chains) held until the lease ends."""

    def __init__(self, leases: "Leases") -> None:
        self._leases = leases
        self.held: dict[Digest, None] = {}
        self.ended = False

    async def hold(self, *digests: Digest) -> None:
        """Keep ``digests`` from being deleted; waits while a deletion is under way.

        Raises LeaseEndedError: nobody would let go of them again.
        """
        async with self._leases.deleting():
            if self.ended:
                raise LeaseEndedError
            new = [digest for digest in dict.fromkeys(digests) if digest not in self.held]
            self._leases.count(new)
            self.held.update(dict.fromkeys(new))

    def holds(self, digest: Digest) -> bool:
        return digest in self.held


class Leases:
    """One per engine, shared by pulls, imports, pushes and removals."""

    def __init__(self) -> None:
        self._counts: Counter[Digest] = Counter()
        self._lock = asyncio.Lock()
        self._wanted: set[Digest] = set()
        self.on_free: Callable[[Sequence[Digest]], None] = _nothing
        """Hears what nobody holds any more and may have to go; set by the garbage collection."""

    @asynccontextmanager
    async def lease(self, held: list[Digest] | None = None) -> AsyncIterator[Lease]:
        """A new lease, ended with the block; ``held`` gets, at its end, what it held, for a caller that looks after it:
        for several leases one after the other, where need be."""
        lease = Lease(self)
        failed = held is None
        try:
            yield lease
            failed = False
        finally:
            if held is not None:
                held += lease.held
            self._end(lease, failed=failed)

    def _end(self, lease: Lease, *, failed: bool) -> None:
        lease.ended = True
        self._counts.subtract(list(lease.held))
        suspects: list[Digest] = []
        for digest in lease.held:
            if self._counts[digest] <= 0:
                del self._counts[digest]
                if failed or digest in self._wanted:
                    self._wanted.discard(digest)
                    suspects.append(digest)
        if suspects:
            self.on_free(suspects)

    def may_go(self, digest: Digest) -> bool:
        """Whether nobody holds ``digest``, which is to be deleted; else it is told of when nobody does any more."""
        self._wanted.add(digest)  # before it is looked at: a lease may end in between
        if self.held(digest):
            return False
        self._wanted.discard(digest)
        return True

    def count(self, digests: Sequence[Digest]) -> None:
        self._counts.update(digests)

    def held(self, digest: Digest) -> bool:
        return self._counts[digest] > 0

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[None]:
        """While this is held nobody can take a lease."""
        async with self._lock:
            yield


def _nothing(_freed: Sequence[Digest]) -> None:
    return None
