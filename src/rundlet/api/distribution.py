"""Manifests of registries, past the image store: endpoints of Rundlet's own, for ``manifest create`` and ``push``."""

from rundlet.api.base import Wire, always
from rundlet.api.descriptor import Descriptor


class RemoteManifest(Wire, frozen=True):
    """Answer of ``GET /distribution/{name}/manifest``: a manifest or index as the registry has it.

    ``raw`` is base64; ``descriptor.platform`` is what an image's config says.
    """

    descriptor: Descriptor = always(Descriptor())
    raw: str = always("")


class ManifestPush(Wire, frozen=True):
    """Body of ``POST /distribution/{name}/manifest``: base64 of what to store under that name.

    ``source`` is another repository of the same registry: the blobs of the manifest are taken over from it. ``blobs``
    are small ones (base64) that come along, as a signature's.
    """

    media_type: str = ""
    raw: str = ""
    source: str = ""
    blobs: tuple[str, ...] = ()


class ManifestPushed(Wire, frozen=True):
    """What was stored."""

    descriptor: Descriptor = always(Descriptor())
