"""What a registry has under a name, without pulling it; and manifests pushed past the image store."""

import base64
import binascii
from collections.abc import AsyncIterator

from rundlet.api.descriptor import Descriptor, Platform
from rundlet.api.distribution import ManifestPush, ManifestPushed, RemoteManifest
from rundlet.api.images import AuthConfig, DistributionInspect
from rundlet.errors import ForbiddenError, InvalidParameterError
from rundlet.oci import descriptor as descriptors
from rundlet.oci import manifest as manifests
from rundlet.oci import mediatype
from rundlet.oci.config import SIZE_LIMIT, ImageConfig
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform as StoredPlatform
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Fetcher, Registry, RepositoryPusher


class WrongSourceError(InvalidParameterError):
    """Blobs can't be taken over from there."""

    reason = "wrong-source"

    def __init__(self, source: Reference, target: Reference) -> None:
        super().__init__(
            "cannot use source images from a different registry than the target image: "
            f"{source.domain} != {target.domain}"
        )


class PlainHttpError(ForbiddenError):
    """Docker's command line asks no registry over plain HTTP unless it is told to, not even one on loopback."""

    reason = "plain-http"

    def __init__(self, name: Reference) -> None:
        super().__init__(f"no such manifest: {name} ({name.domain} speaks plain HTTP: --insecure allows it)")


class DistributionService:
    """Implements the distribution router's backend."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def inspect(self, reference: str, auth: AuthConfig) -> DistributionInspect:
        """Raises the errors of ``registry``."""
        name = Reference.parse(reference).with_default_tag()
        fetcher = self._registry.fetcher(name, _credentials(auth))
        found, data = await fetcher.manifest(await fetcher.resolve(name))
        document = manifests.decode_any(data, found.media_type)
        platforms: list[StoredPlatform] = []
        if isinstance(document, manifests.Manifest):
            config = await fetcher.small(document.config, SIZE_LIMIT)
            platforms.append(ImageConfig.decode(config).platform)
        else:
            platforms += [item.platform for item in document.manifests or () if item.platform is not None]
        return DistributionInspect(
            descriptor=_descriptor(found),
            platforms=tuple(_wire(platform) for platform in platforms),
        )

    async def manifest(self, reference: str, auth: AuthConfig, *, insecure: bool) -> RemoteManifest:
        """A manifest or index, and the platform that an image's config names.

        Raises PlainHttpError without ``insecure`` or configuration that allows it, and the errors of ``registry``.
        """
        name = Reference.parse(reference).with_default_tag()
        if not insecure and await self._registry.is_plain(name.domain):
            raise PlainHttpError(name)
        fetcher = self._at(name, insecure).fetcher(name, _credentials(auth))
        found, data = await fetcher.manifest(await fetcher.resolve(name))
        document = manifests.decode_any(data, found.media_type)
        platform = None
        if isinstance(document, manifests.Manifest) and document.config.media_type in mediatype.CONFIGS:
            platform = ImageConfig.decode(await fetcher.small(document.config, SIZE_LIMIT)).platform
        return RemoteManifest(descriptor=_descriptor(found, platform), raw=base64.b64encode(data).decode())

    async def push_manifest(
        self, reference: str, push: ManifestPush, auth: AuthConfig, *, insecure: bool
    ) -> ManifestPushed:
        """Store a manifest, with its blobs when they are in ``push.source``. Raises WrongSourceError and others."""
        name = Reference.parse(reference).with_default_tag()
        data = _decode("Raw", push.raw)
        document = manifests.decode_any(data, push.media_type)
        descriptor = descriptors.Descriptor.of(manifests.document_type(data, push.media_type), data)
        if name.digest is not None and name.digest != descriptor.digest:
            raise InvalidParameterError(f"the manifest's digest is {descriptor.digest}, not {name.digest}")
        registry = self._at(name, insecure)
        pusher = registry.pusher(name, _credentials(auth))
        if push.source and isinstance(document, manifests.Manifest):
            source = Reference.parse(push.source)
            if source.domain != name.domain:
                raise WrongSourceError(source, name)
            fetcher = registry.fetcher(source, _credentials(auth))
            for blob in (document.config, *document.layers):
                if not mediatype.is_foreign_layer(blob.media_type):
                    await _take_over(blob, source, fetcher, pusher)
        for text in push.blobs:
            await _send(_decode("Blobs", text), pusher)
        await pusher.put_manifest(data, descriptor, name.tag)
        return ManifestPushed(descriptor=_descriptor(descriptor))

    def _at(self, name: Reference, insecure: bool) -> Registry:
        return self._registry.trusting(name.domain) if insecure else self._registry


def _decode(field: str, text: str) -> bytes:
    """Raises InvalidParameterError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise InvalidParameterError(f"{field} is not base64: {exc}") from exc


async def _send(data: bytes, pusher: RepositoryPusher) -> None:
    """A blob that is here as a whole."""
    digest = Digest.of(data)
    if await pusher.has_blob(digest):
        return

    async def chunks(offset: int) -> AsyncIterator[bytes]:
        yield data[offset:]

    await pusher.upload(digest, len(data), chunks, await pusher.begin(), lambda _sent: None)


async def _take_over(
    blob: descriptors.Descriptor, source: Reference, fetcher: Fetcher, pusher: RepositoryPusher
) -> None:
    """Mount a blob; a registry that does not mount gets it sent."""
    if await pusher.has_blob(blob.digest):
        return
    upload = await pusher.mount(blob.digest, source.path) or await pusher.begin()
    if upload.mounted:
        return

    def chunks(offset: int) -> AsyncIterator[bytes]:
        return fetcher.blob(blob, offset)

    await pusher.upload(blob.digest, blob.size, chunks, upload, lambda _sent: None)


def _credentials(auth: AuthConfig) -> Credentials | None:
    if not (auth.username or auth.identitytoken or auth.registrytoken):
        return None
    return Credentials(auth.username, auth.password, auth.identitytoken, auth.registrytoken)


def _descriptor(found: descriptors.Descriptor, platform: StoredPlatform | None = None) -> Descriptor:
    return Descriptor(
        media_type=found.media_type,
        digest=str(found.digest),
        size=found.size,
        platform=_wire(platform) if platform is not None else None,
    )


def _wire(platform: StoredPlatform) -> Platform:
    return Platform(
        architecture=platform.architecture,
        os=platform.os,
        os_version=platform.os_version,
        os_features=platform.os_features,
        variant=platform.variant,
    )
