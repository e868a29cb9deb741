"""What is inside an archive of images: names of its parts and its documents.

An archive that Rundlet writes is at once an OCI layout (``oci-layout``, ``index.json``) and a docker-archive
(``manifest.json``); both point at the same ``blobs/sha256/…``. See: OCI image-spec, image-layout.md.
"""

from typing import Final

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest

OCI_LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
DOCKER_MANIFEST: Final = "manifest.json"
LEGACY_REPOSITORIES: Final = "repositories"
LAYOUT_CONTENT: Final = b'{"imageLayoutVersion":"1.0.0"}'
NAME_ANNOTATION: Final = "io.containerd.image.name"
REF_ANNOTATION: Final = "org.opencontainers.image.ref.name"
NAMELESS: Final = "<none>:<none>"
"""What some tools write, as it is shown in lists, for an image that has no name."""
ORIGINAL_ANNOTATION: Final = "dev.rundlet.manifest"
"""Digest of the manifest that an image has here, where the archive lists it with one of OCI's kind."""
DOCUMENT_LIMIT: Final = 8 << 20
"""Bytes of a document of the archive that are read at most."""


class ArchiveError(InvalidParameterError):
    """The archive is none, or holds no image that can be loaded."""

    reason = "bad-archive"


class DockerEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One image in ``manifest.json``: paths within the archive, layers bottom first."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None
    parent: str | msgspec.UnsetType = msgspec.UNSET
    """ID of the image of the archive that this one was made from."""


def blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"
