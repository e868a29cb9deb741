"""``RUN --mount``: what a step sees besides its image, none of which gets into its layer."""

import asyncio
import os
import posixpath
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, Protocol

import msgspec

from rundlet.builder.cachemounts import DEFAULT_OWNER, CacheMounts
from rundlet.builder.dockerfile.arguments import CACHE_NAMESPACE
from rundlet.builder.dockerfile.ast import Mount
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.scripts import PIPES, ScriptFile
from rundlet.builder.errors import BuildError
from rundlet.builder.pieces import Piece, picked
from rundlet.builder.report import Step
from rundlet.builder.request import BuildRequest
from rundlet.builder.workspace import Workspace
from rundlet.image.records import Image, Layer
from rundlet.linux import path as safe_path
from rundlet.storage.files.access import FileAccess, PickRequest, PlaceRequest, Source

Bind = tuple[str, str, str, bool, str]
"""Kind, target, source, read-only, options: as RunMount has them."""
SECRETS: Final = "/run/secrets"
_AGENT: Final = "/run/buildkit/ssh_agent"


class Finder(Protocol):
    """Where mounts come from: see sources.SourceFinder."""

    def directory(self, name: str) -> str: ...

    async def image(self, name: str, step: Step) -> Image | None: ...

    async def stack(self, name: str, step: Step) -> Sequence[Layer]: ...


class MountSourceError(BuildError):
    reason = "build-mount-source"

    def __init__(self, source: str) -> None:
        super().__init__(f'failed to calculate checksum of ref: "/{source.lstrip("/")}": not found')


class Prepared(msgspec.Struct, frozen=True):
    mounts: Sequence[Bind] = ()
    environment: dict[str, str] = {}


_PLACED: Final = frozenset(("bind", "cache", "tmpfs"))
"""What is mounted at the working directory unless it says where."""


class Origin(msgspec.Struct, frozen=True):
    """Where a bind's files are: a ``directory`` of this build, or the layers of an image (None: of none yet)."""

    directory: str
    stack: tuple[Layer, ...]
    piece: Piece | None
    image: Image | None = None

    @property
    def digest(self) -> str:
        """Of the files there."""
        chain = str(self.stack[-1].chain) if self.stack else ""
        return f"{self.piece.digest if self.piece is not None else ''} {chain}"


def placed(mount: Mount, directory: str) -> Mount:
    """With the whole path of its target. Raises DockerfileError."""
    if mount.type not in _PLACED:
        return mount
    target = posixpath.normpath("/" + posixpath.join(directory, mount.target).lstrip("/"))
    if target == "/":
        raise DockerfileError(f'invalid mount target "{target}"')
    return msgspec.structs.replace(mount, target=target)


class Mounts:
    """The mounts of one step. ``key`` says what of them decides the step's result: contents of what is bound, never
    those of caches and secrets."""

    def __init__(
        self,
        maker: "MountMaker",
        mounts: Sequence[tuple[Mount, Origin | None]],
        files: Sequence[ScriptFile],
        directory: str,
    ) -> None:
        self._maker = maker
        self._mounts = mounts
        self._files = files
        self._directory = directory

    @property
    def key(self) -> object:
        found: list[object] = [msgspec.to_builtins(file) for file in self._files]
        for mount, origin in self._mounts:
            found.append(msgspec.to_builtins(msgspec.structs.replace(mount, from_="")))
            if origin is not None:
                found.append(origin.digest)
        return found

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[Prepared]:
        """Made, and given back with the block. Raises BuildError, OSError, FileAccessError."""
        binds: list[Bind] = []
        environment: dict[str, str] = {}
        async with AsyncExitStack() as held:
            if self._files:
                binds += await asyncio.to_thread(self._maker.scripts, self._files)
            for mount, origin in self._mounts:
                target = posixpath.normpath(posixpath.join(self._directory, mount.target)) if mount.target else ""
                match mount.type:
                    case "bind":
                        assert origin is not None
                        if image := await self._maker.mounted(mount, origin):
                            binds.append(("image", target, image, True, _subpath(mount.source)))
                            continue
                        source = await self._maker.bound(mount, origin)
                        binds.append(("bind", target, source, mount.read_only, ""))
                    case "cache":
                        source = await held.enter_async_context(self._maker.cache(mount, target, origin))
                        binds.append(("bind", target, source, mount.read_only, ""))
                    case "tmpfs":
                        binds.append(("tmpfs", target, "", False, f"size={mount.size}" if mount.size else ""))
                    case "secret":
                        self._secret(mount, target, binds, environment)
                    case "ssh":
                        self._agent(mount, target, binds, environment)
            yield Prepared(binds, environment)

    def _secret(self, mount: Mount, target: str, binds: list[Bind], environment: dict[str, str]) -> None:
        name = mount.id or mount.source or posixpath.basename(target)
        value = self._maker.request.secrets.get(name)
        if value is None:
            if mount.required:
                raise BuildError(f"secret {name}: not found")
            return
        if mount.env is not None:
            environment[mount.env] = value.decode("utf-8", "surrogateescape")
            if not target:
                return
        path = self._maker.secret(value, mount)
        binds.append(("bind", target or f"{SECRETS}/{name}", path, True, ""))

    def _agent(self, mount: Mount, target: str, binds: list[Bind], environment: dict[str, str]) -> None:
        name = mount.id or "default"
        path = self._maker.request.ssh.get(name)
        if path is None:
            if mount.required:
                raise BuildError(f"unset ssh forward key {name}")
            return
        if mount.uid is not None or mount.gid is not None:
            os.chown(path, mount.uid or 0, mount.gid or 0)
        os.chmod(path, mount.mode if mount.mode is not None else 0o600)
        number = sum(1 for bind in binds if bind[1].startswith(_AGENT))
        target = target or f"{_AGENT}.{number}"
        binds.append(("bind", target, path, False, ""))
        environment.setdefault("SSH_AUTH_SOCK", target)


