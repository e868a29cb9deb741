"""Image manifests and indexes (Docker's manifest lists). See: OCI image-spec, manifest.md and image-index.md."""

from typing import Final

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.oci import mediatype
from rundlet.oci.codec import InvalidDocumentError, decode, encode
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.platform import Platform

SIZE_LIMIT: Final = 4 << 20
"""Bytes of a manifest or index that are read at most; registries refuse larger ones."""
LAYER_LIMIT: Final = 127
"""Layers of one image: what overlay mounts are asked to take, and Docker's own limit."""
ATTESTATION_ANNOTATION: Final = "vnd.docker.reference.type"


class UnsupportedManifestError(InvalidParameterError):
    """A manifest of a kind that Docker, too, no longer takes, or that is no image."""

    reason = "unsupported-manifest"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One platform's image: its config and its layers, bottom first."""

    schema_version: int = 0
    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = ""
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    subject: Descriptor | None = None

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """A view on ``data``. Raises InvalidDocumentError, UnsupportedManifestError."""
        manifest = decode(data, cls, "image manifest")
        if len(manifest.layers) > LAYER_LIMIT:
            raise UnsupportedManifestError(
                f"image has {len(manifest.layers)} layers, at most {LAYER_LIMIT} are possible"
            )
        for descriptor in (manifest.config, *manifest.layers):
            _check_size(descriptor)
        return manifest

    def encode(self) -> bytes:
        """New bytes, for a manifest that Rundlet makes.

        Docker's kind is written with Docker's indentation and order: older docker command lines write such a manifest
        anew when they put it into a list, and must arrive at the same digest.
        """
        data = encode(_Ordered.of(self))
        if self.media_type != mediatype.DOCKER_MANIFEST:
            return data
        document = msgspec.json.decode(data)
        for descriptor in (document["config"], *document["layers"]):
            descriptor["digest"] = descriptor.pop("digest")
        return msgspec.json.format(msgspec.json.encode(document), indent=3)


class _Ordered(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The order in which Docker and the specification write a manifest's fields."""

    schema_version: int
    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> "_Ordered":
        return cls(**{name: getattr(manifest, name) for name in cls.__struct_fields__})


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Several manifests, usually one for each platform."""

    schema_version: int = 0
    media_type: str = ""
    manifests: tuple[Descriptor, ...] | None = ()
    annotations: dict[str, str] | None = None

    @classmethod
    def decode(cls, data: bytes) -> "Index":
        """A view on ``data``. Raises InvalidDocumentError."""
        index = decode(data, cls, "image index")
        for descriptor in index.manifests or ():
            _check_size(descriptor)
        return index

    def encode(self) -> bytes:
        """New bytes, for an index that Rundlet makes."""
        return encode(self)

    def choose(self, wanted: Platform, *, exact: bool = False) -> Descriptor | None:
        """The manifest that suits ``wanted`` best, the first of equals; None when none does.

        ``exact`` refuses what merely runs there too (386 on amd64, arm/v6 on arm/v7). Attestations are never chosen;
        an entry without a platform is taken only when nothing names one that suits.
        """
        best: tuple[int, int] | None = None
        chosen: Descriptor | None = None
        for position, descriptor in enumerate(self.manifests or ()):
            if ATTESTATION_ANNOTATION in (descriptor.annotations or {}):
                continue
            rank = _rank(descriptor.platform, wanted, exact)
            if rank is not None and (best is None or (rank, position) < best):
                best, chosen = (rank, position), descriptor
        return chosen


class _Probe(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    config: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()
    manifests: msgspec.Raw = msgspec.Raw()
    fs_layers: msgspec.Raw = msgspec.Raw()

    def has(self, name: str) -> bool:
        return bytes(getattr(self, name)) not in (b"", b"null")


def decode_any(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index. ``media_type`` is what the registry or descriptor called it ("" when unknown).

    A document that could be read as both is refused (CVE-2021-41190). Raises InvalidDocumentError,
    UnsupportedManifestError.
    """
    kind = document_type(data, media_type)
    return Index.decode(data) if mediatype.is_index(kind) else Manifest.decode(data)


def document_type(data: bytes, media_type: str = "") -> str:
    """The media type of ``data``: announced by ``media_type``, by the document itself, or by its fields, all agreeing.

    Raises InvalidDocumentError, UnsupportedManifestError.
    """
    probe = decode(data, _Probe, "image manifest")
    if probe.schema_version == 1 or probe.has("fs_layers") or probe.media_type in mediatype.SCHEMA1:
        raise UnsupportedManifestError(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed: "
            "the image's author has to rebuild it in the OCI format or as Docker manifest version 2, schema 2"
        )
    known = mediatype.INDEXES | mediatype.MANIFESTS
    # Some libraries leave the version at 0; Docker looks at the media type only.
    if probe.schema_version != 2 and not (probe.schema_version == 0 and probe.media_type in known):
        raise InvalidDocumentError("image manifest", f"schemaVersion is {probe.schema_version}, not 2")
    if probe.media_type and probe.media_type not in known:
        raise UnsupportedManifestError(f"unsupported manifest media type: {probe.media_type}")
    like_manifest, like_index = probe.has("config") or probe.has("layers"), probe.has("manifests")
    if like_manifest and like_index:
        raise InvalidDocumentError("image manifest", "it has both layers and manifests")
    kind = probe.media_type or (media_type if media_type in known else "")
    if not kind:
        kind = mediatype.OCI_INDEX if like_index else mediatype.OCI_MANIFEST
    if media_type in known and media_type != kind:
        raise InvalidDocumentError("image manifest", f"it says {kind}, its registry says {media_type}")
    if like_manifest if mediatype.is_index(kind) else like_index:
        raise InvalidDocumentError("image manifest", f"its fields are not those of {kind}")
    return kind


def _rank(candidate: Platform | None, wanted: Platform, exact: bool) -> int | None:
    if candidate is None or not candidate.architecture:
        return 1000
    if exact:
        return 0 if wanted.matches(candidate) else None
    return wanted.rank(candidate)


def _check_size(descriptor: Descriptor) -> None:
    if descriptor.size < 0:
        raise InvalidDocumentError("image manifest", f"{descriptor.digest} has a negative size")
