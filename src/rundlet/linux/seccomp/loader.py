"""Load a compiled filter. Kept small: this is the part that runs in a container's first process."""

import ctypes
import errno
import struct
from typing import Final

from rundlet.linux import libc

MAGIC: Final = b"RSC1"
HEADER: Final = "<4sI"  # the magic and the SECCOMP_FILTER_FLAG_* to load with; eight bytes, like an instruction
FLAG_TSYNC: Final = 1 << 0
FLAG_LOG: Final = 1 << 1
FLAG_SPEC_ALLOW: Final = 1 << 2
FLAG_NEW_LISTENER: Final = 1 << 3
FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5

_SET_MODE_FILTER: Final = 1
_INSTRUCTION: Final = 8


def load(program: bytes) -> int:
    """Put the calling thread, and all it will ever start, under the compiled filter ``program``.

    Needs no-new-privileges or CAP_SYS_ADMIN. The filter decides from the next system call on. Returns what notified
    calls are answered by: a descriptor (close-on-exec), 0 for a program that notifies nobody.

    Raises: OSError; EINVAL also for bytes that the compiler did not make.
    """
    size = struct.calcsize(HEADER)
    if len(program) <= size or len(program) % _INSTRUCTION:
        raise libc.error(errno.EINVAL, "seccomp")
    magic, flags = struct.unpack_from(HEADER, program)
    if magic != MAGIC:
        raise libc.error(errno.EINVAL, "seccomp")
    instructions = ctypes.create_string_buffer(program[size:], len(program) - size)
    # struct sock_fprog: the number of instructions, padding, their address
    filter_program = struct.pack("@HP", len(instructions) // _INSTRUCTION, ctypes.addressof(instructions))
    return libc.call("seccomp", _SET_MODE_FILTER, flags, filter_program, path="seccomp")
