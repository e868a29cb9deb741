"""The layers of images, file by file, as the API's answers. They take a while, and are held as long."""

import asyncio
from collections.abc import Sequence

from rundlet.api.anatomy import FileChange, LayerAnatomy
from rundlet.engine.context import Context
from rundlet.image import anatomy
from rundlet.image.holding import Whole, hold_image
from rundlet.image.leases import Leases

_KINDS = {"changed": 0, "added": 1, "deleted": 2}


async def layers(context: Context, leases: Leases, ref: str, *, files: bool) -> Sequence[LayerAnatomy]:
    """Raises NoSuchImageError."""
    async with leases.lease() as lease:
        whole = await hold_image(context.images, lease, context.images.get(ref).id)
        config, directories = context.images.config(whole.image.id), _directories(context, whole)
        found = await asyncio.to_thread(anatomy.layers, config, whole.layers, directories, files=files)
    return [
        LayerAnatomy(
            diff_id=layer.diff_id,
            created_by=layer.created_by,
            size=layer.size,
            added=layer.counts["added"],
            changed=layer.counts["changed"],
            deleted=layer.counts["deleted"],
            wasted=layer.wasted,
            files=tuple(map(_change, layer.files)),
        )
        for layer in found
    ]


async def differences(context: Context, leases: Leases, ref: str, other: str) -> Sequence[FileChange]:
    """What changes from ``ref``'s files to those of ``other``. Raises NoSuchImageError."""
    async with leases.lease() as lease:
        wholes = [await hold_image(context.images, lease, context.images.get(each).id) for each in (ref, other)]
        first, second = (_directories(context, whole) for whole in wholes)
        return [_change(change) for change in await asyncio.to_thread(anatomy.differences, first, second)]


def _directories(context: Context, whole: Whole) -> list[str]:
    """Of the image's layers, bottom first."""
    return [context.snapshots.layer(layer.chain).path for layer in whole.layers]


def _change(change: anatomy.FileChange) -> FileChange:
    return FileChange(path=f"/{change.path}", kind=_KINDS[change.kind], size=change.size, wasted=change.wasted)
