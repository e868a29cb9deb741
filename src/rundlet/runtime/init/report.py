"""How init tells the shim what became of it: fixed records on a pipe, from buffers made beforehand.

READY is written directly before execve; the pipe is close-on-exec. So: end of file after READY is success, a failure
record is a failure (also after READY: execve itself), end of file without either is a death in between.
"""

import errno
import os
import struct
from typing import Final, NamedTuple

SIZE: Final = 512
_HEAD: Final = struct.Struct("=cxHiH")
_DETAIL: Final = SIZE - _HEAD.size
_READY: Final = b"R"
_FAILED: Final = b"F"
_PID: Final = b"P"
_LISTENER: Final = b"L"

# The names of steps, in the order of their numbers on the wire; only ever add at the end.
STEPS: Final = (
    "internal",
    "cgroup",
    "namespace",
    "session",
    "rootfs",
    "mount",
    "device",
    "console",
    "sysctl",
    "pivot",
    "path",
    "hostname",
    "limit",
    "user",
    "cwd",
    "rights",
    "seccomp",
    "lookup",
    "exec",
    "stdio",
    "apparmor",
    "hook",
    "selinux",
)
_NUMBERS: Final = {name: number for number, name in enumerate(STEPS)}


class Report(NamedTuple):
    """What a record said. ``kind`` is "ready", "failed", "pid" or "listener": in ``errno`` the number of a process, or
    of its descriptor for a filter's notifications."""

    kind: str
    step: str = ""
    errno: int = 0
    detail: str = ""


class Reporter:
    """Init's end. Everything it needs when memory is gone is made here."""

    __slots__ = ("_buffer", "_fd", "_ready")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ready = _HEAD.pack(_READY, 0, 0, 0).ljust(SIZE, b"\0")
        self._buffer = bytearray(SIZE)

    def move(self, fd: int) -> None:
        """Report to ``fd`` from now on; closes the former one."""
        os.close(self._fd)
        self._fd = fd

    def ready(self) -> None:
        """Raises: BrokenPipeError when the shim is gone: nothing may be executed then."""
        os.write(self._fd, self._ready)

    def pid(self, number: int) -> None:
        self._number(_PID, number)

    def listener(self, number: int) -> None:
        self._number(_LISTENER, number)

    def _number(self, kind: bytes, number: int) -> None:
        _HEAD.pack_into(self._buffer, 0, kind, 0, number, 0)
        os.write(self._fd, self._buffer)

    def failed(self, step: str, number: int, detail: bytes = b"") -> None:
        """Write a failure; a shim that is gone needs none."""
        detail = detail[:_DETAIL]
        _HEAD.pack_into(self._buffer, 0, _FAILED, _NUMBERS.get(step, 0), number, len(detail))
        self._buffer[_HEAD.size : _HEAD.size + len(detail)] = detail
        try:
            os.write(self._fd, self._buffer)
        except OSError:
            pass

    def exception(self, step: str, exc: BaseException) -> None:
        """Report what a step raised."""
        if isinstance(exc, OSError):
            name = exc.filename if exc.filename is not None else exc.strerror or ""
            self.failed(step, errno.EIO if exc.errno is None else exc.errno, os.fsencode(str(name)))
        else:
            where = exc.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = f"{where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where is not None else ""
            self.failed("internal", 0, f"{type(exc).__name__}: {exc} ({line})".encode("utf-8", "replace"))


def parse(data: bytes) -> list[Report]:
    """All complete records in what was read from the pipe so far."""
    reports: list[Report] = []
    for offset in range(0, len(data) - SIZE + 1, SIZE):
        kind, step, number, length = _HEAD.unpack_from(data, offset)
        detail = data[offset + _HEAD.size : offset + _HEAD.size + length].decode("utf-8", "replace")
        name = STEPS[step] if step < len(STEPS) else str(step)
        label = {_READY: "ready", _PID: "pid", _LISTENER: "listener"}.get(kind, "failed")
        reports.append(Report(label, name, number, detail))
    return reports
