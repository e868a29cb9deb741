"""A container's files for ``cp``, ``diff``, ``export`` and ``commit``: where they are, and who may be at them when.

Readers may be there at any time: of a stopped container they see a read-only view that is made of its directories.
Writers to a stopped container are alone, and its start waits for them (for a while; then they are ended), because two
overlays that write to one upper directory would ruin it.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rundlet.container.record import MountPoint, Record
from rundlet.container.state import Status, is_running
from rundlet.engine.containers import documents, hostroot, targets
from rundlet.engine.containers.live import Live
from rundlet.engine.context import Context
from rundlet.errors import ConflictError, NoSuchContainerError, NotFoundError
from rundlet.storage.files.access import FileAccess, Place
from rundlet.storage.files.view import Bind, Layers

_ETC = (("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf"))


class RemovedMeanwhileError(ConflictError):
    reason = "removed-meanwhile"

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} was removed while its files were read")


def still_there(context: Context, record: Record) -> None:
    """After the last byte: files that went with the container look as if they had never been there.

    Raises RemovedMeanwhileError: what was read is not to be taken for the whole.
    """
    try:
        now = context.containers.find(record.id)
    except NoSuchContainerError:
        raise RemovedMeanwhileError(record.id) from None
    if now.state.status in (Status.REMOVING, Status.DEAD):
        raise RemovedMeanwhileError(record.id)


class ContainerFiles:
    """Makes the objects that read and write containers' files."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def reader(self, record: Record) -> FileAccess:
        """To be closed by the caller. Raises SnapshotNotFoundError."""
        return FileAccess(self._context.launcher, self._place(record))

    def upper_readers(self, record: Record) -> list[tuple[str, FileAccess]]:
        """Those that read the upper directories themselves, with where each lies. Raises SnapshotNotFoundError."""
        layers = self._layers(record, [])
        found = [("", FileAccess(self._context.launcher, Place(layers=layers)))]
        for sub in layers.get("below", ()):
            inner = Layers(lower=sub["lower"], upper=sub["upper"], work=sub["work"], merged="", binds=[])
            found.append((sub["destination"], FileAccess(self._context.launcher, Place(layers=inner))))
        return found

    @asynccontextmanager
    async def writer(self, reference: str) -> AsyncIterator[tuple[Record, FileAccess]]:
        """The container as it is now, and the way into it. Raises NoSuchContainerError."""
        container_id = self._context.containers.find(reference).id
        live = self._context.live.of(container_id)
        async with live.files:
            async with live.lock:
                record = self._context.containers.find(container_id)
                access = FileAccess(self._context.launcher, self._place(record))
                live.writers.add(access)
            try:
                yield record, access
            finally:
                await asyncio.shield(self._release(live, access))

    async def _release(self, live: Live, access: FileAccess) -> None:
        await access.close()
        live.writers.discard(access)

    async def fill_volumes(self, container_id: str) -> None:
        """Copy what the image has into its new container's empty volumes, as Docker does before anybody can ask.

        Not those that are mounted at the start only, and not into other users' numbers: the start does that.
        """
        record = self._context.containers.by_id(container_id)
        if record.rootfs is not None or record.user_map is not None:
            return
        volumes = [point for point in record.mounts if point.kind == "volume"]
        points = [point for point in volumes if not self._context.mounted.needed([point.name])]
        if not points:
            return
        rootfs = hostroot.rootfs_of(self._context, record)
        wanted = {point.destination for point in await asyncio.to_thread(targets.to_fill, rootfs, points)}
        if not wanted:
            return
        async with self.writer(container_id) as (record, _):
            place = self._place(record)
            assert place.layers is not None
            for bind in place.layers["binds"]:
                bind["fill"] = bind["destination"] in wanted
            access = FileAccess(self._context.launcher, place)
            try:
                await access.stat("/")
            finally:
                await access.close()

    def _place(self, record: Record) -> Place:
        hidden = [] if record.rootfs is None else record.rootfs.hidden
        if is_running(record.state.status):
            state, mapped = record.state, record.user_map is not None
            return Place(pid=state.pid, owner=record.id, parent=state.shim_pid, mapped=mapped, hidden=hidden)
        layers = self._layers(record, self._binds(record))
        if record.state.started_ns:
            return Place(layers=layers, hidden=hidden)
        # Docker makes it with the container. With users of its own it is made by one of them, at the start.
        directory = documents.config(record).working_dir if record.user_map is None else ""
        return Place(layers=layers, first_time=True, working_directory=directory, hidden=hidden)

    def _layers(self, record: Record, binds: list[Bind]) -> Layers:
        layers = hostroot.layers_of(self._context, record)
        layers["binds"] = binds
        return layers

    def _image(self, point: MountPoint) -> Bind | None:
        """None: an image that is gone, or has no files."""
        try:
            layers = hostroot.image_layers(self._context, point)
        except NotFoundError:
            return None
        if not layers:
            return None
        return Bind(source="", destination=point.destination, readonly=True, subpath=point.subpath, layers=layers)

    def _binds(self, record: Record) -> list[Bind]:
        """What the container has mounted when it runs, as far as it outlasts the run."""
        taken = {point.destination for point in record.mounts}
        directory = self._context.layout.container(record.id)
        readonly = documents.host(record).readonly_rootfs
        binds = [
            Bind(source=f"{directory}/{name}", destination=destination, readonly=readonly)
            for name, destination in _ETC
            if destination not in taken and os.path.exists(f"{directory}/{name}")
        ]
        binds += [
            Bind(source=point.source, destination=point.destination, readonly=not point.rw, subpath=point.subpath)
            for point in record.mounts
            if point.source and point.kind != "image"
        ]
        binds += [bind for point in record.mounts if point.kind == "image" and (bind := self._image(point)) is not None]
        return sorted(binds, key=lambda bind: bind["destination"].count("/"))
