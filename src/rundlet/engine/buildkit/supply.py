"""What a build needs of its client, fetched through the client's session: Dockerfile, context, further directories,
secrets, agents, logins."""

import asyncio
import hashlib
import posixpath
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from rundlet.api.builds import BuildProgress, ContextListing, Vertex, VertexStatus
from rundlet.api.images import AuthConfig
from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import KEEP_GIT
from rundlet.builder.downloads import git_source
from rundlet.builder.errors import BuildError
from rundlet.builder.gitlogin import secret_names
from rundlet.builder.ignore import NAME as IGNORE_FILE
from rundlet.builder.ignore import Patterns
from rundlet.builder.workspace import Workspace
from rundlet.engine.buildkit import filesync
from rundlet.engine.buildkit.frontend import UPLOAD, Plan, StoredImage
from rundlet.engine.buildkit.session import Session
from rundlet.engine.buildkit.stores import ClientStore
from rundlet.engine.builds.contexts import DockerfileMissingError, Read, bring, read_dockerfile, read_ignore, receive
from rundlet.engine.builds.kept import KeptContexts
from rundlet.engine.builds.lendings import Lent
from rundlet.engine.builds.requests import flag_of
from rundlet.engine.builds.supplies import Emit
from rundlet.engine.builds.workspaces import new_workspace
from rundlet.engine.context import Context
from rundlet.errors import RundletError
from rundlet.oci.reference import InvalidReferenceError, Reference
from rundlet.transport import HttpClient
from rundlet.util.clock import Clock, rfc3339_nano
from rundlet.util.tasks import settled

_INTERVAL_NS: Final = 100_000_000
"""Between two words about a transfer."""


class Transfer:
    """A step of its own in the client's display: something that is fetched."""

    def __init__(self, emit: Emit, clock: Clock, name: str) -> None:
        self._emit = emit
        self._clock = clock
        self._vertex = Vertex(f"internal:{name}", name)
        self._said = 0
        self._began = ""

    @contextmanager
    def going_on(self, what: str) -> Iterator[Callable[[int], None]]:
        """Gives what the bytes so far are to be told to."""
        self._began = self._now()
        total = 0

        def progress(current: int) -> None:
            nonlocal total
            total = current
            now = self._clock.now_ns()
            if now - self._said > _INTERVAL_NS:
                self._said = now
                self._status(what, current)

        self._say()
        try:
            yield progress
        except RundletError as exc:
            self._say(completed=self._now(), error=str(exc))
            raise
        self._status(what, total, completed=self._now())
        self._say(completed=self._now())

    def _say(self, completed: str = "", error: str = "") -> None:
        vertex = Vertex(self._vertex.digest, self._vertex.name, self._began, completed, error=error)
        self._emit(BuildProgress(vertexes=(vertex,)))

    def _status(self, what: str, current: int, completed: str = "") -> None:
        status = VertexStatus(
            what, self._vertex.digest, what, current, 0, self._now(), started=self._began, completed=completed
        )
        self._emit(BuildProgress(statuses=(status,)))

    def _now(self) -> str:
        return rfc3339_nano(self._clock.now_ns())


