"""Archives: those that the engine sends, into a file or to standard output, and those that it is sent."""

from __future__ import annotations

import os
import stat

from rundlet.cli.exit import CommandError
from rundlet.cli.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rundlet.client.http import Response


def save_body(request: Callable[[], Response], output: str, verb: str, *, mode: int = 0o600) -> None:
    """Write the body of ``request()`` to ``output``, or to standard output unless that is a terminal.

    A file appears whole or not at all, with ``mode``: its owner's only, since it may hold secrets. Raises CommandError,
    ApiError.
    """
    if not output:
        if os.isatty(1):
            raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        request().pour(_writer(1))
        return
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise CommandError(f"failed to {verb}: invalid output path: stat {directory}: no such file or directory")
    if os.path.isdir(output):
        raise CommandError(f"failed to {verb}: cannot write to a directory")
    if os.path.exists(output) and stat.S_ISCHR(os.stat(output).st_mode):
        raise CommandError(f"failed to {verb}: cannot write to a character device file")
    response = request()
    if os.path.exists(output) and not os.path.isfile(output):
        # A device or a pipe: written in place.
        try:
            with open(output, "wb", buffering=0) as file:
                response.pour(_writer(file.fileno()))
        except OSError as exc:
            raise CommandError(f"failed to {verb}: {output}: {(exc.strerror or '').lower()}") from exc
        return
    temporary = f"{output}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb", buffering=0, opener=lambda path, flags: os.open(path, flags, mode)) as file:
            response.pour(_writer(file.fileno()))
        os.rename(temporary, output)
    except OSError as exc:
        raise CommandError(f"failed to {verb}: {exc.filename or output}: {(exc.strerror or '').lower()}") from exc
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _writer(fd: int) -> Callable[[bytes | memoryview], None]:
    return lambda piece: write_all(fd, piece)


def open_input(path: str) -> int:
    """A descriptor of an archive to be sent. Raises CommandError, also for a directory."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise CommandError(f"open {path}: {(exc.strerror or '').lower()}") from exc
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise CommandError(f"read {path}: is a directory")
    return fd
