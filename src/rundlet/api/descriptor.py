"""OCI descriptors as the Engine API shows them."""

from msgspec import field

from rundlet.api.base import LowerWire, optional_map


class Platform(LowerWire, frozen=True):
    architecture: str = field(default_factory=lambda: "")
    os: str = field(default_factory=lambda: "")
    os_version: str = field(name="os.version", default="")
    os_features: tuple[str, ...] = field(name="os.features", default=())
    variant: str = ""


class Descriptor(LowerWire, frozen=True):
    media_type: str = field(name="mediaType", default_factory=lambda: "")
    digest: str = field(default_factory=lambda: "")
    size: int = field(default_factory=lambda: 0)
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = optional_map()
    data: str = ""
    platform: Platform | None = None
    artifact_type: str = field(name="artifactType", default="")