class SessionSupply:
    """Of one build."""

    def __init__(
        self,
        context: Context,
        kept: KeptContexts,
        http: HttpClient,
        session: Session,
        shared: Mapping[str, Session],
        plan: Plan,
        logins: dict[str, AuthConfig],
    ) -> None:
        """``shared`` are other sessions, by the directories that they have. ``logins`` are the build's own: they are
        filled when it is known what registries it needs."""
        self._context = context
        self._kept = kept
        self._http = http
        self._session = session
        self._shared = shared
        self._plan = plan
        self._logins = logins
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def supplied(self, workspace: Workspace, lent: Lent, emit: Emit) -> AsyncIterator[Read]:
        """See builds.supplies.Supply."""
        plan = self._plan
        try:
            async with AsyncExitStack() as stack:
                if plan.remote:
                    await self._remote(workspace, lent.secrets, emit)
                read = await self._dockerfile(workspace, emit)
                if not plan.remote:
                    await self._local(stack, workspace, read.ignore, emit)
                for name, directory in plan.contexts.items():
                    lent.contexts[name] = await self._further(stack, name, directory, emit)
                for name, stored in plan.caches.items():
                    await self._cached(name, stored, lent, emit)
                await self._lend(read.dockerfile, lent)
                yield read
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def inspected(self, workspace: Workspace, emit: Emit) -> Read:
        """The Dockerfile alone, of a context that is the client's. Raises BuildError, CallError, DockerfileError."""
        if self._plan.remote:
            await self._remote(workspace, {}, emit)
        return await self._dockerfile(workspace, emit)

    def _of(self, directory: str) -> Session:
        return self._shared.get(directory, self._session)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _dockerfile(self, workspace: Workspace, emit: Emit) -> Read:
        plan = self._plan
        if not plan.dockerfile:
            return await self._read(workspace.context, filtered=False)
        place = await asyncio.to_thread(workspace.directory, "dockerfile")
        step = Transfer(emit, self._context.clock, f"[internal] load build definition from {plan.filename}")
        names = (plan.filename, f"{plan.filename}{IGNORE_FILE}")
        with step.going_on("transferring dockerfile:") as progress:
            found = await self._fetch(workspace, place, plan.dockerfile, names, progress)
            if plan.filename not in found:
                raise BuildError(f"failed to read dockerfile: open {plan.filename}: no such file or directory")
        if names[1] not in found and not plan.remote:
            step = Transfer(emit, self._context.clock, f"[internal] load {IGNORE_FILE}")
            with step.going_on("transferring context:") as progress:
                await self._fetch(workspace, place, plan.directory, (IGNORE_FILE,), progress)
        return await self._read(place, filtered=True)

    async def _read(self, directory: str, *, filtered: bool) -> Read:
        name = self._plan.filename
        try:
            return await asyncio.to_thread(read_dockerfile, directory, name, filtered=filtered, own_ignore=True)
        except DockerfileMissingError as exc:
            raise BuildError(f"failed to read dockerfile: open {name}: no such file or directory") from exc

    async def _fetch(
        self,
        workspace: Workspace,
        place: str,
        directory: str,
        names: tuple[str, ...],
        progress: Callable[[int], None],
    ) -> set[str]:
        """The named files of one of the client's directories; which there are."""
        headers = filesync.request_headers(directory, followpaths=names)
        async with self._of(directory).channel.call(filesync.METHOD, headers) as call:
            receiver = filesync.Receiver(call, progress)
            files = await receiver.listing()
            async with aclosing(receiver.archive(files, None)) as archive:
                await receive(workspace, archive, place)
            await receiver.finish()
        return {file.path for file in files}

    async def _local(self, stack: AsyncExitStack, workspace: Workspace, ignore: Patterns, emit: Emit) -> None:
        """The context."""
        plan = self._plan
        step = Transfer(emit, self._context.clock, "[internal] load build context")
        with step.going_on("transferring context:") as progress:
            await self._whole(stack, workspace, plan.directory, plan.filename, ignore, progress)

    async def _whole(
        self,
        stack: AsyncExitStack,
        workspace: Workspace,
        directory: str,
        use: str,
        ignore: Patterns,
        progress: Callable[[int], None],
    ) -> None:
        """One of the client's directories as the context of the workspace, without what is ignored: sent is what
        changed since the last build that had it for the same ``use``. It is kept when the ``stack`` ends."""
        headers = filesync.request_headers(directory, exclude_patterns=ignore.lines())
        async with self._of(directory).channel.call(filesync.METHOD, headers) as call:
            receiver = filesync.Receiver(call, progress)
            files = await receiver.listing()
            listing = ContextListing(tuple(filesync.context_entry(file) for file in files))
            answer = await self._kept.announce(self._key(directory, use), listing.entries)
            announced = await stack.enter_async_context(self._kept.using(answer.token, workspace))
            assert announced is not None
            wanted = None if answer.wanted is None else frozenset(answer.wanted)
            async with aclosing(receiver.archive(files, wanted)) as archive:
                await receive(workspace, archive)
            await receiver.finish()
        announced.complete = True
        workspace.memo = announced.memo

    def _key(self, directory: str, use: str) -> str:
        """One context is one directory of one machine, as far as the client tells."""
        text = f"{self._of(directory).shared_key}\0{directory}\0{use}"
        return hashlib.sha256(text.encode()).hexdigest()

    async def _further(self, stack: AsyncExitStack, name: str, directory: str, emit: Emit) -> Workspace:
        workspace = new_workspace(self._context)
        step = Transfer(emit, self._context.clock, f"[context {name}] load from client")
        try:
            await settled(asyncio.to_thread(workspace.make))
            ignore = await self._ignored(name, directory, workspace, emit)
            with step.going_on("transferring context:") as progress:
                await self._whole(stack, workspace, directory, f"context:{name}", ignore, progress)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(workspace.remove))
            raise
        return workspace

    async def _ignored(self, name: str, directory: str, workspace: Workspace, emit: Emit) -> Patterns:
        """What the directory's own ignore file says."""
        place = await asyncio.to_thread(workspace.directory, "ignore")
        step = Transfer(emit, self._context.clock, f"[context {name}] load {IGNORE_FILE}")
        with step.going_on("transferring context:") as progress:
            await self._fetch(workspace, place, directory, (IGNORE_FILE,), progress)
        return await asyncio.to_thread(read_ignore, place)

    async def _cached(self, name: str, stored: StoredImage, lent: Lent, emit: Emit) -> None:
        """A build cache of the client's; one that can't be had is no error."""
        workspace = lent.contexts[name] = new_workspace(self._context)
        await settled(asyncio.to_thread(workspace.make))
        step = Transfer(emit, self._context.clock, f"importing cache manifest from {stored.store}")
        with suppress(RundletError), step.going_on("transferring cache:"):
            async with aclosing(ClientStore(self._session, stored.store).archive(stored.digest)) as archive:
                await receive(workspace, archive)

    async def _remote(self, workspace: Workspace, secrets: dict[str, bytes], emit: Emit) -> None:
        remote = self._plan.remote
        step = Transfer(emit, self._context.clock, "[internal] load remote build context")
        with step.going_on("transferring context:"):
            if remote.startswith(UPLOAD):
                async with aclosing(self._session.upload(urlsplit(remote).path)) as body:
                    await receive(workspace, body)
            else:
                secrets |= await self._session.secrets(secret_names(remote))
                keep_git = flag_of(self._plan.options, KEEP_GIT)
                await bring(
                    workspace,
                    remote,
                    self._http,
                    secrets,
                    lambda _state: None,
                    lambda _line: None,
                    keep_git=keep_git,
                )

    # ── what is lent ─────────────────────────────────────────────────────────────────────────────────────────

    async def _lend(self, dockerfile: ast.Dockerfile, lent: Lent) -> None:
        runs = [item for stage in dockerfile.stages for item in stage.instructions if isinstance(item, ast.Run)]
        mounts = [mount for run in runs for mount in run.mounts]
        for mount in mounts:
            if mount.type == "secret":
                name = mount.id or mount.source or posixpath.basename(mount.target)
                value = await self._session.secret(name)
                if value is not None:
                    lent.secrets[name] = value
            elif mount.type == "ssh":
                name = mount.id or "default"
                if name not in lent.agents and await self._session.has_agent(name):
                    lent.agents[name] = _AgentLines(self._session, name, self._tasks)
        adds = [item for stage in dockerfile.stages for item in stage.instructions if isinstance(item, ast.Add)]
        for source in (*(name for add in adds for name in add.sources), *self._plan.options.contexts.values()):
            git = git_source(source)
            if git is not None:
                lent.secrets |= await self._session.secrets(secret_names(git.url))
        for host in self._registries(dockerfile):
            user, secret = await self._session.credentials("registry-1.docker.io" if host == "docker.io" else host)
            if secret:
                self._logins[host] = (
                    AuthConfig(username=user, password=secret) if user else AuthConfig(identitytoken=secret)
                )

    def _registries(self, dockerfile: ast.Dockerfile) -> set[str]:
        """Those that the build may speak with: of base images, and of where results go."""
        options = self._plan.options
        names = [stage.base for stage in dockerfile.stages]
        for stage in dockerfile.stages:
            for item in stage.instructions:
                names += [item.from_] if isinstance(item, ast.Copy) else []
                names += [mount.from_ for mount in item.mounts] if isinstance(item, ast.Run) else []
        names += [name.removeprefix("docker-image://") for name in options.contexts.values()]
        names += [name for output in options.outputs for name in output.attrs.get("name", "").split(",")]
        for text in (*options.cache_from, *options.cache_to):
            names += [field.removeprefix("ref=") for field in text.split(",") if field.startswith("ref=")]
        found = set()
        for name in filter(None, names):
            try:
                found.add(Reference.parse(name).domain)
            except InvalidReferenceError:
                # A stage, a variable, a URL.
                continue
        return found


class _AgentLines:
    """Lines to the client's SSH agent, as many as are wanted."""

    def __init__(self, session: Session, name: str, tasks: set[asyncio.Task[None]]) -> None:
        self._session = session
        self._name = name
        self._tasks = tasks

    async def get(self) -> socket.socket:
        """See builds.lendings.AgentLines."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        task = asyncio.create_task(self._join(ours))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return theirs

    async def _join(self, line: socket.socket) -> None:
        try:
            await self._session.agent(self._name, line)
        except RundletError:
            # Whoever speaks to the agent sees its line end.
            return

    def close(self) -> None:
        """They end with the build."""
