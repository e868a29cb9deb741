"""pid 1 of ``--init``: passes signals on to the program, reaps orphans, ends as the program ended.

It is a static program of a few hundred bytes of machine code, made here and executed from a sealed memory file: what
stays in the container has two pages of memory, no interpreter, and nothing of the host's. It finds everything prepared:
the program is its child already, and the signals that it waits for are blocked. As tini(1) does it.
"""

import os
import signal
from typing import Final

from rundlet.linux import libc
from rundlet.runtime.init.machine import MACHINES, At, Result, Stack

NAME: Final = "rundlet-init"
_PR_SET_NAME: Final = 15
_WNOHANG: Final = 1
_SET_SIZE: Final = 8  # bytes of the kernel's signal set
_MFD_EXEC: Final = 0x10  # kernels from 6.3 want to be told that a memory file is to be executed
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


def build(machine: str, child: int) -> bytes:
    """The ELF file for ``machine`` (as uname has it) and the program's process number. Raises: KeyError."""
    code = MACHINES[machine]()
    code.reserve()
    code.call("prctl", _PR_SET_NAME, At("name"))
    code.label("wait")
    code.call("rt_sigtimedwait", At("signals"), 0, 0, _SET_SIZE)
    code.jump_if("<", 0, "wait")
    code.jump_if("==", signal.SIGCHLD, "reap")
    code.call("kill", child, Result())
    code.jump("wait")
    code.label("reap")
    code.call("wait4", -1, Stack(), _WNOHANG, 0)
    code.jump_if("<=", 0, "wait")
    code.jump_if("!=", child, "reap")
    code.load()
    code.jump_if_any(0x7F, "killed")
    code.shift_right(8)
    code.mask(0xFF)
    code.jump("exit")
    code.label("killed")
    code.mask(0x7F)
    code.add(128)
    code.label("exit")
    code.call("exit_group", Result())
    waited = sum(1 << number - 1 for number in (*forwarded(), signal.SIGCHLD))
    code.data("signals", waited.to_bytes(_SET_SIZE, "little"))
    code.data("name", NAME.encode() + b"\0")
    return code.image()


def open_memory() -> int:
    """An empty memory file that may be executed. Raises: OSError."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(NAME, flags | _MFD_EXEC)
    except OSError:
        return os.memfd_create(NAME, flags)


def become(memory: int, child: int, arguments: list[str]) -> None:
    """Write the program to ``memory``, seal it, and be it. Raises: OSError; it does not return otherwise."""
    os.write(memory, build(libc.MACHINE, child))
    libc.memfd_seal(memory)
    argv = [NAME, "--", *arguments]
    try:
        libc.execveat(memory, argv, {})
    except PermissionError:
        os.execve(f"/proc/self/fd/{memory}", argv, {})  # a filter may know the older call only
