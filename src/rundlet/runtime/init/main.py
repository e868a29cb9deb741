"""Init's main: execute the plan, then the program. Runs in the child of the shim's clone3 and never returns."""

import fcntl
import os
import signal
from collections.abc import Iterable
from typing import Final, NamedTuple, NoReturn, Protocol

from rundlet.linux import libc
from rundlet.runtime.init import program, reaper
from rundlet.runtime.init.report import Reporter
from rundlet.runtime.init.steps import Context, Step

_LOWEST: Final = 10  # descriptors are moved out of the way of 0 to 2


class Gate(Protocol):
    """What an OCI runtime's ``create`` leaves a container at, until ``start``."""

    @property
    def step(self) -> str: ...

    def hold(self, context: Context) -> None:
        """Returns when the program is to be executed. Raises: OSError when it is not."""
        ...


class Program(NamedTuple):
    """What is executed in the end. ``reaped``: as a child of our own pid 1. ``gate``: what it waits at before."""

    args: list[str]
    env: dict[bytes, bytes]
    reaped: bool = False
    gate: Gate | None = None


class Wiring(NamedTuple):
    """The descriptors that a child of the shim starts with; -1: none. ``keep`` are those that steps use."""

    report: int
    stdin: int
    stdout: int
    stderr: int
    master_to: int
    keep: tuple[int, ...]


def run(plan: Iterable[Step], what: Program, wiring: Wiring) -> NoReturn:
    """Execute every step, then the program. Ends the process in every case."""
    reporter = Reporter(wiring.report)
    step = "internal"
    try:
        signal.set_wakeup_fd(-1)
        stdio = [_high(fd) for fd in (wiring.stdin, wiring.stdout, wiring.stderr)]
        close_others({wiring.report, wiring.master_to, *stdio, *wiring.keep, 0, 1, 2} - {-1})
        memory = reaper.open_memory() if what.reaped else -1  # before a filter that may forbid it
        context = Context(reporter, stdio[0], stdio[1], stdio[2], wiring.master_to)
        for item in plan:
            step = item.step
            item.execute(context)
        step = "lookup"
        path = program.find(what.args[0], os.fsdecode(what.env.get(b"PATH", b"")))
        step = "stdio"
        program.install_stdio(context)
        if what.gate is not None:
            step = what.gate.step
            what.gate.hold(context)
        step = "exec"
        _execute(path, what, reporter, memory)
    except BaseException as exc:
        reporter.exception(step, exc)
    finally:
        os._exit(127)


def _execute(path: str, what: Program, reporter: Reporter, memory: int) -> NoReturn:
    if what.reaped:
        _supervise(path, what, reporter, memory)
    program.reset_signals()
    reporter.ready()
    os.execve(path, what.args, what.env)


def _supervise(path: str, what: Program, reporter: Reporter, memory: int) -> NoReturn:
    """The program as a child; this process becomes the reaper."""
    forward = reaper.forwarded()
    signal.pthread_sigmask(signal.SIG_SETMASK, forward | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        # A group of its own, in the foreground of a terminal if there is one, as tini does with -g.
        os.setpgid(0, 0)
        if os.isatty(0):
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        program.reset_signals()
        reporter.ready()
        os.execve(path, what.args, what.env)
    reaper.become(memory, child, what.args)
    raise AssertionError("execve returned")


def _high(fd: int) -> int:
    """A copy of ``fd`` that no dup2 onto 0, 1 or 2 can hit."""
    return -1 if fd < 0 else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST)


def close_others(keep: set[int]) -> None:
    """Close every descriptor that is not in ``keep``: what is the host's has no business in a container."""
    start = 0
    for fd in sorted(keep):
        if fd > start:
            libc.close_range(start, fd - 1)
        start = fd + 1
    libc.close_range(start)
