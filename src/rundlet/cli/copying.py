"""``cp`` between a container and this machine, with Docker's rules for what lands where.

A file goes into a directory, or takes the place of a file, or gets the new name; a directory goes into a directory, or
gets the new name; ``SRC/.`` means what is in the directory. See: docs.docker.com/reference/cli/docker/container/cp.
"""

from __future__ import annotations

import os
import posixpath

from rundlet.cli.each import container_path
from rundlet.cli.exit import CommandError
from rundlet.cli.format.units import human_size
from rundlet.client.errors import ApiError
from rundlet.client.wire import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation
    from rundlet.client.http import Response

# Go's os.FileMode bits, which the API's path statistics use.
GO_DIRECTORY = 1 << 31
GO_SYMLINK = 1 << 27
STAT_HEADER = "x-docker-container-path-stat"


def _stat_of(response: Response) -> dict[str, Any]:
    from binascii import a2b_base64

    found: dict[str, Any] = loads(a2b_base64(response.headers[STAT_HEADER]))
    return found


def _asserts_directory(path: str) -> bool:
    return path.endswith(("/", "/.")) or path == "."


def _container_stat(call: Invocation, container: str, path: str) -> dict[str, Any] | None:
    """What ``path`` is in the container; None when it is not there or, below a file, can not be."""
    session = call.context.session
    try:
        response = session.request("HEAD", container_path(container, "archive"), query={"path": path})
    except ApiError as exc:
        if exc.status in (400, 404, 500):
            return None
        raise
    session.release(response.connection)
    return _stat_of(response)


def _report(call: Invocation, size: int, where: str) -> None:
    if not call.flags["quiet"] and os.isatty(2):
        call.context.warn(f"Successfully copied {human_size(size)} to {where}")


# From a container


def copy_from(call: Invocation, container: str, path: str, target: str) -> None:
    """Container to here (``-``: an archive to standard output). Raises CommandError, ApiError."""
    if target == "-":
        from rundlet.cli.streams import write_all

        for piece in _archive(call, container, path).chunks():
            write_all(1, piece)
        return
    shown = target
    if os.path.islink(target):
        target = os.path.realpath(target)  # a link stays; what it leads to is made, or written over
    parent = os.path.dirname(target.rstrip("/")) or ("/" if target.startswith("/") else ".")
    if not os.path.isdir(parent):
        raise CommandError(f'invalid output path: directory "{parent}" does not exist')
    asked = path
    if call.flags["follow-link"]:
        path = _followed(call, container, path)
    response = _archive(call, container, path)
    found = _stat_of(response)
    is_directory = bool(found["mode"] & GO_DIRECTORY)
    directory, name = _destination(asked, target, is_directory=is_directory)
    first = posixpath.basename(posixpath.normpath(path)) if posixpath.normpath(path) != "/" else ""

    def rename(member: str) -> str:
        member = member.removeprefix("./").lstrip("/")
        # The archive's first component is the source's own name: what lands here has the name chosen above.
        head, slash, rest = member.partition("/")
        if first and head == first:
            return name + slash + rest if name else rest
        return f"{name}/{member}" if name else member

    from rundlet.cli.unpacking import Pieces, unpack

    source = Pieces(response.chunks())
    unpack(source, directory, rename, owners=call.flags["archive"])
    _report(call, source.count, shown)


def _archive(call: Invocation, container: str, path: str) -> Response:
    return call.context.session.request("GET", container_path(container, "archive"), query={"path": path})


def _followed(call: Invocation, container: str, path: str) -> str:
    """The path that a symbolic link in the container leads to, with the ends that ask for a directory's content."""
    found = _container_stat(call, container, path)
    if found is None or not found["mode"] & GO_SYMLINK:
        return path
    plain = path.removesuffix("/.").rstrip("/")
    return posixpath.join(posixpath.dirname(plain), found["linkTarget"]) + path[len(plain) :]


def _destination(path: str, target: str, *, is_directory: bool) -> tuple[str, str]:
    """(existing local directory, name of the source's root below it; "" for its content only)."""
    base = posixpath.basename(posixpath.normpath(path)).strip("/")
    contents = path.endswith("/.") or path == "." or not base
    if os.path.isdir(target):
        return target, "" if is_directory and contents else base
    if os.path.exists(target):
        if is_directory:
            raise CommandError("cannot copy directory")
        if _asserts_directory(target):
            raise CommandError("not a directory")
    elif _asserts_directory(target) and not is_directory:
        raise CommandError("no such directory")
    plain = target.rstrip("/")
    return os.path.dirname(plain) or ("/" if target.startswith("/") else "."), os.path.basename(plain)


# To a container


def copy_to(call: Invocation, path: str, container: str, target: str) -> None:
    """Here to a container (``-``: an archive from standard input). Raises CommandError, ApiError."""
    if not target:
        raise CommandError("destination path can not be empty")
    found = _container_stat(call, container, target)
    if found is not None and found["mode"] & GO_SYMLINK:
        linked = posixpath.join(posixpath.dirname(target), found["linkTarget"])
        found = _container_stat(call, container, linked)
        target = linked
    if path == "-":
        _put_stdin(call, container, target, found)
        return
    asked = path
    if call.flags["follow-link"]:
        path = os.path.realpath(path) + ("/." if path.endswith("/.") else "")
    try:
        os.lstat(path)
    except OSError as exc:
        raise CommandError(f"lstat {path}: {(exc.strerror or '').lower()}") from exc
    is_directory = os.path.isdir(path) and not (os.path.islink(path) and not path.endswith("/"))
    directory, name = _container_destination(asked, target, found, is_directory=is_directory)

    from rundlet.cli.packing import pack

    size = 0

    def counted() -> Any:
        nonlocal size
        for piece in pack(path.removesuffix("/.") or "/", name, contents_only=not name):
            size += len(piece)
            yield piece

    _put(call, container, directory, counted())
    _report(call, size, f"{container}:{target}")


def _container_destination(
    path: str, target: str, found: dict[str, Any] | None, *, is_directory: bool
) -> tuple[str, str]:
    """(directory in the container, name of the source's root below it; "" for its content only)."""
    base = os.path.basename(os.path.normpath(path)) if os.path.normpath(path) not in ("/", ".") else ""
    contents = is_directory and (path.endswith("/.") or not base)
    if found is not None and found["mode"] & GO_DIRECTORY:
        return target, "" if contents else base
    if found is not None and is_directory:
        raise CommandError("cannot copy directory")
    if found is not None and _asserts_directory(target):
        raise CommandError("not a directory")
    if found is None and _asserts_directory(target) and not is_directory:
        raise CommandError("no such directory")
    plain = target.rstrip("/")
    return posixpath.dirname(plain) or "/", posixpath.basename(plain)


def _put(call: Invocation, container: str, directory: str, stream: Any) -> None:
    query = {
        "path": directory,
        "noOverwriteDirNonDir": True,
        "copyUIDGID": True if call.flags["archive"] else None,
    }
    session = call.context.session
    response = session.request("PUT", container_path(container, "archive"), query=query, stream=stream)
    response.read()
    session.release(response.connection)


def _put_stdin(call: Invocation, container: str, target: str, found: dict[str, Any] | None) -> None:
    from rundlet.client.filebody import FileBody

    if found is None or not found["mode"] & GO_DIRECTORY:
        raise CommandError(f'destination "{container}:{target}" must be a directory')
    _put(call, container, target, FileBody(os.dup(0)))
