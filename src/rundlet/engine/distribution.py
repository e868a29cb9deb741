"""What a registry has under a name, without pulling it."""

from rundlet.api.descriptor import Descriptor, Platform
from rundlet.api.images import AuthConfig, DistributionInspect
from rundlet.oci import manifest as manifests
from rundlet.oci.config import SIZE_LIMIT, ImageConfig
from rundlet.oci.platform import Platform as StoredPlatform
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Registry


class DistributionService:
    """Implements the distribution router's backend."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def inspect(self, reference: str, auth: AuthConfig) -> DistributionInspect:
        """Raises the errors of ``registry``."""
        name = Reference.parse(reference).with_default_tag()
        credentials = None
        if auth.username or auth.identitytoken or auth.registrytoken:
            credentials = Credentials(auth.username, auth.password, auth.identitytoken, auth.registrytoken)
        fetcher = self._registry.fetcher(name, credentials)
        found, data = await fetcher.manifest(await fetcher.resolve(name))
        document = manifests.decode_any(data, found.media_type)
        platforms: list[StoredPlatform] = []
        if isinstance(document, manifests.Manifest):
            config = await fetcher.small(document.config, SIZE_LIMIT)
            platforms.append(ImageConfig.decode(config).platform)
        else:
            platforms += [item.platform for item in document.manifests or () if item.platform is not None]
        return DistributionInspect(
            descriptor=Descriptor(media_type=found.media_type, digest=str(found.digest), size=found.size),
            platforms=tuple(_wire(platform) for platform in platforms),
        )


def _wire(platform: StoredPlatform) -> Platform:
    return Platform(
        architecture=platform.architecture,
        os=platform.os,
        os_version=platform.os_version,
        os_features=platform.os_features,
        variant=platform.variant,
    )
