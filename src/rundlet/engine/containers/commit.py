"""``commit``: a container's changes as a new image."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from rundlet.api.container_config import ContainerConfig
from rundlet.api.containers import CommitOptions
from rundlet.container.record import Record
from rundlet.container.state import Status
from rundlet.engine.containers import documents, hostroot
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.changes import mount_points
from rundlet.engine.containers.files import still_there
from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.engine.containers.stillness import still
from rundlet.engine.context import Context
from rundlet.errors import ConflictError, NoSuchImageError
from rundlet.image.changes import apply_changes
from rundlet.image.commit import CommitRequest, Committer, image_defaults, merge_configs
from rundlet.image.naming import new_name
from rundlet.image.records import Image
from rundlet.oci.config import ContainerConfig as ImageDefaults
from rundlet.oci.digest import Digest
from rundlet.storage.layer.changes import Changes


class NotCommittableError(ConflictError):
    reason = "not-committable"

    def __init__(self, container_id: str, why: str) -> None:
        super().__init__(f"You cannot commit container {container_id} which is {why}")


class CommitService:
    """``POST /commit``."""

    def __init__(self, context: Context, lifecycle: Lifecycle, committer: Committer) -> None:
        self._context = context
        self._lifecycle = lifecycle
        self._committer = committer

    async def commit(self, options: CommitOptions) -> str:
        """The new image's ID.

        Raises NoSuchContainerError, NotCommittableError, BadChangeError, InvalidReferenceError, and what the committer
        raises.
        """
        context = self._context
        record = context.containers.find(options.container)
        if record.state.status is Status.DEAD:
            raise NotCommittableError(record.id, "Dead")
        if record.state.status is Status.REMOVING:
            raise NotCommittableError(record.id, "being removed")
        reference = new_name(options.repo, options.tag) if options.repo else None
        request = CommitRequest(
            parent=self._parent(record),
            config=_config(record, options),
            container_id=record.id,
            created_by=" ".join(documents.config(record).cmd or ()),
            author=options.author,
            comment=options.comment,
            reference=reference,
        )
        files = context.live.of(record.id).files
        async with files, self._changes(record) as tar, self._still(record, options.pause, tar) as changes:
            image = await self._committer.commit(request, changes)
        name = reference.with_default_tag().familiar if reference is not None else ""
        if name:
            context.events.publish("image", "tag", str(image.id), {**image.labels, "name": name})
        attributes = {"comment": options.comment, "imageID": str(image.id), "imageRef": name}
        context.events.publish("container", "commit", record.id, {**event_attributes(record), **attributes})
        return str(image.id)

    @asynccontextmanager
    async def _changes(self, record: Record) -> AsyncGenerator[Iterator[bytes], None]:
        """One tar of all upper directories."""
        left_out = [path.lstrip("/") for path in mount_points(record)]
        await asyncio.to_thread(self._context.snapshots.settle, record.id)
        layers = hostroot.layers_of(self._context, record)
        places = [("", layers["upper"]), *((sub["destination"], sub["upper"]) for sub in layers.get("below", ()))]
        async with AsyncExitStack() as opened:
            tars = []
            for number, (place, upper) in enumerate(places, 1):
                prefix = f"{place.strip('/')}/" if place else ""
                changes = Changes(upper, self._context.launcher, left_out, prefix=prefix, more=number < len(places))
                tars.append(await opened.enter_async_context(changes.opened()))
            yield self._all_of(tars, record)

    def _all_of(self, tars: Sequence[Iterator[bytes]], record: Record) -> Iterator[bytes]:
        for tar in tars:
            yield from tar
        still_there(self._context, record)

    @asynccontextmanager
    async def _still(self, record: Record, wanted: bool, tar: Iterator[bytes]) -> AsyncGenerator[Iterator[bytes], None]:
        """``tar``; a running container is paused while it is read, unless that was not wanted."""
        if not wanted or record.state.status is not Status.RUNNING:
            yield tar
            return
        async with still(self._lifecycle, record.id) as stillness:
            yield stillness.during(tar)

    def _parent(self, record: Record) -> Image | None:
        """None: the container is on a directory of this machine; the new image has what it changed, and no more."""
        if record.rootfs is not None:
            return None
        image = self._context.images.find(Digest.parse(record.image_id))
        if image is None:
            raise NoSuchImageError(record.image_id)
        return image


def _config(record: Record, options: CommitOptions) -> ImageDefaults:
    """The request's configuration or the container's, the instructions on it, the container's for the rest."""
    own = image_defaults(_defaults(documents.config(record)))
    wanted = image_defaults(_defaults(options.config)) if options.config is not None else own
    return merge_configs(apply_changes(wanted, options.changes), own)


def _defaults(config: ContainerConfig) -> ImageDefaults:
    document = msgspec.to_builtins(config)
    return msgspec.convert({key: value for key, value in document.items() if value is not None}, ImageDefaults)
