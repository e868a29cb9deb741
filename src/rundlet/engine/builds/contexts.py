"""What a build is made from: an archive that the client sends, or something to be fetched."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from rundlet.builder.dockerfile.ast import Dockerfile
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.downloads import clone, fetch, git_source, is_http
from rundlet.builder.errors import BuildError
from rundlet.builder.ignore import NAME as IGNORE_FILE
from rundlet.builder.ignore import BadPatternError, Patterns
from rundlet.builder.workspace import Workspace
from rundlet.errors import InvalidParameterError
from rundlet.image.records import OnProgress
from rundlet.linux import path as safe_path
from rundlet.storage.errors import LayerError
from rundlet.storage.files.access import FileAccessError, PlaceRequest
from rundlet.storage.tree import remove_path, remove_tree
from rundlet.transport import HttpClient

DOCKERFILE: Final = "Dockerfile"
_LIMIT: Final = 16 << 20
_CHUNK: Final = 1 << 20
_TEXT: Final = frozenset({"text/plain"})


class DockerfileMissingError(InvalidParameterError):
    reason = "dockerfile-missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"Cannot locate specified Dockerfile: {name}")


class BadContextError(InvalidParameterError):
    reason = "bad-build-context"

    def __init__(self, why: str) -> None:
        super().__init__(f"the build context can't be unpacked: {why}")


async def receive(workspace: Workspace, body: AsyncIterator[bytes], place: str = "") -> None:
    """Unpack ``body`` (a tar, compressed or not) as the build's context, or into another directory of the build's. All
    of it becomes root's.

    Raises BadContextError.
    """
    access = workspace.write_directory(place or workspace.context)
    try:
        await access.start_place(PlaceRequest(path="/", own=(0, 0), keep_kinds=False))
        await access.put(body)
    except (FileAccessError, LayerError) as exc:
        raise BadContextError(str(exc)) from exc
    finally:
        await access.close()


async def bring(
    workspace: Workspace,
    remote: str,
    http: HttpClient,
    secrets: Mapping[str, bytes],
    progress: OnProgress,
    say: Callable[[str], None],
    *,
    keep_git: bool = False,
) -> bool:
    """Make what ``remote`` names the context: a git repository (with its ``.git`` if ``keep_git``), an archive, or a
    Dockerfile alone (True), which then has the default name. ``secrets`` of the build may open a repository.

    Raises BuildError, TransportError, BadContextError.
    """
    git = git_source(remote)
    if git is not None:
        directory = await asyncio.to_thread(workspace.directory, "git")
        await clone(git, directory, keep_metadata=keep_git, secrets=secrets, on_line=say)
        await asyncio.to_thread(_adopt, workspace, directory, git.directory, remote)
        return False
    if not is_http(remote):
        raise InvalidParameterError(f"remote URL could not be determined: {remote}")
    directory = await asyncio.to_thread(workspace.directory, "download")
    found = await fetch(http, remote, directory, "", progress)
    if found.kind in _TEXT or (found.size < _LIMIT and await asyncio.to_thread(_is_text, found.path)):
        await asyncio.to_thread(os.rename, found.path, f"{workspace.context}/{DOCKERFILE}")
        return True

    async def chunks() -> AsyncIterator[bytes]:
        with open(found.path, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk

    await receive(workspace, chunks())
    await asyncio.to_thread(os.unlink, found.path)
    return False


async def fetch_context(
    workspace: Workspace, url: str, http: HttpClient, secrets: Mapping[str, bytes], name: str = ""
) -> None:
    """Make what ``url`` names the only thing in the context: a repository's files, or one file, as ``name`` or under
    its own name.

    Raises BuildError, TransportError.
    """
    git = git_source(url)
    if git is not None:
        directory = await asyncio.to_thread(workspace.directory, "git")
        await clone(git, directory, keep_metadata=False, secrets=secrets, on_line=lambda _line: None)
        await asyncio.to_thread(_adopt, workspace, directory, git.directory, url)
        return
    directory = await asyncio.to_thread(workspace.directory, "download")
    found = await fetch(http, url, directory, "", lambda _state: None)
    await asyncio.to_thread(os.rename, found.path, f"{workspace.context}/{_plain(name) or found.name or 'download'}")


def _plain(name: str) -> str:
    """``name`` if it is one of a file in a directory."""
    return name if name not in (".", "..") and "/" not in name and "\0" not in name else ""


def _adopt(workspace: Workspace, directory: str, inside: str, remote: str) -> None:
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = safe_path.open_in_root(root, inside or ".", os.O_PATH | os.O_DIRECTORY)
    except OSError as exc:
        raise BuildError(f"{remote}: no such directory in the repository: {inside}") from exc
    finally:
        os.close(root)
    try:
        source = os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    os.rmdir(workspace.context)
    os.rename(source, workspace.context)
    os.chmod(workspace.context, 0o755)  # noqa: S103 nobody else reaches it
    remove_path(directory)


def _is_text(path: str) -> bool:
    with open(path, "rb") as file:
        start = file.read(512)
    return bool(start) and b"\0" not in start and not start.startswith((b"BZh", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5"))


class Read(msgspec.Struct, frozen=True):
    """A Dockerfile, its text, and what the context's ignore file says."""

    dockerfile: Dockerfile
    text: str
    ignore: Patterns


