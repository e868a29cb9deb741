"""``image prune``: images that nothing needs, and names that no container was made from.

Others go on meanwhile: each image is looked at again when its turn comes, and one that somebody removed, named or used
in between is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rundlet.api.filters import Filters
from rundlet.api.images import ImageDeleted, ImagesPruned
from rundlet.engine.context import Context
from rundlet.engine.images.names import spare_names
from rundlet.engine.times import parse_until
from rundlet.image.records import Image

Discard = Callable[[Image, Sequence[str]], Awaitable[Sequence[ImageDeleted]]]
"""Removes names of an image, or the image by its ID; what went."""


async def prune(context: Context, filters: Filters, discard: Discard) -> ImagesPruned:
    """Images without a tag that no container uses; with ``dangling=false`` all that no container uses.

    Then an image in use loses those of its names that no container was made from, as with Docker. The beginnings of
    downloads that nobody goes on with now go, too.
    """
    dangling_only = filters.boolean("dangling") is not False
    until = parse_until(filters.get("until"), context.clock)
    deleted: list[ImageDeleted] = []
    freed = 0
    references = _references(context)
    for listed in context.images.images():
        image = context.images.find(listed.id)
        if image is None or (dangling_only and image.tags) or not _selected(image, filters, until):
            continue
        users = references.get(str(image.id), ())
        if not users and context.images.children(image.id):
            continue
        if users:
            names = [name.familiar for name in spare_names(image, users)]
        else:
            names = [*image.repo_tags, *image.repo_digests] or [str(image.id)]
        if not names:
            continue
        sizes = {str(layer.chain): layer.size for layer in context.images.layers(image.id)}
        gone = await discard(image, names)
        references = _references(context)  # others had their turn, too
        deleted += gone
        freed += sum(sizes.get(item.deleted or "", 0) for item in gone)
    if not (filters.get("label") or filters.get("label!")):
        now = context.clock.now_ns()
        freed += await asyncio.to_thread(context.images.content.expire, now if until is None else until)
    context.events.publish("image", "prune", "", {"reclaimed": str(freed)})
    return ImagesPruned(images_deleted=tuple(deleted) or None, space_reclaimed=freed)


def _selected(image: Image, filters: Filters, until: int | None) -> bool:
    if until is not None and image.created_ns >= until:
        return False
    return filters.labels(image.labels) and not (filters.get("label!") and filters.labels(image.labels, "label!"))


def _references(context: Context) -> dict[str, list[str]]:
    """What containers were made from or mount, as their users gave it, by the image's ID."""
    found: dict[str, list[str]] = {}
    for record in context.containers:
        found.setdefault(record.image_id, []).append(record.image)
        for mount in record.mounts:
            if mount.kind == "image":
                found.setdefault(mount.name, []).append(mount.source)
    return found