class MountMaker:
    """One per build."""

    def __init__(self, request: BuildRequest, workspace: Workspace, caches: CacheMounts, finder: Finder) -> None:
        self.request = request
        self._workspace = workspace
        self._caches = caches
        self._finder = finder

    async def plan(self, mounts: Sequence[Mount], files: Sequence[ScriptFile], directory: str, step: Step) -> Mounts:
        """Raises MountSourceError, FileAccessError, DockerfileError, and what finding sources raises."""
        found: list[tuple[Mount, Origin | None]] = []
        for mount in [placed(mount, directory) for mount in mounts]:
            origin = None
            if mount.type == "bind" or (mount.type == "cache" and mount.from_):
                origin = await self._origin(mount, step)
            found.append((mount, origin))
        return Mounts(self, found, files, directory)

    async def _origin(self, mount: Mount, step: Step) -> Origin:
        directory = self._finder.directory(mount.from_)
        if not directory:
            stack = tuple(await self._finder.stack(mount.from_, step))
            return Origin("", stack, None, await self._finder.image(mount.from_, step))
        piece, found = await picked(
            lambda: self._workspace.read_directory(directory), PickRequest(sources=[_literal(mount.source)]), owned=True
        )
        if not found:
            raise MountSourceError(mount.source)
        return Origin(directory, (), piece)

    async def mounted(self, mount: Mount, origin: Origin) -> str:
        """The ID of an image that can be mounted itself, read-only; "" where its files have to be copied: links on the
        way to the source are to be followed inside the image, which a mount doesn't do."""
        if origin.image is None or not mount.read_only:
            return ""
        subpath = _subpath(mount.source)
        plain = not subpath or await asyncio.to_thread(self._workspace.is_plain, origin.stack, subpath)
        return str(origin.image.id) if plain else ""

    async def bound(self, mount: Mount, origin: Origin) -> str:
        """A path on this machine with the files of a bind: the build's own, or a copy where they may be written to."""
        if origin.directory and mount.read_only:
            return await asyncio.to_thread(_inside, origin.directory, mount.source)
        return await self._copied(mount, origin, await asyncio.to_thread(self._workspace.directory, "bind"))

    async def _copied(self, mount: Mount, origin: Origin, directory: str) -> str:
        def reader() -> FileAccess:
            if origin.directory:
                return self._workspace.read_directory(origin.directory)
            return self._workspace.read_stack(origin.stack)

        source = reader()
        sink = self._workspace.write_directory(directory)
        try:
            found = await source.pick(PickRequest(sources=[_literal(mount.source)]))
            if not found:
                raise MountSourceError(mount.source)
            await sink.start_place(PlaceRequest(path="/", keep_kinds=False))
            async with aclosing(source.chunks()) as chunks:
                await sink.put(chunks)
        finally:
            await source.close()
            await sink.close()
        return directory if found[0].directory else f"{directory}/{posixpath.basename(found[0].name)}"

    @asynccontextmanager
    async def cache(self, mount: Mount, target: str, origin: Origin | None) -> AsyncIterator[str]:
        """The directory of a cache mount, for one step."""

        async def fill(directory: str) -> None:
            assert origin is not None
            await self._copied(mount, origin, directory)

        mode, uid, gid = DEFAULT_OWNER
        owner = (mount.mode if mount.mode is not None else mode, mount.uid or uid, mount.gid or gid)
        name = mount.id or target
        if namespace := self.request.arguments.get(CACHE_NAMESPACE):
            name = f"{namespace}/{name}"
        if origin is None:
            async with self._caches.use(name, mount.sharing, owner, None) as path:
                yield path
            return
        async with self._caches.use(name, mount.sharing, owner, fill, f"{origin.digest} {mount.source}") as path:
            yield path

    def scripts(self, files: Sequence[ScriptFile]) -> list[Bind]:
        """Here-documents as programs."""
        directory = self._workspace.directory("script")
        binds: list[Bind] = []
        for file in files:
            path = f"{directory}/{file.name}"
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as out:
                out.write(file.text)
            os.chmod(path, 0o755)  # noqa: S103 read-only for the container
            binds.append(("bind", f"{PIPES}/{file.name}", path, True, ""))
        return binds

    def secret(self, value: bytes, mount: Mount) -> str:
        """A file in memory with a secret."""
        path = f"{self._workspace.secret_directory()}/secret"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            view = memoryview(value)
            while view:
                view = view[os.write(fd, view) :]
            os.fchown(fd, mount.uid or 0, mount.gid or 0)
            os.fchmod(fd, mount.mode if mount.mode is not None else 0o400)
        finally:
            os.close(fd)
        return path


def _literal(text: str) -> Source:
    return Source(tuple((False, word) for word in _subpath(text).split("/") if word))


def _subpath(source: str) -> str:
    """``source`` as a path below an image's root."""
    return posixpath.normpath(f"/{source}").strip("/")


def _inside(directory: str, source: str) -> str:
    """The path on this machine of ``source`` in a context, whatever links there are. Raises MountSourceError."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = safe_path.open_in_root(root, source.strip("/") or ".", os.O_PATH)
    except OSError as exc:
        raise MountSourceError(source) from exc
    finally:
        os.close(root)
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
            raise MountSourceError(source)
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
