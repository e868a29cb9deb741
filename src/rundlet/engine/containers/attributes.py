"""What every event about a container carries."""

from rundlet.container.record import Record
from rundlet.engine.containers import documents


def event_attributes(record: Record) -> dict[str, str]:
    """The labels, the image's name and the container's name."""
    labels = documents.config(record).labels or {}
    return {**labels, "image": record.image, "name": record.name}
