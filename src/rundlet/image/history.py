"""The rows of ``image history``, the newest first, as Docker derives them from config and layers."""

from collections.abc import Sequence

import msgspec

from rundlet.image.records import Image, Layer
from rundlet.image.store import ImageStore
from rundlet.image.times import created_ns
from rundlet.oci.config import ContainerConfig, History, ImageConfig

MISSING = "<missing>"


class HistoryRow(msgspec.Struct, frozen=True):
    """One step. ``id`` is an image ID or ``<missing>``; ``created`` RFC 3339 or ""; ``size`` in bytes."""

    id: str
    created: str
    created_by: str
    comment: str
    size: int
    tags: tuple[str, ...] = ()


def history(store: ImageStore, image: Image) -> list[HistoryRow]:
    """All steps of ``image``; those that are images here (it and its local parents) carry ID and names."""
    rows = _rows(store.config(image.id), store.layers(image.id))
    position = 0
    current: Image | None = image
    while current is not None and 0 <= position < len(rows):
        # Some steps of BuildKit's builds are not told of: the last one's row stands for them.
        if rows[position].id == MISSING:
            rows[position] = msgspec.structs.replace(rows[position], id=str(current.id), tags=tuple(current.repo_tags))
        parent = store.find(current.parent) if current.parent is not None else None
        if parent is not None:
            # The parent's own history is shorter by the steps that were taken since.
            following = len(rows) - len(store.config(parent.id).history or ())
            position = following if following >= position else -1
        current = parent
    return rows


def _rows(config: ImageConfig, layers: Sequence[Layer]) -> list[HistoryRow]:
    sizes = [layer.size for layer in layers]
    rows: list[HistoryRow] = []
    position = 0
    for step in config.history or ():
        size = 0
        if not step.empty_layer and position < len(sizes):
            size = sizes[position]
            position += 1
        rows.append(HistoryRow(MISSING, step.created or "", step.created_by, step.comment, size))
    rows.reverse()
    return rows


def stands_on(config: ImageConfig, parent: ImageConfig) -> bool:
    """Whether an image can have been made from another in one step: what a link between two of an archive needs."""
    steps, before = config.history or (), parent.history or ()
    if not steps and not before:
        # Nobody has to keep a history; but two images don't come from each other.
        return len(config.diff_ids) > len(parent.diff_ids)
    added = len(steps) - len(before)
    if added == 0 and config.diff_ids == parent.diff_ids:
        return _says_more(config, parent) and all(map(_same_step, steps, before))
    return added == 1 and all(map(_same_step, steps, before))


def _says_more(config: ImageConfig, parent: ImageConfig) -> bool:
    """Whether there is a trigger or a label that the other has not: BuildKit's histories don't tell of such steps."""
    here, below = config.config or ContainerConfig(), parent.config or ContainerConfig()
    return len(here.on_build or ()) > len(below.on_build or ()) or len(here.labels or {}) > len(below.labels or {})


def _same_step(step: History, other: History) -> bool:
    """The same but for how its moment is written."""
    created, moment = created_ns(step.created), created_ns(other.created)
    return created == moment and msgspec.structs.replace(step, created=other.created) == other


def layer_steps(config: ImageConfig, count: int) -> list[str]:
    """The command that made each of ``count`` layers, bottom first; "" where the history does not say."""
    steps = [step.created_by for step in config.history or () if not step.empty_layer][:count]
    return steps + [""] * (count - len(steps))