def read_dockerfile(context: str, name: str, *, filtered: bool, own_ignore: bool) -> Read:
    """The Dockerfile ``name`` (or the default one) in the directory ``context``.

    It and the ignore file go from the context when that says so; all that it names goes when the context has not been
    ``filtered`` by its sender. ``own_ignore``: a Dockerfile may have an ignore file of its own. Blocks. Raises
    DockerfileMissingError, DockerfileError, InvalidParameterError.
    """
    root = os.open(context, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        data = _read(root, name or DOCKERFILE)
        # Docker's command line names the default one too; it may be written in small letters.
        if data is None and name in ("", DOCKERFILE):
            data = _read(root, DOCKERFILE.lower())
        if data is None and not name:
            data = _read(root, "Containerfile")
        if data is None:
            raise DockerfileMissingError(name or DOCKERFILE)
        if not data:
            raise InvalidParameterError(f"the Dockerfile ({name or DOCKERFILE}) cannot be empty")
        try:
            parsed = parse(data)
        except DockerfileError as exc:
            exc.text = data.decode("utf-8", "replace")
            raise
        ignore = _read(root, f"{name or DOCKERFILE}{IGNORE_FILE}") if own_ignore else None
        ignore = _read(root, IGNORE_FILE) if ignore is None else ignore
        patterns = _patterns(ignore or b"")
        _drop(root, patterns, None if not filtered else [IGNORE_FILE, name or DOCKERFILE])
        return Read(parsed, data.decode("utf-8", "replace"), patterns)
    finally:
        os.close(root)


def read_ignore(directory: str) -> Patterns:
    """What the ignore file in ``directory`` says, if there is one. Blocks. Raises InvalidParameterError."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _patterns(_read(root, IGNORE_FILE) or b"")
    finally:
        os.close(root)


def _patterns(data: bytes) -> Patterns:
    try:
        return Patterns.read(data)
    except BadPatternError as exc:
        raise InvalidParameterError(f"Error checking context: {exc}") from exc


def _read(root: int, name: str) -> bytes | None:
    """Inside the context, whatever links there are in it."""
    words = [word for word in name.split("/") if word not in ("", ".")]
    if ".." in words:
        raise InvalidParameterError(f"Forbidden path outside the build context: {name} ()")
    try:
        fd = safe_path.open_in_root(root, "/".join(words) or ".", os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise InvalidParameterError(f"failed to read {name}: {(exc.strerror or '').lower()}") from exc
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidParameterError(f"failed to read {name}: not a regular file")
        if status.st_size > _LIMIT:
            raise InvalidParameterError(f"{name} is too large")
        return file.read(_LIMIT)


def _drop(root: int, patterns: Patterns, only: list[str] | None) -> None:
    """Remove what the patterns leave out; with ``only`` nothing but these names."""
    if not patterns:
        return
    if only is not None:
        for name in only:
            clean = "/".join(word for word in name.split("/") if word not in ("", "."))
            if patterns.ignored(clean):
                _remove(root, clean)
        return
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        try:
            fd = safe_path.openat2(
                root,
                directory or ".",
                os.O_RDONLY | os.O_DIRECTORY,
                0,
                safe_path.RESOLVE_BENEATH | safe_path.RESOLVE_NO_SYMLINKS,
            )
        except OSError:
            continue
        try:
            with os.scandir(fd) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(fd)
        for base, is_directory in found:
            name = f"{directory}/{base}" if directory else base
            ignored = patterns.ignored(name)
            if is_directory and (not ignored or patterns.may_keep_below(name)):
                waiting.append(name)
            elif ignored:
                _remove(root, name)


def _remove(root: int, name: str) -> None:
    directory, _, base = name.rpartition("/")
    inside = safe_path.RESOLVE_BENEATH | safe_path.RESOLVE_NO_SYMLINKS
    try:
        parent = safe_path.openat2(root, directory or ".", os.O_PATH | os.O_DIRECTORY, 0, inside)
    except OSError:
        return
    try:
        remove_tree(parent, os.fsencode(base))
    finally:
        os.close(parent)
