"""What is held, and until when."""

import asyncio

import pytest

from rundlet.image.errors import LeaseEndedError
from rundlet.image.leases import Leases
from rundlet.oci.digest import Digest

BLOB = Digest.of(b"blob")


async def test_what_goes_on_after_the_end_holds_nothing() -> None:
    leases = Leases()
    async with leases.lease() as lease:
        await lease.hold(BLOB)
    with pytest.raises(LeaseEndedError, match="the operation that this was for has ended"):
        await lease.hold(BLOB)
    assert not leases.held(BLOB)


async def test_the_end_may_come_while_one_waits() -> None:
    leases = Leases()
    async with leases.deleting(), leases.lease() as lease:
        late = asyncio.create_task(lease.hold(BLOB))
        await asyncio.sleep(0)
    with pytest.raises(LeaseEndedError):
        await late
    assert not leases.held(BLOB)


async def test_leases_one_after_the_other_give_back_what_each_has_taken() -> None:
    """A pull that is tried again has a new one each time, and looks after all that they held."""
    leases = Leases()
    async with leases.lease() as other:
        await other.hold(BLOB)
        held: list[Digest] = []
        for _ in range(3):
            async with leases.lease(held) as lease:
                assert not lease.holds(BLOB)
                await lease.hold(BLOB)
            assert leases.held(BLOB)
        assert held == [BLOB] * 3
    assert not leases.held(BLOB)
