"""What the images router asks of the engine. ``ref`` is a reference, an ID or an unambiguous prefix of one.

Progress iterators: an error before the first message becomes a plain failed answer, a later one the stream's last line.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from rundlet.api.anatomy import FileChange, LayerAnatomy
from rundlet.api.filters import Filters
from rundlet.api.images import (
    ImageDeleted,
    ImageHistoryItem,
    ImageInspect,
    ImageInspectOptions,
    ImageListOptions,
    ImageRemoveOptions,
    ImageSearchResult,
    ImagesPruned,
    ImageSummary,
    ImportOptions,
    LoadOptions,
    PullOptions,
    PushOptions,
    SaveOptions,
    SearchOptions,
)
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.streams import SentArchive


class ImageBackend(Protocol):
    """Methods with a ``ref`` raise NoSuchImageError (404) for an unknown one."""

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """Newest first."""
        ...

    async def inspect(self, ref: str, options: ImageInspectOptions) -> ImageInspect: ...

    async def history(self, ref: str, platform: str) -> Sequence[ImageHistoryItem]: ...

    async def layers(self, ref: str, *, files: bool) -> Sequence[LayerAnatomy]:
        """Bottom first; with ``files`` each names what it changes."""
        ...

    async def differences(self, ref: str, other: str) -> Sequence[FileChange]:
        """What changes from ``ref``'s files to those of ``other``."""
        ...

    async def pull(self, options: PullOptions) -> AsyncIterator[JSONMessage]: ...

    async def import_image(self, options: ImportOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]: ...

    async def push(self, options: PushOptions) -> AsyncIterator[JSONMessage]: ...

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        """``tag`` empty means latest."""
        ...

    async def remove(self, ref: str, options: ImageRemoveOptions) -> Sequence[ImageDeleted]: ...

    async def prune(self, filters: Filters) -> ImagesPruned: ...

    async def search(self, options: SearchOptions) -> Sequence[ImageSearchResult]: ...

    async def save(self, options: SaveOptions) -> AsyncIterator[bytes]: ...

    async def load(self, options: LoadOptions, archive: SentArchive) -> AsyncIterator[JSONMessage]: ...
