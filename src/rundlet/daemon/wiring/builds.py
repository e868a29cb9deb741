"""Builds: the builder with what it borrows from images and containers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from rundlet.api.images import SaveOptions
from rundlet.builder import cache as build_cache
from rundlet.builder.cachemounts import CacheMounts
from rundlet.builder.layers import LayerMaker
from rundlet.builder.urls import UrlMemory
from rundlet.daemon.wiring.containers import Containers
from rundlet.daemon.wiring.grounds import Grounds
from rundlet.daemon.wiring.images import Images
from rundlet.engine.buildkit.gate import BuildKitGate
from rundlet.engine.builds.collecting import CacheCollector
from rundlet.engine.builds.runner import ContainerRunner
from rundlet.engine.builds.service import BuildService
from rundlet.engine.builds.work import BuildRooms
from rundlet.engine.context import Context
from rundlet.image.leases import Leases
from rundlet.util.tasks import TaskGroup


@dataclass(frozen=True, slots=True)
class Builds:
    """The one builder, and who speaks BuildKit's protocol for it."""

    service: BuildService
    buildkit: BuildKitGate
    collector: CacheCollector | None


def join(
    context: Context, grounds: Grounds, images: Images, containers: Containers, leases: Leases, tasks: TaskGroup
) -> Builds:
    """Builds run containers as users do, and take and give images through the same services."""
    rooms = BuildRooms(
        cache=build_cache.BuildCache(grounds.database, grounds.images, grounds.clock),
        mounts=CacheMounts(grounds.layout.build_mounts),
        layers=LayerMaker(grounds.content, grounds.snapshots, grounds.launcher),
        runner=ContainerRunner(context, containers.creator, containers.lifecycle, tasks),
        puller=images.rooms.puller,
        pusher=images.rooms.pusher,
        remover=images.rooms.remover,
        loader=images.rooms.loader,
        leases=leases,
        http=grounds.http,
        urls=UrlMemory(grounds.database),
    )

    async def save(names: tuple[str, ...]) -> AsyncIterator[bytes]:
        return await images.service.save(SaveOptions(names=names))

    service = BuildService(context, rooms)
    rules = grounds.config.build_rules
    collector = CacheCollector(service, rules) if rules else None
    return Builds(service, BuildKitGate(context, service, grounds.http, save), collector)
