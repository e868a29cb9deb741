"""Images: answers of list, inspect, history, delete, search, prune, and what requests ask."""

from msgspec import field

from rundlet.api.base import (
    ZERO_TIME,
    Empty,
    Labels,
    LowerWire,
    Options,
    StrSlice,
    Wire,
    always,
    always_map,
    optional_map,
)
from rundlet.api.container_config import HealthConfig
from rundlet.api.containers import GraphDriver
from rundlet.api.descriptor import Descriptor, Platform
from rundlet.api.filters import Filters


class ImageConfig(Wire, frozen=True):
    """The part of an image's configuration that containers inherit.

    Docker shows eight of the fields also where the image says nothing, and clients look them up without asking.
    """

    user: str = always("")
    exposed_ports: dict[str, Empty] = optional_map()
    env: tuple[str, ...] | None = always(None)
    entrypoint: StrSlice = always(None)
    cmd: StrSlice = always(None)
    volumes: dict[str, Empty] | None = always(None)
    working_dir: str = always("")
    labels: Labels | None = always(None)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: HealthConfig | None = None
    on_build: tuple[str, ...] | None = always(None)
    shell: StrSlice = None


class RootFS(Wire, frozen=True):
    type: str = always("layers")
    layers: tuple[str, ...] = ()


class ImageMetadata(Wire, frozen=True):
    last_tag_time: str = always(ZERO_TIME)


class ManifestSize(Wire, frozen=True):
    content: int = always(0)
    total: int = always(0)


class ImageProperties(Wire, frozen=True):
    platform: Platform = always(Platform())
    size: dict[str, int] = always_map()
    containers: tuple[str, ...] = always(())


class AttestationProperties(Wire, frozen=True):
    for_: str = field(name="For", default_factory=lambda: "")


class ManifestSummary(Wire, frozen=True):
    """One manifest of an image, whether or not it is here. ``kind``: image, attestation, unknown."""

    id: str = always("", name="ID")
    descriptor: Descriptor = always(Descriptor())
    available: bool = always(False)
    size: ManifestSize = always(ManifestSize())
    kind: str = always("unknown")
    image_data: ImageProperties | None = None
    attestation_data: AttestationProperties | None = None


class ImageInspect(Wire, frozen=True):
    """Answer of ``GET /images/{name}/json``.

    Fields that only older API versions show (Container, ContainerConfig, VirtualSize) are added in ``versions``.
    """

    id: str = always("")
    repo_tags: tuple[str, ...] = always(())
    repo_digests: tuple[str, ...] = always(())
    parent: str = always("")
    comment: str = always("")
    created: str = ""
    docker_version: str = always("")
    author: str = always("")
    config: ImageConfig | None = always(None)
    architecture: str = always("")
    variant: str = ""
    os: str = always("")
    os_version: str = ""
    size: int = always(0)
    graph_driver: GraphDriver = always(GraphDriver())
    root_fs: RootFS = always(RootFS(), name="RootFS")
    metadata: ImageMetadata = always(ImageMetadata())
    descriptor: Descriptor | None = None
    manifests: tuple[ManifestSummary, ...] = ()


class ImageSummary(Wire, frozen=True):
    """One entry of ``GET /images/json``; ``created`` in seconds; ``containers`` and ``shared_size`` -1: not asked."""

    containers: int = always(-1)
    created: int = always(0)
    id: str = always("")
    labels: Labels | None = always(None)
    parent_id: str = always("")
    descriptor: Descriptor | None = None
    manifests: tuple[ManifestSummary, ...] = ()
    repo_digests: tuple[str, ...] = always(())
    repo_tags: tuple[str, ...] = always(())
    shared_size: int = always(-1)
    size: int = always(0)


class ImageHistoryItem(Wire, frozen=True):
    """One step, newest first; ``id`` is ``<missing>`` for steps whose image is not here."""

    comment: str = always("")
    created: int = always(0)
    created_by: str = always("")
    id: str = always("")
    size: int = always(0)
    tags: tuple[str, ...] | None = always(None)


class ImageDeleted(Wire, frozen=True):
    """One thing that happened: a name was removed, or a layer."""

    deleted: str = ""
    untagged: str = ""


class ImageSearchResult(LowerWire, frozen=True):
    star_count: int = always(0)
    is_official: bool = always(False)
    name: str = always("")
    is_automated: bool = always(False)
    description: str = always("")


class ImagesPruned(Wire, frozen=True):
    images_deleted: tuple[ImageDeleted, ...] | None = always(None)
    space_reclaimed: int = always(0)


class DistributionInspect(Wire, frozen=True):
    """Answer of ``GET /distribution/{name}/json``: what the registry has, without a pull."""

    descriptor: Descriptor = always(Descriptor())
    platforms: tuple[Platform, ...] | None = always(None)


class AuthConfig(LowerWire, frozen=True):
    """Credentials for a registry: header ``X-Registry-Auth`` and body of ``POST /auth``."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def __repr__(self) -> str:
        return f"AuthConfig(username={self.username!r}, serveraddress={self.serveraddress!r}, …)"


class ImageListOptions(Options, frozen=True):
    """``all`` includes intermediate images; ``manifests`` fills ``ImageSummary.manifests``."""

    all: bool = False
    digests: bool = False
    shared_size: bool = False
    manifests: bool = False
    filters: Filters = Filters()


class ImageInspectOptions(Options, frozen=True):
    """``platform`` as ``os/arch[/variant]``, or empty; ``manifests`` fills ``ImageInspect.manifests``."""

    manifests: bool = False
    platform: str = ""


class PullOptions(Options, frozen=True):
    """``name`` as the client gave it (a reference, or a repository); ``tag`` a tag, a digest, or empty."""

    name: str
    tag: str = ""
    all_tags: bool = False
    platform: str = ""
    auth: AuthConfig = AuthConfig()


class ImportOptions(Options, frozen=True):
    """``source`` is ``-`` (the request's body) or a URL; ``changes`` are Dockerfile instructions."""

    source: str
    repo: str = ""
    tag: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    platform: str = ""


class PushOptions(Options, frozen=True):
    """``tag`` empty: all tags of the repository. ``platform`` as ``os/arch[/variant]``, or empty for all."""

    name: str
    tag: str = ""
    platform: str = ""
    auth: AuthConfig = AuthConfig()


class ImageRemoveOptions(Options, frozen=True):
    force: bool = False
    no_prune: bool = False
    platforms: tuple[str, ...] = ()


class SearchOptions(Options, frozen=True):
    term: str
    limit: int = 0
    filters: Filters = Filters()
    auth: AuthConfig = AuthConfig()


class SaveOptions(Options, frozen=True):
    names: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()


class LoadOptions(Options, frozen=True):
    quiet: bool = False
    platforms: tuple[str, ...] = ()
