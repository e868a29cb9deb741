"""Watching a forked child from its first step to its end: the handshake pipe, then the pidfd."""

import os
import signal
from collections.abc import Callable
from typing import Final

from rundlet.linux import pidfd
from rundlet.linux.loop import READ, Loop
from rundlet.runtime.init import report
from rundlet.runtime.init.report import Report

_READ: Final = 8192


class Child:
    """One process. ``on_started(failure)`` is called once, with None or what failed; then ``on_ended(code)``.

    ``code`` is the exit code, or negative the signal. A child that reports another process as itself ("pid": an exec's
    grandchild, whose parent the shim is) is from then on that process; the child itself is reaped whenever it ends: it
    is in the container's group, and may be frozen with it.

    ``on_broken`` gets what nobody thought of, and has to :meth:`abandon` it; without it, the loop's caller does.
    """

    def __init__(
        self,
        loop: Loop,
        pid: int,
        process_fd: int,
        report_fd: int,
        on_started: "Callable[[bool, Report | None], None]",
        on_ended: Callable[[int], None],
        on_broken: Callable[[Exception], None] | None = None,
    ) -> None:
        self.pid = pid
        self.pidfd = process_fd
        self._loop = loop
        self._report_fd = report_fd
        self._data = b""
        self._on_started = on_started
        self._on_ended = on_ended
        self._on_broken = on_broken
        self._helper = -1  # the pidfd of the process that made it, until that has ended
        self._followed = False
        os.set_blocking(report_fd, False)
        loop.add(report_fd, READ, self._readable)

    def signal(self, number: int) -> None:
        """Raises: ProcessLookupError when it has ended."""
        if self.pidfd < 0:
            raise ProcessLookupError("process already finished")
        pidfd.send_signal(self.pidfd, number)

    def alive(self) -> bool:
        return self.pidfd >= 0

    def look(self) -> None:
        """Handle its end now, if it has ended, rather than when the loop comes to it."""
        if self.pidfd >= 0 and self._report_fd < 0 and pidfd.wait(self.pidfd, 0):
            self._exited(READ)

    def abandon(self) -> None:
        """Kill it, and hear nothing more of it. Never raises."""
        for fd in (self.pidfd, self._helper):
            if fd >= 0:
                try:
                    pidfd.send_signal(fd, signal.SIGKILL)
                except OSError:
                    pass  # it has ended
        for fd in (self.pidfd, self._helper, self._report_fd):
            if fd >= 0:
                self._loop.remove(fd)
                os.close(fd)
        self.pidfd = self._helper = self._report_fd = -1

    def _readable(self, _events: int) -> None:
        self._guarded(self._read_report)

    def _exited(self, _events: int) -> None:
        self._guarded(self._ended)

    def _guarded(self, step: Callable[[], None]) -> None:
        if self._on_broken is None:
            step()
            return
        try:
            step()
        except Exception as exc:
            self._on_broken(exc)

    def _read_report(self) -> None:
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
        self._report_fd = -1
        reports = report.parse(self._data)
        failed = next((item for item in reports if item.kind == "failed"), None)
        ready = self._followed and any(item.kind == "ready" for item in reports)
        self._loop.add(self.pidfd, READ, self._exited)
        self._on_started(ready and failed is None, failed)

    def _follow(self) -> None:
        """Switch to the process that was reported; the one that made it is on its way to its end."""
        if self._followed:
            return
        for item in report.parse(self._data):
            if item.kind == "pid":
                process = pidfd.open(item.errno)
                self._followed = True
                self._helper, self.pidfd, self.pid = self.pidfd, process, item.errno
                self._loop.add(self._helper, READ, self._helped)
                return

    def _helped(self, _events: int) -> None:
        self._loop.remove(self._helper)
        os.waitid(os.P_PIDFD, self._helper, os.WEXITED)
        os.close(self._helper)
        self._helper = -1

    def _ended(self) -> None:
        self._loop.remove(self.pidfd)
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        self.pidfd = -1
        assert found is not None
        self._on_ended(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
