"""The policy that removes images by itself: key ``gc`` of ``daemon.json``.

An image may go when no container uses it, no other image was built upon it, nothing that is under way holds its content
and it was not used for ``unused_for``; one with a tag only where the policy says so. With ``keep_storage``, only while
images take more of the disk than that, the one that was used longest ago first.
"""

import asyncio
import logging

import msgspec

from rundlet.engine.context import Context
from rundlet.engine.images.service import ImageService
from rundlet.errors import RundletError
from rundlet.image.leases import Leases
from rundlet.image.records import Image
from rundlet.image.uses import Uses
from rundlet.oci.digest import Digest

_log = logging.getLogger(__name__)
_LONGEST = 60.0
_SHORTEST = 1.0


class ImagePolicy(msgspec.Struct, frozen=True):
    """``keep_storage`` in bytes, None: however much there is; ``unused_for`` in seconds."""

    keep_storage: int | None = None
    unused_for: float = 0.0
    tagged: bool = False


class PolicyKeeper:
    """Made by the wiring when a policy is configured."""

    def __init__(self, context: Context, images: ImageService, leases: Leases, uses: Uses, policy: ImagePolicy) -> None:
        self._context = context
        self._images = images
        self._leases = leases
        self._uses = uses
        self._policy = policy

    async def run(self) -> None:
        """For as long as the engine runs."""
        pause = min(_LONGEST, max(_SHORTEST, self._policy.unused_for / 4))
        while True:
            try:
                await self.apply()
            except (OSError, RundletError) as error:
                _log.warning("removing unused images: %s", error)
            await asyncio.sleep(pause)

    async def apply(self) -> list[Digest]:
        """Remove once what the policy says; the images that went."""
        used = {Digest.parse(record.image_id) for record in self._context.containers if record.image_id}
        mounts = (point for record in self._context.containers for point in record.mounts)
        used |= {Digest.parse(point.name) for point in mounts if point.kind == "image"}
        times = await asyncio.to_thread(self._uses.observe, used)
        before = self._context.clock.now_ns() - int(self._policy.unused_for * 1e9)
        old = sorted((when, image) for image, when in times.items() if when <= before)
        removed: list[Digest] = []
        for _when, image_id in old:
            if not await self._too_much():
                break
            image = self._context.images.find(image_id)
            if image is not None and self._may_go(image, used) and await self._remove(image):
                removed.append(image_id)
        return removed

    async def _too_much(self) -> bool:
        limit = self._policy.keep_storage
        return limit is None or await asyncio.to_thread(self._storage) > limit

    def _storage(self) -> int:
        """Bytes of all layers' files and all blobs."""
        content = self._context.images.content
        return self._images.layers_size() + content.usage()

    def _may_go(self, image: Image, used: set[Digest]) -> bool:
        store = self._context.images
        if image.id in used or (image.tags and not self._policy.tagged) or store.children(image.id):
            return False
        content = (*store.blobs(image.id), *(layer.chain for layer in store.layers(image.id)))
        return not any(self._leases.held(digest) for digest in content)

    async def _remove(self, image: Image) -> bool:
        await self._images.discard(image, [*image.repo_tags, *image.repo_digests] or [str(image.id)])
        gone = self._context.images.find(image.id) is None
        if gone:
            _log.info("image %s was not used for long and is removed", image.id.short)
        return gone
