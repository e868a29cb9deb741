"""``--squash``: what a build added to its base image, as one layer."""

from typing import Final

import msgspec

from rundlet.builder.state import StageState
from rundlet.builder.steps import Recorder
from rundlet.builder.transfers import Transfers
from rundlet.image.assembly import assemble
from rundlet.oci.config import History
from rundlet.util.clock import rfc3339_nano

COMMENT: Final = "merge {image} to {base}"


async def squash(
    state: StageState, depth: int, steps: int, transfers: Transfers, recorder: Recorder, created_ns: int
) -> StageState:
    """``state`` with its layers above ``depth`` in one; ``steps`` entries of its history are the base's.

    Raises StorageError, LayerError.
    """
    assert state.image is not None
    layer = await transfers.squashed(state, depth) if len(state.stack) > depth else None
    stack = (*state.stack[:depth], layer) if layer is not None else state.stack[:depth]
    history = list(state.config.history or ())
    emptied = [msgspec.structs.replace(step, empty_layer=True) for step in history[steps:]]
    base = str(state.stack[depth - 1].diff_id) if depth else "scratch"
    merged = History(
        created=rfc3339_nano(created_ns),
        comment=COMMENT.format(image=state.image.id, base=base),
        empty_layer=layer is None,
    )
    config = msgspec.structs.replace(
        state.config, history=[*history[:steps], *emptied, merged], created=rfc3339_nano(created_ns), steps=None
    )
    image = await assemble(recorder.images, recorder.lease, config, stack, created_ns=created_ns)
    return msgspec.structs.replace(state, config=config, stack=stack, image=image)
