"""New limits for a container that ends in the same moment."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from rundlet.api.containers import ContainerUpdate
from rundlet.container.record import Record, State
from rundlet.container.state import Status
from rundlet.engine.containers import documents
from rundlet.engine.containers.update import Updater
from rundlet.engine.context import Context
from rundlet.runtime.shimclient import ShimGoneError

RUNNING = Record(
    id="a" * 64,
    name="ending",
    created_ns=1,
    image="busybox",
    image_id="sha256:" + "b" * 64,
    config=msgspec.Raw(b"{}"),
    host_config=msgspec.Raw(b"{}"),
    state=State(status=Status.RUNNING, pid=7, started_ns=2),
)


class EndingShim:
    async def update(self, *_: object) -> list[str]:
        raise ShimGoneError


class Containers:
    def __init__(self) -> None:
        self.saved: list[Record] = []

    def find(self, _: str) -> Record:
        return RUNNING

    by_id = find

    def save(self, record: Record, **_: Any) -> None:
        self.saved.append(record)


async def test_limits_are_kept_for_the_next_start() -> None:
    containers = Containers()
    live = SimpleNamespace(lock=asyncio.Lock(), shim=EndingShim())
    context = SimpleNamespace(
        containers=containers,
        live=SimpleNamespace(of=lambda _: live),
        events=SimpleNamespace(publish=lambda *_: None),
    )
    await Updater(cast("Context", context)).update("ending", ContainerUpdate(cpu_shares=512))
    (saved,) = containers.saved
    assert documents.host(saved).cpu_shares == 512
