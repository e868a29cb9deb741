"""The engine's reading of exit records; the shim's :mod:`rundlet.runtime.shim.record` writes them."""

from typing import Final

import msgspec

from rundlet.errors import InternalError
from rundlet.runtime.shim.record import SIZE, VERSION

_MAX: Final = SIZE * 4


class ExitRecord(msgspec.Struct, frozen=True):
    """How a container ended. Times in nanoseconds since the epoch; ``signal`` is set when one ended it.

    ``error`` is what the user is told about a start that failed; ``log_dropped`` counts log entries that found no room.
    """

    version: int
    code: int
    signal: int | None
    oom: bool
    started_ns: int
    finished_ns: int
    error: str | None
    boot_id: str
    log_dropped: int = 0


class NewerRecordError(InternalError):
    """An exit record that a newer Rundlet wrote."""

    reason = "newer-state"

    def __init__(self, path: str, found: int) -> None:
        super().__init__(f"{path} has version {found}, this Rundlet knows up to {VERSION}")


def read_exit(path: str) -> ExitRecord | None:
    """The record at ``path``; None when there is none, or the container has not ended yet.

    Raises: NewerRecordError; OSError when it is there but can't be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX).strip()
    except FileNotFoundError:
        return None
    if not data:
        return None
    try:
        record = msgspec.json.decode(data, type=ExitRecord)
    except msgspec.DecodeError:
        return None  # a machine that lost power in the middle of the write
    if record.version > VERSION:
        raise NewerRecordError(path, record.version)
    return record


def boot_id() -> str:
    """The running kernel's: a record with another one is from before a reboot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
