"""The bpf(2) calls that cgroup device policies need: load a program, attach it to a cgroup, find and replace it."""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from typing import Final

from rundlet.linux import libc

PROG_TYPE_CGROUP_DEVICE: Final = 15
ATTACH_CGROUP_DEVICE: Final = 6

_PROG_LOAD: Final = 5
_PROG_ATTACH: Final = 8
_PROG_DETACH: Final = 9
_PROG_GET_FD_BY_ID: Final = 13
_PROG_QUERY: Final = 16
_ALLOW_MULTI: Final = 2
_MAX_ATTACHED: Final = 64
_LICENSE: Final = b"Apache-2.0\0"


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """One struct bpf_insn. ``immediate`` may be given unsigned."""
    return struct.pack("<BBhI", code, target | source << 4, offset, immediate & 0xFFFF_FFFF)


def load(program_type: int, instructions: bytes, name: str) -> int:
    """Load a program and return a descriptor of it; ``name`` (15 bytes) is what bpftool shows.

    Raises: PermissionError without CAP_BPF or CAP_SYS_ADMIN; OSError(EINVAL) when the kernel's verifier refuses it.
    """
    code, licence = ctypes.create_string_buffer(instructions, len(instructions)), ctypes.create_string_buffer(_LICENSE)
    # type, count, code, licence, log level, log size, log, kernel version, flags, name
    attributes = struct.pack(
        "=IIQQIIQII16s",
        program_type,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
        name.encode()[:15],
    )
    return libc.call("bpf", _PROG_LOAD, attributes, len(attributes), path="bpf")


def attach(cgroup_fd: int, program_fd: int, attach_type: int) -> None:
    """Attach a program to a cgroup, beside those that it or its parents have: all must agree."""
    _attach(_PROG_ATTACH, cgroup_fd, program_fd, attach_type, _ALLOW_MULTI)


def detach(cgroup_fd: int, program_fd: int, attach_type: int) -> None:
    _attach(_PROG_DETACH, cgroup_fd, program_fd, attach_type, 0)


def attached(cgroup_fd: int, attach_type: int) -> list[int]:
    """The identifiers of the programs attached to this cgroup itself."""
    identifiers = ctypes.create_string_buffer(4 * _MAX_ATTACHED)
    # target, attach type, query flags, attach flags (out), identifiers, their number (in and out), padding
    attributes = ctypes.create_string_buffer(
        struct.pack("=IIIIQII", cgroup_fd, attach_type, 0, 0, ctypes.addressof(identifiers), _MAX_ATTACHED, 0), 32
    )
    libc.call("bpf", _PROG_QUERY, attributes, len(attributes), path="bpf")
    count: int = struct.unpack_from("=I", attributes.raw, 24)[0]
    return list(struct.unpack_from(f"={count}I", identifiers.raw))


def detach_all(cgroup_fd: int, attach_type: int, identifiers: Sequence[int]) -> None:
    """Detach the programs with these identifiers; one that is gone already is no error."""
    for identifier in identifiers:
        attributes = struct.pack("=III", identifier, 0, 0)
        try:
            program = libc.call("bpf", _PROG_GET_FD_BY_ID, attributes, len(attributes), path="bpf")
        except FileNotFoundError:
            continue
        try:
            detach(cgroup_fd, program, attach_type)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
        finally:
            os.close(program)


def _attach(command: int, cgroup_fd: int, program_fd: int, attach_type: int, flags: int) -> None:
    attributes = struct.pack("=IIIII", cgroup_fd, program_fd, attach_type, flags, 0)
    libc.call("bpf", command, attributes, len(attributes), path="bpf")
