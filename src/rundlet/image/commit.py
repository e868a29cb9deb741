"""``commit``: what a container changed becomes a layer, and that layer on the container's image a new image."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from rundlet.errors import InternalError
from rundlet.image.assembly import assemble
from rundlet.image.errors import MissingBlobError
from rundlet.image.holding import hold_image
from rundlet.image.kept import unpack_kept
from rundlet.image.leases import Lease, Leases
from rundlet.image.records import Image, Layer
from rundlet.image.store import ImageStore
from rundlet.oci.config import ContainerConfig, Healthcheck, History, ImageConfig
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.layer.unpack import WorkerLauncher
from rundlet.storage.snapshot import Snapshotter
from rundlet.util.clock import Clock, rfc3339_nano

EMPTY_TAR_SIZE: Final = 1024
"""Bytes of an archive without members."""


class CommitRequest(msgspec.Struct, frozen=True):
    """What the new image is to be. ``created_by`` is the command that its history shows; without a parent it has one
    layer."""

    parent: Image | None
    config: ContainerConfig
    container_id: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    reference: Reference | None = None


class Committer:
    """Made by the wiring."""

    def __init__(
        self, store: ImageStore, snapshots: Snapshotter, workers: WorkerLauncher, leases: Leases, clock: Clock
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._workers = workers
        self._leases = leases
        self._clock = clock

    async def commit(self, request: CommitRequest, changes: Iterator[bytes]) -> Image:
        """Make the image of ``request.parent`` and ``changes`` (a plain layer tar, read in a thread), and name it.

        Raises NoSuchImageError, MissingBlobError (the parent's layers), LayerError, StorageError, TagToDigestError, and
        what ``changes`` raises. Failed or cancelled, it leaves nothing.
        """
        async with self._leases.lease() as lease:
            stack: Sequence[Layer] = ()
            if request.parent is not None:
                stack = (await hold_image(self._store, lease, request.parent.id)).layers
            self._check(stack)
            added = await self._layer(request.parent, changes, lease)
            if added is not None:
                stack = [*stack, added]
            return await self._record(request, stack, added, lease)

    def _check(self, stack: Sequence[Layer]) -> None:
        for layer in stack:
            if not self._store.content.has(layer.blob.digest):
                raise MissingBlobError(layer.blob.digest)

    async def _layer(self, parent: Image | None, changes: Iterator[bytes], lease: Lease) -> Layer | None:
        """None for a container that changed nothing."""
        chain = parent.chain if parent is not None else None
        try:
            result, blob = await unpack_kept(
                _changed(changes), self._store.content, self._snapshots, self._workers, lease, parent=chain
            )
        except _UnchangedError:
            return None
        return Layer(result.diff_id, result.chain, result.size, blob)

    async def _record(self, request: CommitRequest, stack: Sequence[Layer], added: Layer | None, lease: Lease) -> Image:
        created = self._clock.now_ns()
        base = request.parent
        parent = self._store.config(base.id) if base is not None else _nothing()
        step = History(
            created=rfc3339_nano(created),
            author=request.author,
            created_by=request.created_by,
            comment=request.comment,
            empty_layer=added is None,
        )
        config = msgspec.structs.replace(
            parent,
            os=parent.os or "linux",
            author=request.author,
            comment=request.comment,
            container=request.container_id,
            container_config=None,
            config=request.config,
            created=rfc3339_nano(created),
            docker_version="",
            history=[*(parent.history or ()), step],
        )
        names = [request.reference.with_default_tag()] if request.reference is not None else []
        base_id = base.id if base is not None else None
        return await assemble(self._store, lease, config, stack, created_ns=created, parent=base_id, names=names)


def _nothing() -> ImageConfig:
    """What an image without a parent begins with."""
    here = Platform.host()
    return ImageConfig(architecture=here.architecture, os=here.os, variant=here.variant)


class _UnchangedError(InternalError):
    """There is nothing to make a layer of."""

    reason = "unchanged"

    def __init__(self) -> None:
        super().__init__("the container changed nothing")


def _changed(changes: Iterator[bytes]) -> Iterator[bytes]:
    """All of the changes. Raises _UnchangedError when there are none."""
    start = b""
    for chunk in changes:
        start += chunk
        if len(start) > EMPTY_TAR_SIZE:
            break
    else:
        raise _UnchangedError
    yield start
    yield from changes


def merge_configs(wanted: ContainerConfig, container: ContainerConfig) -> ContainerConfig:
    """``wanted`` with the container's values where it has none, by Docker's rules for ``commit``: the container's time
    to stop and its shell are not among them."""
    names = {item.partition("=")[0] for item in wanted.env or ()}
    entrypoint, cmd = wanted.entrypoint, wanted.cmd
    if not entrypoint:
        cmd = cmd or container.cmd
        entrypoint = container.entrypoint if entrypoint is None else entrypoint
    return msgspec.structs.replace(
        wanted,
        user=wanted.user or container.user,
        exposed_ports={**(container.exposed_ports or {}), **(wanted.exposed_ports or {})} or None,
        env=[*(wanted.env or ()), *(item for item in container.env or () if item.partition("=")[0] not in names)],
        labels={**(container.labels or {}), **(wanted.labels or {})} or None,
        entrypoint=entrypoint,
        cmd=cmd,
        healthcheck=_merged_check(wanted.healthcheck, container.healthcheck),
        working_dir=wanted.working_dir or container.working_dir,
        volumes={**(container.volumes or {}), **(wanted.volumes or {})} or None,
        stop_signal=wanted.stop_signal or container.stop_signal,
    )


def _merged_check(wanted: Healthcheck | None, container: Healthcheck | None) -> Healthcheck | None:
    if wanted is None or container is None:
        return wanted or container
    said = {name: value for name in Healthcheck.__struct_fields__ if (value := getattr(wanted, name))}
    return msgspec.structs.replace(container, **said)


def image_defaults(config: ContainerConfig) -> ContainerConfig:
    """What of a container's configuration is meant for other containers too, and not for this one on this machine."""
    return msgspec.structs.replace(
        config,
        hostname="",
        domainname="",
        attach_stdin=False,
        attach_stdout=False,
        attach_stderr=False,
        tty=False,
        open_stdin=False,
        stdin_once=False,
        image="",
        network_disabled=False,
        mac_address="",
    )
