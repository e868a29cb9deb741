"""``attach``: a client's streams, joined to the container's, also before it is started."""

import functools
import os
import socket

from rundlet.api.containers import AttachOptions, LogsOptions
from rundlet.api.streams import Attachment
from rundlet.container.state import Status, is_running
from rundlet.engine.containers import documents
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.live import PendingAttachment
from rundlet.engine.containers.logs import LogService
from rundlet.engine.context import Context
from rundlet.errors import ConflictError

PATIENCE = 10.0
"""Seconds at most between the end of a container's streams, which is its end, and that end on record."""


class AttachService:
    """Makes the stream pairs; the shim has one end, the server the other."""

    def __init__(self, context: Context, logs: LogService) -> None:
        self._context = context
        self._logs = logs

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Connected when this returns. Raises ConflictError for a paused or restarting container."""
        record = self._context.containers.find(ref)
        if record.state.status is Status.PAUSED:
            raise ConflictError(f"container {record.id} is paused, unpause the container before attach")
        if record.state.status is Status.RESTARTING:
            raise ConflictError(f"container {record.id} is restarting, wait until the container is running")
        config = documents.config(record)
        attributes = event_attributes(record)
        self._context.events.publish("container", "attach", record.id, attributes)
        wanted = LogsOptions(stdout=options.stdout, stderr=options.stderr)
        if not options.stream:
            return Attachment(tty=config.tty, backlog=self._logs.chunks(record, wanted) if options.logs else None)
        ours, theirs = socket.socketpair()
        stdin = options.stdin and config.open_stdin
        live = self._context.live.of(record.id)
        # Where the log ends and the stream begins: no line twice, none missing.
        border = 0
        try:
            if is_running(record.state.status) and live.shim is not None:
                with theirs:
                    border = await live.shim.attach(theirs, stdin=stdin, stdout=options.stdout, stderr=options.stderr)
            else:
                border = _log_size(self._logs.path(record))
                live.pending.append(PendingAttachment(theirs, stdin, options.stdout, options.stderr))
        except BaseException:
            ours.close()
            raise

        def detached() -> None:
            self._context.events.publish("container", "detach", record.id, attributes)

        backlog = self._logs.chunks(record, wanted, border) if options.logs else None
        # A client that ends its input leaves a container whose input stays open: its end is not the container's.
        whole = not stdin or config.stdin_once or config.tty
        settled = functools.partial(self._ended, record.id) if whole else None
        return Attachment(
            tty=config.tty,
            socket=ours,
            backlog=backlog,
            settled=settled,
            patience=PATIENCE,
            on_detach=detached,
            spool=self._context.layout.cache,
        )

    async def _ended(self, container_id: str) -> None:
        """Return when the end of a run whose last output was read is on record, which clients ask for."""
        await self._context.live.started(container_id)
        containers = self._context.containers
        if containers.has(container_id) and containers.by_id(container_id).state.status is Status.RUNNING:
            await self._context.live.of(container_id).exit_seen()


def _log_size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
