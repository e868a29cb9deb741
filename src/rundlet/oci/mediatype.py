"""Media types of the OCI image specification and of Docker's schema 2, and what each of them is."""

from typing import Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"

DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES: Final = frozenset((OCI_INDEX, DOCKER_LIST))
MANIFESTS: Final = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS: Final = frozenset((OCI_CONFIG, DOCKER_CONFIG))
SCHEMA1: Final = frozenset((DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, "application/json"))
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"

_LAYER_COMPRESSION: Final = {
    OCI_LAYER: "none",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    _OCI_FOREIGN: "none",
    f"{_OCI_FOREIGN}+gzip": "gzip",
    f"{_OCI_FOREIGN}+zstd": "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN_LAYER: "gzip",
}
_AS_OCI: Final = {
    DOCKER_CONFIG: OCI_CONFIG,
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD,
}
ACCEPT_MANIFEST: Final = (DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_LIST, OCI_INDEX)


def is_index(media_type: str) -> bool:
    """Whether content of this type lists manifests."""
    return media_type in INDEXES


def is_manifest(media_type: str) -> bool:
    """Whether content of this type is one platform's image manifest."""
    return media_type in MANIFESTS


def is_layer(media_type: str) -> bool:
    """Whether content of this type is a layer that Rundlet can unpack."""
    return media_type in _LAYER_COMPRESSION


def is_foreign_layer(media_type: str) -> bool:
    """Whether the layer may not be pushed and is fetched from its descriptor's URLs."""
    return media_type == DOCKER_FOREIGN_LAYER or media_type.startswith(_OCI_FOREIGN)


def as_oci(media_type: str) -> str:
    """OCI's name for what Docker's ``media_type`` names; any other type as it is."""
    return _AS_OCI.get(media_type, media_type)


def layer_compression(media_type: str) -> str | None:
    """``gzip``, ``zstd`` or ``none`` as the type announces; None when it is not a layer's type.

    Registries hold layers whose bytes differ from what their type says: unpacking looks at the bytes.
    """
    return _LAYER_COMPRESSION.get(media_type)
