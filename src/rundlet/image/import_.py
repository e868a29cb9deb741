"""``import``: a tar of a file system, plain or compressed, becomes an image of one layer.

The layer is unpacked, hashed and kept compressed as it arrives: a gzip stream as it is, anything else as gzip made on
the way. A later push copies that blob.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from rundlet.image.changes import apply_changes
from rundlet.image.errors import ForeignSystemError, RemoteArchiveError
from rundlet.image.kept import unpack_kept
from rundlet.image.leases import Leases
from rundlet.image.records import Layer, NewImage, OnProgress, Progress, Stored
from rundlet.image.store import ImageStore
from rundlet.oci import mediatype
from rundlet.oci.config import ContainerConfig, History, ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.layer.unpack import WorkerLauncher
from rundlet.storage.snapshot import Snapshotter
from rundlet.transport import HttpClient, Request
from rundlet.transport.errors import printable, without_password
from rundlet.util.clock import Clock, rfc3339_nano
from rundlet.util.tasks import settled

ERROR_LIMIT = 64 << 10


class Importer:
    """Made by the wiring."""

    def __init__(
        self, store: ImageStore, snapshots: Snapshotter, workers: WorkerLauncher, leases: Leases, clock: Clock
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._workers = workers
        self._leases = leases
        self._clock = clock

    async def import_image(
        self,
        source: AsyncIterator[bytes],
        *,
        reference: Reference | None = None,
        message: str = "",
        origin: str = "-",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> Stored:
        """Make an image of the tar in ``source`` and give it the name ``reference``, if any.

        ``origin`` is named in the history when there is no ``message``. Failed or cancelled, it leaves nothing.

        Raises BadChangeError, InvalidPlatformError, ForeignSystemError (before anything is read), LayerError,
        StorageError, and what ``source`` raises.
        """
        section = apply_changes(ContainerConfig(), changes)
        target = Platform.parse(platform) if platform else Platform.host()
        if target.os != "linux":
            raise ForeignSystemError
        async with self._leases.lease() as lease:
            result, blob = await unpack_kept(source, self._store.content, self._snapshots, self._workers, lease)
            created = self._clock.now_ns()
            comment = message or f"Imported from {origin}"
            config = _config(section, target, result.diff_id, rfc3339_nano(created), comment).encode()
            described = Descriptor.of(mediatype.DOCKER_CONFIG, config)
            manifest = Manifest(
                schema_version=2, media_type=mediatype.DOCKER_MANIFEST, config=described, layers=(blob,)
            ).encode()
            descriptor, config_digest = Descriptor.of(mediatype.DOCKER_MANIFEST, manifest), described.digest
            await lease.hold(config_digest, descriptor.digest)
            for document in (config, manifest):
                await settled(asyncio.to_thread(self._store.content.write, document))
            image = NewImage(
                id=config_digest,
                manifest=descriptor,
                created=rfc3339_nano(created),
                created_ns=created,
                platform=target,
                labels=dict(section.labels or {}),
                layers=(Layer(result.diff_id, result.chain, result.size, blob),),
                blobs=(config_digest, descriptor.digest),
            )
            names = [(reference.with_default_tag(), descriptor)] if reference is not None else []
            return await self._store.put(image, names)


def _config(section: ContainerConfig, platform: Platform, diff_id: Digest, created: str, comment: str) -> ImageConfig:
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        comment=comment,
        config=section,
        created=created,
        history=[History(created=created, comment=comment)],
        rootfs=RootFS(diff_ids=(diff_id,)),
    )


async def download(http: HttpClient, url: str, progress: OnProgress) -> AsyncGenerator[bytes, None]:
    """The bytes under ``url``, for an import from there. Raises TransportError, RemoteArchiveError."""
    address = url if "://" in url else f"http://{url}"
    async with http.send(Request("GET", address)) as response:
        if response.status != 200:
            body = await response.beginning(ERROR_LIMIT)
            told = printable(body.decode(errors="replace"))
            raise RemoteArchiveError(without_password(address), response.status, printable(response.reason), told)
        # Said only now: an error before it becomes the whole answer, with its own status.
        progress(Progress(f"Downloading from {without_password(address)}"))
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() and len(length) < 19 else 0
        done = 0
        async for chunk in response.chunks():
            done += len(chunk)
            progress(Progress("Importing", "", done, total))
            yield chunk
