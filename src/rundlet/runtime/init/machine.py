"""Machine code for two architectures from one small program, as a static ELF file.

Just enough of an assembler for pid 1 of ``--init``: system calls, comparisons of the last result, jumps. A program is
written once, in calls of :class:`Assembler`; the encodings are the two subclasses'.
See: elf(5); Intel SDM vol. 2; Arm ARM.
"""

import struct
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

_BASE: Final = 0x400000
_ALIGNMENT: Final = 0x10000  # the largest page of any kernel
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_IDENTITY: Final = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
_PT_LOAD: Final = 1
_PT_GNU_STACK: Final = 0x6474E551
_READ, _WRITE, _EXECUTE = 4, 2, 1


class At(NamedTuple):
    """The address of a label, as an argument."""

    label: str


class Result(NamedTuple):
    """What the last call gave, as an argument."""


class Stack(NamedTuple):
    """The address of a word of scratch memory, as an argument."""


Argument = int | At | Result | Stack


class Assembler:
    """Code and data with labels. Comparisons are about the result of the last call, as a signed 32-bit number."""

    number = 0  # e_machine
    calls: ClassVar[dict[str, int]]

    def __init__(self) -> None:
        self._code = bytearray()
        self._labels: dict[str, int] = {}
        self._open: list[tuple[int, str, Callable[[int], bytes]]] = []

    def label(self, name: str) -> None:
        """Here."""
        self._labels[name] = len(self._code)

    def data(self, name: str, content: bytes) -> None:
        """Read-only bytes, at a multiple of eight."""
        self._code += bytes(-len(self._code) % 8)
        self.label(name)
        self._code += content

    def call(self, name: str, *arguments: Argument) -> None:
        """A system call. From the last argument to the first: the first one's register may hold the result."""
        for position, argument in reversed(list(enumerate(arguments))):
            self._load(position, argument)
        self._trap(self.calls[name])

    def image(self) -> bytes:
        """The ELF file; it begins at the beginning. Raises: KeyError for a label that is nowhere."""
        code = bytearray(self._code)
        for place, label, encode in self._open:
            encoded = encode(self._labels[label] - place)
            code[place : place + len(encoded)] = encoded
        begin = _HEADER.size + 2 * _SEGMENT.size
        size = begin + len(code)
        header = _HEADER.pack(
            _IDENTITY, 2, self.number, 1, _BASE + begin, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, 2, 0, 0, 0
        )
        load = _SEGMENT.pack(_PT_LOAD, _READ | _EXECUTE, 0, _BASE, _BASE, size, size, _ALIGNMENT)
        stack = _SEGMENT.pack(_PT_GNU_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
        return header + load + stack + bytes(code)

    def _later(self, label: str, encode: Callable[[int], bytes]) -> None:
        """Bytes that depend on how far ``label`` is from here."""
        self._open.append((len(self._code), label, encode))
        self._code += encode(0)

    # What an architecture must say:

    def reserve(self) -> None:
        """Make the scratch word."""
        raise NotImplementedError

    def jump(self, label: str) -> None:
        raise NotImplementedError

    def jump_if(self, condition: str, value: int, label: str) -> None:
        """``condition`` is one of ``< <= == !=``, between the result and ``value``."""
        raise NotImplementedError

    def jump_if_any(self, bits: int, label: str) -> None:
        """If the result has any of these bits."""
        raise NotImplementedError

    def load(self) -> None:
        """The scratch word becomes the result."""
        raise NotImplementedError

    def shift_right(self, count: int) -> None:
        raise NotImplementedError

    def mask(self, bits: int) -> None:
        raise NotImplementedError

    def add(self, value: int) -> None:
        raise NotImplementedError

    def _load(self, position: int, argument: Argument) -> None:
        raise NotImplementedError

    def _trap(self, number: int) -> None:
        raise NotImplementedError


class X86(Assembler):
    """x86_64: arguments in rdi, rsi, rdx, r10; number and result in rax."""

    number = 62
    calls: ClassVar[dict[str, int]] = {"prctl": 157, "rt_sigtimedwait": 128, "kill": 62, "wait4": 61, "exit_group": 231}
    _IMMEDIATE: Final = (b"\xbf", b"\xbe", b"\xba", b"\x41\xba")
    _ADDRESS: Final = (b"\x48\x8d\x3d", b"\x48\x8d\x35", b"\x48\x8d\x15", b"\x4c\x8d\x15")
    _FROM_RESULT: Final = (b"\x89\xc7", b"\x89\xc6", b"\x89\xc2", b"\x41\x89\xc2")
    _FROM_STACK: Final = (b"\x48\x89\xe7", b"\x48\x89\xe6", b"\x48\x89\xe2", b"\x49\x89\xe2")
    _CONDITIONS: Final = {"<": b"\x0f\x8c", "<=": b"\x0f\x8e", "==": b"\x0f\x84", "!=": b"\x0f\x85"}

    def reserve(self) -> None:
        self._code += b"\x48\x83\xec\x10"

    def jump(self, label: str) -> None:
        self._relative(b"\xe9", label)

    def jump_if(self, condition: str, value: int, label: str) -> None:
        self._code += b"\x3d" + _word(value)
        self._relative(self._CONDITIONS[condition], label)

    def jump_if_any(self, bits: int, label: str) -> None:
        self._code += b"\xa9" + _word(bits)
        self._relative(self._CONDITIONS["!="], label)

    def load(self) -> None:
        self._code += b"\x8b\x04\x24"

    def shift_right(self, count: int) -> None:
        self._code += b"\xc1\xe8" + bytes((count,))

    def mask(self, bits: int) -> None:
        self._code += b"\x25" + _word(bits)

    def add(self, value: int) -> None:
        self._code += b"\x05" + _word(value)

    def _load(self, position: int, argument: Argument) -> None:
        if isinstance(argument, At):
            self._relative(self._ADDRESS[position], argument.label)
        elif isinstance(argument, Result):
            self._code += self._FROM_RESULT[position]
        elif isinstance(argument, Stack):
            self._code += self._FROM_STACK[position]
        else:
            self._code += self._IMMEDIATE[position] + _word(argument)

    def _trap(self, number: int) -> None:
        self._code += b"\xb8" + _word(number) + b"\x0f\x05"

    def _relative(self, operation: bytes, label: str) -> None:
        """The distance counts from the next instruction."""
        length = len(operation) + 4
        self._later(label, lambda distance: operation + _word(distance - length))


class Arm(Assembler):
    """aarch64: arguments in x0 to x3, the number in x8, the result in x0; w9 for constants."""

    number = 183
    calls: ClassVar[dict[str, int]] = {
        "prctl": 167,
        "rt_sigtimedwait": 137,
        "kill": 129,
        "wait4": 260,
        "exit_group": 94,
    }
    _CONDITIONS: Final = {"==": 0, "!=": 1, "<": 11, "<=": 13}

    def reserve(self) -> None:
        self._emit(0xD10043FF)  # sub sp, sp, #16

    def jump(self, label: str) -> None:
        self._later(label, lambda distance: _word(0x14000000 | (distance >> 2 & 0x3FFFFFF)))

    def jump_if(self, condition: str, value: int, label: str) -> None:
        self._constant(9, value)
        self._emit(0x6B09001F)  # cmp w0, w9
        self._branch(self._CONDITIONS[condition], label)

    def jump_if_any(self, bits: int, label: str) -> None:
        self._constant(9, bits)
        self._emit(0x6A09001F)  # tst w0, w9
        self._branch(self._CONDITIONS["!="], label)

    def load(self) -> None:
        self._emit(0xB94003E0)  # ldr w0, [sp]

    def shift_right(self, count: int) -> None:
        self._emit(0x53007C00 | count << 16)  # lsr w0, w0, #count

    def mask(self, bits: int) -> None:
        self._constant(9, bits)
        self._emit(0x0A090000)  # and w0, w0, w9

    def add(self, value: int) -> None:
        self._emit(0x11000000 | value << 10)  # add w0, w0, #value

    def _load(self, position: int, argument: Argument) -> None:
        if isinstance(argument, At):
            self._later(argument.label, lambda distance: _word(_adr(position, distance)))
        elif isinstance(argument, Result):
            self._emit(0x2A0003E0 | position)  # mov wN, w0
        elif isinstance(argument, Stack):
            self._emit(0x910003E0 | position)  # mov xN, sp
        else:
            self._constant(position, argument)

    def _trap(self, number: int) -> None:
        self._constant(8, number)
        self._emit(0xD4000001)  # svc #0

    def _constant(self, register: int, value: int) -> None:
        value &= 0xFFFFFFFF
        self._emit(0x52800000 | (value & 0xFFFF) << 5 | register)  # mov wN, #low
        if value >> 16:
            self._emit(0x72A00000 | value >> 16 << 5 | register)  # movk wN, #high, lsl #16

    def _branch(self, condition: int, label: str) -> None:
        self._later(label, lambda distance: _word(0x54000000 | (distance >> 2 & 0x7FFFF) << 5 | condition))

    def _emit(self, instruction: int) -> None:
        self._code += _word(instruction)


def _adr(register: int, distance: int) -> int:
    return 0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5 | register


def _word(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFFFFFF)


MACHINES: Final[dict[str, type[Assembler]]] = {"x86_64": X86, "aarch64": Arm}
