"""Files that a client looks at before it builds: a repository or a file at a URL (bake's definitions, Dockerfiles)."""

import asyncio
import os
from contextlib import suppress
from typing import Final

from rundlet.api.buildkit import Definition, ReadFileRequest, ReadFileResponse
from rundlet.api.buildkit_session import FileStat, StatFileRequest, StatFileResponse
from rundlet.api.protobuf import decode, encode
from rundlet.builder.downloads import git_source
from rundlet.builder.gitlogin import secret_names
from rundlet.builder.workspace import Workspace
from rundlet.engine.buildkit.filesync import go_mode
from rundlet.engine.buildkit.graphs import location_of, source_of
from rundlet.engine.buildkit.jobs import Job
from rundlet.engine.buildkit.session import Sessions
from rundlet.engine.builds.contexts import bring, fetch_context
from rundlet.engine.builds.workspaces import new_workspace
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotFoundError, NotSupportedError
from rundlet.linux import path as safe_path
from rundlet.transport import HttpClient
from rundlet.transport.http2.grpc import ServerCall
from rundlet.util.tasks import settled

_LIMIT: Final = 8 << 20
"""Bytes of a file that are read at once."""
_TREES: Final = 20


class Trees:
    """One per engine."""

    def __init__(self, context: Context, http: HttpClient, sessions: Sessions) -> None:
        self._context = context
        self._http = http
        self._sessions = sessions
        self._trees: dict[str, tuple[Job, Workspace]] = {}

    async def add(self, job: Job, definition: Definition) -> str:
        """Fetch what ``definition`` is, for as long as the job lasts; its name. Raises NotSupportedError,
        InvalidParameterError, and what fetching raises."""
        source = source_of(definition)
        url = location_of(source)
        if not url:
            raise NotSupportedError(f"a look at {source.identifier}")
        if sum(1 for other, _ in self._trees.values() if other is job) >= _TREES:
            raise InvalidParameterError("too many build graphs in one build")
        workspace = new_workspace(self._context)
        name = f"tree-{workspace.name}"
        self._trees[name] = (job, workspace)
        await settled(asyncio.to_thread(workspace.make))
        names = secret_names(url) if git_source(url) is not None and job.session else ()
        secrets = await (await self._sessions.get(job.session)).secrets(names) if names else {}
        if source.unpacked:
            await bring(workspace, url, self._http, secrets, lambda _state: None, lambda _line: None)
        else:
            await fetch_context(workspace, url, self._http, secrets, source.attributes.get("http.filename", ""))
        return name

    async def release(self, job: Job) -> None:
        """The job is over."""
        for name, (owner, workspace) in list(self._trees.items()):
            if owner is job:
                del self._trees[name]
                await asyncio.shield(asyncio.to_thread(workspace.remove))

    async def read(self, call: ServerCall) -> None:
        """The bridge's ReadFile."""
        request = decode(ReadFileRequest, await call.request())
        offset, length = (request.range.offset, request.range.length) if request.range is not None else (0, 0)
        if offset < 0 or length < 0:
            raise InvalidParameterError("a file is read from an offset on, some bytes of it")
        fd = self._open(request.ref, request.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = await asyncio.to_thread(os.pread, fd, min(length or _LIMIT, _LIMIT), offset)
        finally:
            os.close(fd)
        await call.send(encode(ReadFileResponse(data)))

    async def stat(self, call: ServerCall) -> None:
        """The bridge's StatFile."""
        request = decode(StatFileRequest, await call.request())
        fd = self._open(request.ref, request.path, os.O_PATH)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        stat = FileStat(os.path.basename(request.path), go_mode(found.st_mode), 0, 0, found.st_size, found.st_mtime_ns)
        await call.send(encode(StatFileResponse(stat)))

    def _open(self, name: str, path: str, flags: int) -> int:
        try:
            _, workspace = self._trees[name]
        except KeyError:
            raise InvalidParameterError(f"files of {name}: it is no source that was fetched") from None
        root = os.open(workspace.context, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):
                return safe_path.open_in_root(root, path.strip("/") or ".", flags)
        finally:
            os.close(root)
        raise FileMissingError(path)


class FileMissingError(NotFoundError):
    reason = "file-not-found"

    def __init__(self, path: str) -> None:
        super().__init__(f"open {path}: no such file or directory")
