"""The exit record: a file of fixed size, made before the container starts, so that a full disk can't lose a status.

The reader is :mod:`rundlet.runtime.state`.
"""

import json
import os
from typing import Final

SIZE: Final = 1024
VERSION: Final = 1
_MAX_ERROR: Final = 400


_boot_id = ""


def boot_id() -> str:
    """Looked up once: the launcher's warm-up does it for all shims, as a record must need no descriptor."""
    global _boot_id  # noqa: PLW0603
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boot_id = file.read().strip()
    return _boot_id


class ExitRecord:
    """The open, preallocated file."""

    __slots__ = ("_fd",)

    def __init__(self, path: str | int) -> None:
        """``path`` may be a descriptor (taken over) for a record that is to have no name.

        Raises: OSError; a disk that is full now stops the start, not the end.
        """
        if isinstance(path, int):
            self._fd = path
        else:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.posix_fallocate(self._fd, 0, SIZE)
        os.pwrite(self._fd, b" " * (SIZE - 1) + b"\n", 0)

    def write(
        self,
        *,
        code: int,
        finished_ns: int,
        signal: int | None = None,
        oom: bool = False,
        started_ns: int = 0,
        error: str | None = None,
        log_dropped: int = 0,
    ) -> None:
        """Write the record; :meth:`sync` makes it durable."""
        record = {
            "version": VERSION,
            "code": code,
            "signal": signal,
            "oom": oom,
            "started_ns": started_ns,
            "finished_ns": finished_ns,
            "error": error[:_MAX_ERROR] if error else None,
            "boot_id": boot_id(),
            "log_dropped": log_dropped,
        }
        data = json.dumps(record).encode()
        if len(data) >= SIZE:  # an error text of escapes only
            data = json.dumps(record | {"error": "start failed"}).encode()
        os.pwrite(self._fd, data.ljust(SIZE - 1) + b"\n", 0)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
