"""pid 1 of ``--init``: starts the program as a child, passes signals on, reaps orphans, ends as the program ended.

It has the container's rights, no descriptors but 0 to 2, and imports nothing: it lives inside the container's root.
"""

import os
import signal
from typing import Final, NoReturn

# Signals that are about a process itself; the others are meant for the program.
_OWN: Final = frozenset(
    {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGCHLD,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
        signal.SIGTTIN,
        signal.SIGTTOU,
    }
)


def forwarded() -> set[signal.Signals]:
    """The signals that go to the program."""
    return {number for number in signal.valid_signals() if number not in _OWN}


def reap(child: int, forward: set[signal.Signals]) -> NoReturn:
    """Run as pid 1 until ``child`` ends. ``forward`` are blocked already, and so is SIGCHLD."""
    waited = forward | {signal.SIGCHLD}
    while True:
        number = signal.sigwait(waited)
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        code = _collect(child)
        if code is not None:
            os._exit(code)


def _collect(child: int) -> int | None:
    """Reap all that ended; the exit code of ``child`` if it is among them."""
    code: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended
