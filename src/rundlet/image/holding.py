"""An image held whole, for who is going to read what it is made of.

Until all of it is held, somebody may remove it, or compress its layers and have the plain ones deleted. So it is looked
at again after that, and once more where it has become another.
"""

from collections.abc import Sequence

import msgspec

from rundlet.errors import NoSuchImageError
from rundlet.image.leases import Lease
from rundlet.image.records import Image, Layer
from rundlet.image.store import ImageStore
from rundlet.oci.digest import Digest


class Whole(msgspec.Struct, frozen=True):
    """An image and its layers, bottom first, as they were at one time."""

    image: Image
    layers: Sequence[Layer]


async def hold_image(store: ImageStore, lease: Lease, image_id: Digest) -> Whole:
    """The image as it is, with its layers and all of its blobs held. Raises NoSuchImageError."""
    while True:
        with store.database.reading():
            image, layers, blobs = store.find(image_id), store.layers(image_id), store.blobs(image_id)
        if image is None:
            raise NoSuchImageError(str(image_id))
        wanted = dict.fromkeys((*(layer.chain for layer in layers), *blobs))
        missing = [digest for digest in wanted if not lease.holds(digest)]
        if not missing:
            return Whole(image, layers)
        await lease.hold(*missing)
