"""What a build says of itself while it is under way. The engine turns it into the client's stream."""

from typing import Protocol

import msgspec

from rundlet.builder.dockerfile.ast import Position
from rundlet.image.records import Progress


class Step(msgspec.Struct, frozen=True):
    """One instruction that is carried out. ``number`` counts from 1 over all stages that are built, to ``total``;
    ``label`` (``base 1/3``) and ``title`` are what it is called where only some are shown, "" for one that is not."""

    number: int
    total: int
    text: str
    label: str
    title: str
    position: Position


class Reporter(Protocol):
    """Called from the event loop; must not block."""

    def planned(self, steps: list[Step]) -> None:
        """All steps there will be, before the first begins."""

    def started(self, step: Step) -> None:
        """The step is next in its stage, or being looked up."""

    def detail(self, step: Step, text: str) -> None:
        """A line about it."""

    def running(self, step: Step, container_id: str) -> None:
        """A container runs for it."""

    def output(self, step: Step, stream: int, data: bytes) -> None:
        """What its command says on ``stream`` (1 or 2)."""

    def progress(self, step: Step, progress: Progress) -> None:
        """A pull or download for it."""

    def removed(self, step: Step, container_id: str) -> None:
        """Its container is gone again."""

    def cached(self, step: Step) -> None:
        """Nothing had to be done."""

    def finished(self, step: Step, image_id: str) -> None:
        """``image_id`` is what it led to, "" where there is no image yet (``FROM scratch``)."""

    def failed(self, step: Step, message: str) -> None:
        """The build ends here."""

    def warning(self, text: str) -> None:
        """Something to read at the end."""
