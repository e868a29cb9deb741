"""A tiny assembler of classic BPF, as seccomp uses it: decision trees over numbers, and tests of arguments.

Code is a list of instructions that every path leaves by a RET; blocks are put one behind the other, so all jumps are
forward and relative. See: linux/filter.h, linux/seccomp.h.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from rundlet.linux.seccomp.model import Condition

MAX_LENGTH: Final = 4096  # BPF_MAXINSNS

LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP: Final = 0x05  # BPF_JMP | BPF_JA
EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
GREATER: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K

NUMBER: Final = 0  # offsets in struct seccomp_data
ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16
_FAR: Final = 255  # the longest conditional jump
_LOW: Final = 0xFFFF_FFFF


class Instruction(NamedTuple):
    """struct sock_filter: operation, distances to jump when true and when false, operand."""

    code: int
    jt: int
    jf: int
    k: int


Code: TypeAlias = list[Instruction]


class Interval(NamedTuple):
    """The code for all numbers from ``first`` up to the next interval's."""

    first: int
    code: Code


def encode(code: Code) -> bytes:
    """The bytes of an array of struct sock_filter, little-endian as both our architectures are.

    Raises: ValueError when it is longer than the kernel takes.
    """
    if len(code) > MAX_LENGTH:
        raise ValueError(f"a filter of {len(code)} instructions is longer than the kernel takes ({MAX_LENGTH})")
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def answer(action: int) -> Code:
    return [Instruction(RETURN, 0, 0, action)]


def load(offset: int) -> Instruction:
    return Instruction(LOAD, 0, 0, offset)


def branch(code: int, operand: int, if_true: Code, if_false: Code) -> Code:
    """Go on with one of two blocks; the test costs one instruction, a second one where the first block is long."""
    if len(if_true) <= _FAR:
        return [Instruction(code, 0, len(if_true), operand), *if_true, *if_false]
    return [Instruction(code, 1, 0, operand), Instruction(JUMP, 0, 0, len(if_true)), *if_true, *if_false]


def tree(intervals: Sequence[Interval]) -> Code:
    """A binary search for the number in the accumulator; ``intervals`` are sorted and the first begins at 0."""
    if len(intervals) == 1:
        return intervals[0].code
    middle = len(intervals) // 2
    return _branch_below(intervals[middle].first, tree(intervals[:middle]), tree(intervals[middle:]))


def _branch_below(operand: int, below: Code, others: Code) -> Code:
    if len(below) <= _FAR:
        return [Instruction(AT_LEAST, len(below), 0, operand), *below, *others]
    return [Instruction(AT_LEAST, 0, 1, operand), Instruction(JUMP, 0, 0, len(below)), *below, *others]


def tests(conditions: Sequence[tuple[Condition, bool]], code: Code, otherwise: Code) -> Code:
    """``code`` if all conditions hold, else ``otherwise``; with each goes whether all 64 bits of the argument count."""
    block = list(code)
    for condition, wide in reversed(conditions):
        block = [*_test(condition, wide, len(block)), *block]
    return [*block, *otherwise]


def _test(condition: Condition, wide: bool, skip: int) -> Code:
    """Code that goes on behind itself if the condition holds, else jumps ``skip`` further."""
    low_word, high_word = load(_ARGUMENTS + 8 * condition.argument), load(_ARGUMENTS + 8 * condition.argument + 4)
    low, high = condition.value & _LOW, condition.value >> 32
    operator = condition.operator
    if operator == "SCMP_CMP_MASKED_EQ":
        wanted, wanted_high = condition.value_two & _LOW, condition.value_two >> 32
        test = [low_word, Instruction(AND, 0, 0, low), Instruction(EQUAL, 0, skip, wanted)]
        if not wide or not (high or wanted_high):
            return test
        skip_all = skip + len(test)
        return [high_word, Instruction(AND, 0, 0, high), Instruction(EQUAL, 0, skip_all, wanted_high), *test]
    last = {
        "SCMP_CMP_EQ": Instruction(EQUAL, 0, skip, low),
        "SCMP_CMP_NE": Instruction(EQUAL, skip, 0, low),
        "SCMP_CMP_GT": Instruction(GREATER, 0, skip, low),
        "SCMP_CMP_GE": Instruction(AT_LEAST, 0, skip, low),
        "SCMP_CMP_LT": Instruction(AT_LEAST, skip, 0, low),
        "SCMP_CMP_LE": Instruction(GREATER, skip, 0, low),
    }[operator]
    if not wide:
        return [low_word, last]
    # The high words decide unless they are equal; behind a test of them follow the two instructions for the low words.
    if operator == "SCMP_CMP_EQ":
        return [high_word, Instruction(EQUAL, 0, skip + 2, high), low_word, last]
    if operator == "SCMP_CMP_NE":
        return [high_word, Instruction(EQUAL, 0, 2, high), low_word, last]
    greater, less = (3, skip + 2) if operator in ("SCMP_CMP_GT", "SCMP_CMP_GE") else (skip + 3, 2)
    return [
        high_word,
        Instruction(GREATER, greater, 0, high),
        Instruction(EQUAL, 0, less, high),
        low_word,
        last,
    ]
