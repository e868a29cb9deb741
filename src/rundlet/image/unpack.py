"""Layers of images that are recorded, made again from their blobs: after an unclean boot dropped some of them."""

import asyncio
from collections.abc import Iterable

from rundlet.errors import RundletError
from rundlet.image.holding import hold_image
from rundlet.image.layers import LayerImporter, LayerWork
from rundlet.image.leases import Leases
from rundlet.image.parallel import all_or_none
from rundlet.image.records import Image, ignore_progress
from rundlet.image.store import ImageStore
from rundlet.oci.digest import Digest


class Unpacker:
    """Made by the wiring; asked at start, and before a container is made of an image."""

    def __init__(self, store: ImageStore, layers: LayerImporter, leases: Leases) -> None:
        self._store = store
        self._layers = layers
        self._leases = leases

    async def ensure(self, image: Image) -> None:
        """Return when every layer of ``image`` is there.

        Raises NoSuchImageError, MissingBlobError when a layer's blob is gone too, and what unpacking raises.
        """
        async with self._leases.lease() as lease:
            stack = (await hold_image(self._store, lease, image.id)).layers
            parents = (None, *(layer.chain for layer in stack))
            works = [
                LayerWork(layer.chain, parent, layer.diff_id, layer.blob)
                for layer, parent in zip(stack, parents, strict=False)
            ]
            await all_or_none(self._layers.ensure(work, None, ignore_progress) for work in works)

    async def restore(self, dropped: Iterable[Digest]) -> dict[Digest, RundletError]:
        """Bring back the layers that a check dropped; the images of which one could not be, and why."""
        missing = set(dropped)
        failed: dict[Digest, RundletError] = {}
        for image in await asyncio.to_thread(self._store.images):
            if missing.isdisjoint(layer.chain for layer in self._store.layers(image.id)):
                continue
            try:
                await self.ensure(image)
            except RundletError as exc:
                failed[image.id] = exc
        return failed
