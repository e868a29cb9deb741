"""Watching a forked child from its first step to its end: the handshake pipe, then the pidfd."""

import os
from collections.abc import Callable
from typing import Final

from rundlet.linux import pidfd
from rundlet.runtime.init import report
from rundlet.runtime.init.report import Report
from rundlet.runtime.shim.loop import READ, Loop

_READ: Final = 8192


class Child:
    """One process. ``on_started(failure)`` is called once, with None or what failed; then ``on_ended(code)``.

    ``code`` is the exit code, or negative the signal. A child that reports another process as itself ("pid": an exec's
    grandchild, whose parent the shim is) is from then on that process.
    """

    def __init__(
        self,
        loop: Loop,
        pid: int,
        process_fd: int,
        report_fd: int,
        on_started: "Callable[[bool, Report | None], None]",
        on_ended: Callable[[int], None],
    ) -> None:
        self.pid = pid
        self.pidfd = process_fd
        self._loop = loop
        self._report_fd = report_fd
        self._data = b""
        self._on_started = on_started
        self._on_ended = on_ended
        self._helper = -1
        os.set_blocking(report_fd, False)
        loop.add(report_fd, READ, self._readable)

    def signal(self, number: int) -> None:
        """Raises: ProcessLookupError when it has ended."""
        if self.pidfd < 0:
            raise ProcessLookupError("process already finished")
        pidfd.send_signal(self.pidfd, number)

    def alive(self) -> bool:
        return self.pidfd >= 0

    def _readable(self, _events: int) -> None:
        try:
            data = os.read(self._report_fd, _READ)
        except BlockingIOError:
            return
        self._data += data
        if data:
            self._follow()
            return
        self._loop.remove(self._report_fd)
        os.close(self._report_fd)
        self._follow()
        reports = report.parse(self._data)
        failed = next((item for item in reports if item.kind == "failed"), None)
        ready = any(item.kind == "ready" for item in reports)
        self._loop.add(self.pidfd, READ, self._ended)
        self._on_started(ready and failed is None, failed)

    def _follow(self) -> None:
        """Switch to the process that was reported, and reap the one that made it."""
        if self._helper >= 0:
            return
        for item in report.parse(self._data):
            if item.kind == "pid":
                self._helper = self.pid
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                os.close(self.pidfd)
                self.pid = item.errno
                self.pidfd = pidfd.open(self.pid)
                return

    def _ended(self, _events: int) -> None:
        self._loop.remove(self.pidfd)
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        self.pidfd = -1
        assert found is not None
        self._on_ended(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
