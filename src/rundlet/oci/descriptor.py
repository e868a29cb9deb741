"""A descriptor: media type, digest and size of some content. See: OCI image-spec, descriptor.md."""

import msgspec

from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Points at content. ``size`` is in bytes; both digest and size are verified wherever the content arrives."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None
    platform: Platform | None = None
    artifact_type: str | None = None

    @classmethod
    def of(cls, media_type: str, content: bytes) -> "Descriptor":
        """Describe ``content``."""
        return cls(media_type, Digest.of(content), len(content))
