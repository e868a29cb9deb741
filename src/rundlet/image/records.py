"""What the image room speaks of: images, their layers, their users, progress."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference


class Layer(msgspec.Struct, frozen=True):
    """One layer of an image. ``size`` is that of its files in bytes; ``blob`` is what travels (compressed)."""

    diff_id: Digest
    chain: Digest
    size: int
    blob: Descriptor


class Image(msgspec.Struct, frozen=True):
    """An image as Docker's classic store sees it: named by its config's digest, for one platform.

    ``size`` is the sum of the layers' files in bytes. ``created`` is the config's text (RFC 3339, or ""),
    ``created_ns`` the same since the epoch; ``tagged_ns`` the last tagging (0: never). ``chain`` is the top layer's
    chain ID, None for an image without layers.
    """

    id: Digest
    manifest: Descriptor
    created: str
    created_ns: int
    size: int
    platform: Platform
    labels: dict[str, str]
    chain: Digest | None
    parent: Digest | None
    tagged_ns: int
    tags: tuple[Reference, ...] = ()
    digests: tuple[Reference, ...] = ()

    @property
    def repo_tags(self) -> list[str]:
        return [reference.familiar for reference in self.tags]

    @property
    def repo_digests(self) -> list[str]:
        return [reference.familiar for reference in self.digests]

    @property
    def dangling(self) -> bool:
        """Without any name."""
        return not self.tags and not self.digests


class NewImage(msgspec.Struct, frozen=True):
    """What is recorded of an image whose content is complete in the store.

    ``blobs`` are all blobs that must stay as long as the image does, beside the layers': config, manifest, indexes.
    """

    id: Digest
    manifest: Descriptor
    created: str
    created_ns: int
    platform: Platform
    labels: dict[str, str]
    layers: tuple[Layer, ...]
    blobs: tuple[Digest, ...]
    parent: Digest | None = None


class Stored(msgspec.Struct, frozen=True):
    """An image as it was recorded, and the one that lost a tag to it, if another."""

    image: Image
    previous: Digest | None


class User(msgspec.Struct, frozen=True):
    """A container that uses an image."""

    container_id: str
    running: bool


class Usage(Protocol):
    """Injected by the engine: which containers, running or stopped, use an image."""

    def users(self, image: Digest) -> Sequence[User]: ...


class Removal(msgspec.Struct, frozen=True):
    """One line of ``rmi``: a name (familiar) that went, or an image or layer (digest) that was deleted."""

    kind: Literal["untagged", "deleted"]
    name: str
    image: Digest | None = None


class Progress(msgspec.Struct, frozen=True):
    """One line of a progress stream.

    ``id`` is the layer's short name, the tag, or ""; ``current`` and ``total`` are bytes (total 0: unknown or none).
    ``aux`` is an object for programs, such as a push's ``{"Tag", "Digest", "Size"}``.
    """

    status: str
    id: str = ""
    current: int = 0
    total: int = 0
    aux: dict[str, object] | None = None


OnProgress = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """For callers that show nothing."""
