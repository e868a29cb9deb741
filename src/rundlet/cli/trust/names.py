"""The image names that trust commands take, and failures as lines for the user."""

from __future__ import annotations

from contextlib import contextmanager

from rundlet.cli.exit import CommandError
from rundlet.cli.reference import parse
from rundlet.trust.errors import TrustError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rundlet.cli.reference import ImageName


def with_tag(text: str) -> ImageName:
    """Raises CommandError for a name without a tag."""
    name = parse(text)
    if name.digest:
        raise CommandError("cannot use a digest reference for IMAGE:TAG")
    if not name.tag:
        raise CommandError(f"no tag specified for {text}")
    return name


@contextmanager
def explained(repository: str, prefix: str = "") -> Iterator[None]:
    """Raises CommandError for a TrustError within."""
    try:
        yield
    except TrustError as exc:
        raise CommandError(prefix + exc.explain(repository)) from exc
