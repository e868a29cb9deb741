"""``image prune`` beside many containers, and beside others who make some."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from rundlet.api.filters import Filters
from rundlet.api.images import ImageDeleted
from rundlet.engine.images import pruning
from rundlet.engine.images.service import ImageService
from rundlet.image.leases import Leases
from rundlet.image.records import Image
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform


def image(number: int) -> Image:
    digest = Digest.of(b"%d" % number)
    return Image(digest, Descriptor("", digest, 0), "", 0, 0, Platform("amd64", "linux"), {}, None, None, 0)


class Containers:
    """Counts how often all of them are looked at."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.records = [self.of(each) for each in images]
        self.looks = 0

    def of(self, made_from: Image) -> Any:
        return SimpleNamespace(image_id=str(made_from.id), image=str(made_from.id), mounts=())

    def __iter__(self) -> Iterator[Any]:
        self.looks += 1
        return iter(self.records)


def context(images: Sequence[Image], containers: Containers) -> Any:
    by_id = {each.id: each for each in images}
    store = SimpleNamespace(
        images=lambda: list(images),
        find=by_id.get,
        children=lambda _image: [],
        layers=lambda _image: [],
        content=SimpleNamespace(expire=lambda _before: 0),
    )
    nothing = SimpleNamespace(publish=lambda *_arguments: None)
    return SimpleNamespace(
        images=store, containers=containers, events=nothing, clock=SimpleNamespace(now_ns=lambda: 10**18)
    )


async def test_images_in_use_cost_one_look_at_the_containers() -> None:
    images = [image(number) for number in range(50)]
    containers = Containers(images)

    async def discard(one: Image, names: Sequence[str]) -> Sequence[ImageDeleted]:
        raise AssertionError((one, names))

    await pruning.prune(context(images, containers), Filters({"dangling": ("true",)}), discard)
    assert containers.looks == 1


async def test_what_somebody_uses_meanwhile_counts() -> None:
    images = [image(1), image(2)]
    containers = Containers([])
    told: list[tuple[Image, Sequence[str]]] = []

    async def discard(one: Image, names: Sequence[str]) -> Sequence[ImageDeleted]:
        told.append((one, names))
        containers.records.append(containers.of(images[1]))
        return []

    await pruning.prune(context(images, containers), Filters({"dangling": ("true",)}), discard)
    assert told == [(images[0], [str(images[0].id)])]


async def test_what_a_build_is_at_work_with_stays() -> None:
    asked: list[str] = []

    async def remove(name: str, *, still: Image) -> Sequence[object]:
        assert still == image(1)
        asked.append(name)
        return []

    leases = Leases()
    rooms: Any = SimpleNamespace(leases=leases, remover=SimpleNamespace(remove=remove))
    service = ImageService(context([], Containers([])), rooms)
    async with leases.lease() as lease:
        await lease.hold(image(1).id)
        assert await service.discard(image(1), ["one"]) == []
    assert asked == []
    await service.discard(image(1), ["one"])
    assert asked == ["one"]
