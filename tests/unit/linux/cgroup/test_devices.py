"""Device policies, and the v2 program against a plain reading of the rules by a small interpreter of eBPF."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.linux.cgroup.devices import Exception_, policy, program, v1_changes, v1_lines

DENY_ALL = {"allow": False, "access": "rwm"}
NULL = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
PTS = {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rw"}
READ, WRITE, MKNOD = 2, 4, 1
BITS = {"r": READ, "w": WRITE, "m": MKNOD}
KINDS = {"b": 1, "c": 2}


def run(code: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """Interpret the few instructions that the compiler uses."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    instructions = list(struct.iter_unpack("<BBhi", code))
    registers = [0] * 11
    position = 0
    while True:
        operation, pair, offset, immediate = instructions[position]
        target, source = pair & 15, pair >> 4
        position += 1
        if operation == 0x61:
            registers[target] = struct.unpack_from("<I", context, offset)[0]
        elif operation == 0xBF:
            registers[target] = registers[source]
        elif operation == 0xB7:
            registers[target] = immediate
        elif operation == 0x57:
            registers[target] &= immediate
        elif operation == 0x77:
            registers[target] >>= immediate
        elif operation == 0x55:
            position += offset if registers[target] != immediate else 0
        elif operation == 0x15:
            position += offset if registers[target] == immediate else 0
        elif operation == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"unknown instruction {operation:#x}")


def test_docker_rules() -> None:
    found = policy([DENY_ALL, NULL, PTS])
    assert not found.default_allow
    assert found.exceptions == (Exception_("c", 1, 3, 7), Exception_("c", 136, None, 6))
    assert v1_lines(found) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rwm"),
        ("devices.allow", "c 136:* rw"),
    ]


def test_privileged() -> None:
    assert policy([DENY_ALL, NULL, {"allow": True, "access": "rwm"}]).allows_everything
    assert policy([]).allows_everything


def test_rules_for_one_device_add_up_and_are_taken_back() -> None:
    read = {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"}
    write = {**read, "access": "w"}
    assert policy([DENY_ALL, read, write]).exceptions == (Exception_("b", 8, 0, READ | WRITE),)
    assert policy([DENY_ALL, read, write, {**read, "allow": False}]).exceptions == (Exception_("b", 8, 0, WRITE),)


def test_a_change_takes_nothing_away_meanwhile() -> None:
    wanted = policy([DENY_ALL, NULL, PTS])
    assert v1_changes(wanted, ["c 1:3 rwm\n", "c 1:5 rwm\n"]) == [
        ("devices.allow", "c 136:* rw"),
        ("devices.deny", "c 1:5 rwm"),
    ]
    assert v1_changes(wanted, ["a *:* rwm"]) == v1_lines(wanted)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid device type"):
        policy([{"allow": True, "type": "z", "access": "r"}])
    with pytest.raises(ValueError, match="invalid device access"):
        policy([{"allow": True, "type": "c", "access": "rx"}])


RULES = st.lists(
    st.fixed_dictionaries(
        {
            "allow": st.booleans(),
            "type": st.sampled_from(["a", "b", "c", "c", "b"]),
            "major": st.sampled_from([-1, None, 1, 8]),
            "minor": st.sampled_from([-1, None, 0, 3]),
            "access": st.sampled_from(["r", "w", "m", "rw", "rwm"]),
        }
    ),
    max_size=6,
)


@given(
    rules=RULES,
    kind=st.sampled_from(["b", "c"]),
    access=st.integers(1, 7),
    major=st.sampled_from([1, 8, 9]),
    minor=st.sampled_from([0, 3, 4]),
)
def test_the_program_says_what_the_policy_says(
    rules: list[dict[str, Any]], kind: str, access: int, major: int, minor: int
) -> None:
    wanted = policy(rules)
    mine = [
        item
        for item in wanted.exceptions
        if item.kind == kind and item.major in (None, major) and item.minor in (None, minor)
    ]
    if wanted.default_allow:
        allowed = not any(item.access & access for item in mine)
    else:
        allowed = any(item.access & access == access for item in mine)
    assert run(program(wanted), KINDS[kind], access, major, minor) == allowed
