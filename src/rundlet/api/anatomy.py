"""What the layers of images do, and how images differ: endpoints of Rundlet's own."""

from rundlet.api.base import Wire, always


class FileChange(Wire, frozen=True):
    """One path. ``kind`` is Docker's: 0 changed, 1 added, 2 deleted; ``wasted`` bytes of lower layers that it hides."""

    path: str = always("")
    kind: int = always(0)
    size: int = always(0)
    wasted: int = 0


class LayerAnatomy(Wire, frozen=True):
    """One layer of ``GET /images/{name}/layers``, bottom first; ``files`` only where they were asked for."""

    diff_id: str = always("", name="DiffID")
    created_by: str = always("")
    size: int = always(0)
    added: int = always(0)
    changed: int = always(0)
    deleted: int = always(0)
    wasted: int = always(0)
    files: tuple[FileChange, ...] = ()
