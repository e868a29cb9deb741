"""The layers of images, file by file, as the API's answers."""

import asyncio
from collections.abc import Sequence

from rundlet.api.anatomy import FileChange, LayerAnatomy
from rundlet.engine.context import Context
from rundlet.image import anatomy

_KINDS = {"changed": 0, "added": 1, "deleted": 2}


async def layers(context: Context, ref: str, *, files: bool) -> Sequence[LayerAnatomy]:
    """Raises NoSuchImageError."""
    image = context.images.get(ref)
    stack = context.images.layers(image.id)
    config = context.images.config(image.id)
    found = await asyncio.to_thread(anatomy.layers, config, stack, _directories(context, ref), files=files)
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


async def differences(context: Context, ref: str, other: str) -> Sequence[FileChange]:
    """What changes from ``ref``'s files to those of ``other``. Raises NoSuchImageError."""
    first, second = _directories(context, ref), _directories(context, other)
    return [_change(change) for change in await asyncio.to_thread(anatomy.differences, first, second)]


def _directories(context: Context, ref: str) -> list[str]:
    """Of the image's layers, bottom first."""
    stack = context.images.layers(context.images.get(ref).id)
    return [context.snapshots.layer(layer.chain).path for layer in stack]


def _change(change: anatomy.FileChange) -> FileChange:
    return FileChange(path=f"/{change.path}", kind=_KINDS[change.kind], size=change.size, wasted=change.wasted)
