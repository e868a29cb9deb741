"""What the registry has to know of a manifest: what it refers to, and what it is about. Its bytes are never changed."""

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.oci import mediatype
from rundlet.oci.codec import decode
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import document_type
from rundlet.registry.server.errors import ManifestInvalidError


class Document(msgspec.Struct, frozen=True):
    """``blobs`` must be in the repository before the manifest is; so must ``manifests``; ``subject`` need not."""

    media_type: str
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Digest | None
    artifact_type: str
    annotations: dict[str, str]

    @property
    def references(self) -> tuple[Descriptor, ...]:
        return self.blobs + self.manifests


class _Fields(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


def read_document(data: bytes, content_type: str) -> Document:
    """Raises ManifestInvalidError for what is no image manifest or index of ``content_type`` ("" when unknown)."""
    if content_type and not (mediatype.is_index(content_type) or mediatype.is_manifest(content_type)):
        raise ManifestInvalidError(f"media type {content_type} is neither that of a manifest nor that of an index")
    try:
        kind = document_type(data, content_type)
        fields = decode(data, _Fields, "manifest")
    except InvalidParameterError as exc:
        raise ManifestInvalidError(str(exc)) from exc
    if mediatype.is_index(kind):
        blobs: tuple[Descriptor, ...] = ()
    elif fields.config is None:
        raise ManifestInvalidError("it has no config")
    else:
        # Foreign layers are kept elsewhere: their descriptor says where.
        blobs = (fields.config, *(layer for layer in fields.layers or () if not _foreign(layer)))
    if any(part.size < 0 for part in (*blobs, *(fields.manifests or ()))):
        raise ManifestInvalidError("it has a descriptor of negative size")
    artifact_type = fields.artifact_type
    if not artifact_type and fields.config is not None:
        artifact_type = fields.config.media_type
    return Document(
        media_type=kind,
        blobs=blobs,
        manifests=fields.manifests or (),
        subject=fields.subject.digest if fields.subject is not None else None,
        artifact_type=artifact_type,
        annotations=fields.annotations or {},
    )


def _foreign(layer: Descriptor) -> bool:
    return bool(layer.urls) or mediatype.is_foreign_layer(layer.media_type)
