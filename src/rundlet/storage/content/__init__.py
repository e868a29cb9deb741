"""The content store: blobs by digest."""

from rundlet.storage.content.ingest import Ingest
from rundlet.storage.content.store import ContentStore

__all__ = ["ContentStore", "Ingest"]
