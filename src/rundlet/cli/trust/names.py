"""The image names that trust commands take, and failures as lines for the user."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.reference import parse
from rundlet.trust.errors import TrustError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from rundlet.cli.reference import ImageName


def with_tag(text: str) -> ImageName:
    """Raises CommandError for a name without a tag."""
    name = parse(text)
    if name.digest:
        raise CommandError("cannot use a digest reference for IMAGE:TAG")
    if not name.tag:
        raise CommandError(f"no tag specified for {text}")
    return name


class explained:
    """A block within which a TrustError becomes a CommandError.

    A class, because ``contextlib`` takes longer to import than all of this.
    """

    def __init__(self, repository: str, prefix: str = "") -> None:
        self._repository = repository
        self._prefix = prefix

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(exc, TrustError):
            raise CommandError(self._prefix + exc.explain(self._repository)) from exc
