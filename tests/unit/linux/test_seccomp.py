"""The compiler against Docker's published profile and against a plain reading of the rules.

Programs are run by a small interpreter of classic BPF, so every architecture can be tested on any.
"""

import errno
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rundlet.errors import NotSupportedError
from rundlet.linux import caps
from rundlet.linux.seccomp import bpf, compiler, model
from rundlet.linux.seccomp.loader import FLAG_LOG, FLAG_SPEC_ALLOW, HEADER, MAGIC
from rundlet.linux.seccomp.profile import default_profile
from rundlet.linux.seccomp.syscalls import AUDIT_ARCHITECTURES, numbers

# The published profile, where a checkout of reference data lies beside the project's.
REFERENCE = next(Path(__file__).resolve().parents[4].glob("*/reference/docker-seccomp-default.json"), None)
KERNEL = (6, 1)
HEADER_SIZE = struct.calcsize(HEADER)
EPERM = model.ERRNO | errno.EPERM
ENOSYS = model.ERRNO | errno.ENOSYS
DOCKER = frozenset(caps.DEFAULT)
NOTIFYING = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
}


def run(program: bytes, machine: str, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel's interpreter would answer, and a check that it would have taken the program."""
    words = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, AUDIT_ARCHITECTURES[machine], 0, *words)
    code = list(struct.iter_unpack("<HBBI", program[HEADER_SIZE:]))
    assert 0 < len(code) <= bpf.MAX_LENGTH
    accumulator, position = 0, 0
    while True:
        operation, jt, jf, k = code[position]
        position += 1
        if operation == bpf.LOAD:
            accumulator = struct.unpack_from("<I", data, k)[0]
        elif operation == bpf.AND:
            accumulator &= k
        elif operation == bpf.JUMP:
            position += k
        elif operation == bpf.RETURN:
            return int(k)
        else:
            taken = {
                bpf.EQUAL: accumulator == k,
                bpf.GREATER: accumulator > k,
                bpf.AT_LEAST: accumulator >= k,
            }[operation]
            position += jt if taken else jf


def read(profile: Mapping[str, Any], machine: str, host: str, held: frozenset[str], name: str, argument: int) -> int:
    """The answer of the profile itself to a call with one interesting (first) argument, read rule by rule."""
    tests = {
        "SCMP_CMP_NE": lambda value, _: argument != value,
        "SCMP_CMP_LT": lambda value, _: argument < value,
        "SCMP_CMP_LE": lambda value, _: argument <= value,
        "SCMP_CMP_EQ": lambda value, _: argument == value,
        "SCMP_CMP_GE": lambda value, _: argument >= value,
        "SCMP_CMP_GT": lambda value, _: argument > value,
        "SCMP_CMP_MASKED_EQ": lambda value, two: argument & value == two,
    }
    go = {"x86_64": "amd64", "aarch64": "arm64"}[host]
    conditional: int | None = None
    for rule in profile["syscalls"]:
        if name not in rule["names"]:
            continue
        includes, excludes = rule.get("includes", {}), rule.get("excludes", {})
        if any(cap not in held for cap in includes.get("caps", ())) or any(c in held for c in excludes.get("caps", ())):
            continue
        if (includes.get("arches") and go not in includes["arches"]) or go in excludes.get("arches", ()):
            continue
        action = model.ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else model.ERRNO | rule.get("errnoRet", 1)
        arguments = rule.get("args") or []
        if not arguments:
            return action
        matches = all(
            item["index"] == 0 and tests[item["op"]](item["value"], item.get("valueTwo", 0)) for item in arguments
        )
        if matches and conditional is None:
            conditional = action
    return EPERM if conditional is None else conditional


def held_sets() -> Iterator[frozenset[str]]:
    yield frozenset()
    yield DOCKER
    yield frozenset(caps.CAPABILITIES)
    for name in caps.CAPABILITIES:
        yield frozenset({name})


ARGUMENTS = (0, 1, 2, 8, 16, 17, 37, 38, 39, 40, 41, 45, 0x20000, 0x20008, 0x3D0F00, 0x10000000, 0x7E020011, 0xFFFFFFFF)


@pytest.mark.skipif(REFERENCE is None, reason="the published profile is not on this machine")
@pytest.mark.parametrize(
    ("host", "machine"), [("x86_64", "x86_64"), ("x86_64", "i386"), ("aarch64", "aarch64"), ("aarch64", "arm")]
)
def test_answers_every_call_as_dockers_profile_says(host: str, machine: str) -> None:
    assert REFERENCE is not None
    reference = json.loads(REFERENCE.read_text())
    table = numbers(machine)
    for held in held_sets():
        program = compiler.compile_profile(held, arch=host, kernel=KERNEL)
        newest = max(
            table[name]
            for rule in reference["syscalls"]
            for name in rule["names"]
            if name in table and table[name] < 0xF0000
        )
        names: dict[int, list[str]] = {}
        for name, number in table.items():
            names.setdefault(number, []).append(name)
        for number, aliases in names.items():
            interesting = {"socket", "personality", "clone"} & set(aliases)
            for argument in ARGUMENTS if interesting else (0,):
                answers = {read(reference, machine, host, held, name, argument) for name in aliases}
                wanted = next((answer for answer in answers if answer != EPERM), EPERM)
                if newest < number and wanted == EPERM:
                    wanted = ENOSYS
                assert run(program, machine, number, (argument,)) == wanted, (held, aliases, argument)


@pytest.mark.skipif(REFERENCE is None, reason="the published profile is not on this machine")
def test_our_table_and_dockers_compile_to_the_same_program() -> None:
    assert REFERENCE is not None
    reference = json.loads(REFERENCE.read_text())
    for host in ("x86_64", "aarch64"):
        for held in held_sets():
            ours = compiler.compile_profile(held, arch=host, kernel=KERNEL)
            assert ours == compiler.compile_custom(reference, held, arch=host, kernel=KERNEL)


def test_every_name_in_the_default_profile_exists() -> None:
    known = set().union(*(numbers(machine) for machine in AUDIT_ARCHITECTURES))
    elsewhere = {"riscv_hwprobe", "recv", "send", "epoll_ctl_old", "epoll_wait_old", "fadvise64_64", "lookup_dcookie"}
    for rule in default_profile()["syscalls"]:
        assert set(rule["names"]) - known - elsewhere == set()


def test_the_program_is_short() -> None:
    program = compiler.compile_profile(DOCKER, arch="x86_64", kernel=KERNEL)
    assert len(program) // 8 < 500


def test_the_path_to_an_answer_is_short() -> None:
    """A decision tree: no call costs more than a dozen comparisons, its arguments apart."""
    resolved = model.resolve(default_profile(), DOCKER, "x86_64", KERNEL)
    code = bpf.tree(compiler._intervals(resolved, "x86_64"))

    def depth(position: int) -> int:
        operation, jt, jf, k = code[position]
        if operation == bpf.RETURN:
            return 0
        if operation == bpf.JUMP:
            return 1 + depth(position + 1 + k)
        if operation in (bpf.LOAD, bpf.AND):
            return 0
        return 1 + max(depth(position + 1 + jt), depth(position + 1 + jf))

    assert depth(0) <= 12


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("read", (), model.ALLOW),
        ("mount", (), EPERM),
        ("keyctl", (), EPERM),
        ("io_uring_setup", (), EPERM),
        ("clone3", (), ENOSYS),
        ("clone", (0x11,), model.ALLOW),
        ("clone", (0x10000000,), EPERM),
        ("socket", (40,), EPERM),
        ("socket", (38,), EPERM),
        ("socket", (2,), model.ALLOW),
        ("socket", (1 << 32 | 40,), EPERM),  # the kernel looks at 32 bits: so must we
        ("personality", (0x40000,), EPERM),
        ("personality", (0xFFFFFFFF,), model.ALLOW),
        ("ptrace", (), model.ALLOW),
        ("open_tree_attr", (), ENOSYS),  # newer than the profile
    ],
)
def test_what_a_container_meets(name: str, arguments: tuple[int, ...], answer: int) -> None:
    program = compiler.compile_profile(DOCKER, arch="x86_64", kernel=KERNEL)
    assert run(program, "x86_64", numbers("x86_64")[name], arguments) == answer


def test_x32_numbers_do_not_exist() -> None:
    for profile in (default_profile(), {"defaultAction": "SCMP_ACT_ALLOW"}):
        program = compiler.compile_custom(profile, DOCKER, arch="x86_64", kernel=KERNEL)
        for number in (0, 1, 59, 520):
            assert run(program, "x86_64", 0x40000000 | number) == ENOSYS


def test_a_foreign_architecture_kills() -> None:
    program = compiler.compile_profile(DOCKER, arch="x86_64", kernel=KERNEL)
    assert run(program, "aarch64", 64) == model.KILL_PROCESS
    only_native = compiler.compile_custom({"defaultAction": "SCMP_ACT_ALLOW"}, DOCKER, arch="x86_64", kernel=KERNEL)
    assert run(only_native, "i386", 4) == model.KILL_PROCESS


def test_before_4_8_nobody_may_trace() -> None:
    program = compiler.compile_profile(DOCKER, arch="x86_64", kernel=(4, 4))
    assert run(program, "x86_64", numbers("x86_64")["ptrace"]) == EPERM


def test_two_tests_of_one_argument_mean_either() -> None:
    rule = {
        "names": ["socket"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}],
    }
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}
    program = compiler.compile_custom(profile, DOCKER, arch="x86_64", kernel=KERNEL)
    socket = numbers("x86_64")["socket"]
    assert [run(program, "x86_64", socket, (family,)) for family in (0, 1, 2, 3)] == [
        EPERM,
        model.ALLOW,
        model.ALLOW,
        EPERM,
    ]


OPERATORS = {
    "SCMP_CMP_NE": lambda argument, value, _: argument != value,
    "SCMP_CMP_LT": lambda argument, value, _: argument < value,
    "SCMP_CMP_LE": lambda argument, value, _: argument <= value,
    "SCMP_CMP_EQ": lambda argument, value, _: argument == value,
    "SCMP_CMP_GE": lambda argument, value, _: argument >= value,
    "SCMP_CMP_GT": lambda argument, value, _: argument > value,
    "SCMP_CMP_MASKED_EQ": lambda argument, value, two: argument & value == two,
}
WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0, 1, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 64) - 1, 0x500000005]),
)
CONDITIONS = st.fixed_dictionaries(
    {"index": st.integers(0, 5), "op": st.sampled_from(sorted(OPERATORS)), "value": WORDS, "valueTwo": WORDS}
)
RULES = st.lists(
    st.tuples(
        st.sampled_from([("ioctl",), ("read", "write"), ("fcntl", "mount")]),
        st.lists(CONDITIONS, max_size=3, unique_by=lambda item: item["index"]),
        st.integers(2, 20),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(rules=RULES, name=st.sampled_from(["ioctl", "read", "mount", "fork"]), arguments=st.tuples(*[WORDS] * 6))
def test_compiles_what_the_rules_say(
    rules: list[tuple[tuple[str, ...], list[dict[str, Any]], int]], name: str, arguments: tuple[int, ...]
) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": conditions}
            for names, conditions, number in rules
        ],
    }
    program = compiler.compile_custom(profile, frozenset(), arch="x86_64", kernel=KERNEL)
    mine = [(conditions, model.ERRNO | number) for names, conditions, number in rules if name in names]
    wanted = next((action for conditions, action in mine if not conditions), None)
    if wanted is None:
        wanted = next(
            (
                action
                for conditions, action in mine
                if all(
                    OPERATORS[item["op"]](arguments[item["index"]], item["value"], item["valueTwo"])
                    for item in conditions
                )
            ),
            model.ALLOW,
        )
    assert run(program, "x86_64", numbers("x86_64")[name], arguments) == wanted


def test_long_trees_jump_far() -> None:
    """Blocks of more than 255 instructions, which a conditional jump can't pass."""
    table = numbers("x86_64")
    names = sorted(table, key=lambda name: table[name])
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {
                "names": [name],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": position % 900 + 1,
                "args": [{"index": 1, "op": "SCMP_CMP_EQ", "value": 7}],
            }
            for position, name in enumerate(names)
        ],
    }
    program = compiler.compile_custom(profile, frozenset(), arch="x86_64", kernel=KERNEL)
    for position, name in enumerate(names):
        assert run(program, "x86_64", table[name], (0, 7)) == model.ERRNO | (position % 900 + 1)
        assert run(program, "x86_64", table[name], (0, 8)) == model.ALLOW


def test_flags_are_kept_for_the_loader() -> None:
    program = compiler.compile_profile(DOCKER, arch="x86_64", kernel=KERNEL)
    assert struct.unpack_from(HEADER, program) == (MAGIC, FLAG_SPEC_ALLOW)
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    program = compiler.compile_custom(profile, DOCKER, arch="x86_64", kernel=KERNEL)
    assert struct.unpack_from(HEADER, program) == (MAGIC, FLAG_LOG)


def test_the_oci_form_compiles_to_the_same_program() -> None:
    oci = compiler.oci_profile(DOCKER, arch="x86_64", kernel=KERNEL)
    assert oci["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert compiler.compile_custom(oci, frozenset(), arch="x86_64", kernel=KERNEL) == compiler.compile_profile(
        DOCKER, arch="x86_64", kernel=KERNEL
    )


@pytest.mark.parametrize(
    ("profile", "detail"),
    [
        ({}, "unknown action None"),
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "unknown action 'SCMP_ACT_MAYBE'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}, "names no system call"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": "all"}, "syscalls must be a list"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}, "unknown flag 'X'"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 9, "op": "SCMP_CMP_EQ"}]}
                ],
            },
            "no argument 9",
        ),
    ],
)
def test_bad_profiles_are_refused(profile: dict[str, Any], detail: str) -> None:
    with pytest.raises(model.SeccompProfileError, match="Decoding seccomp profile failed") as caught:
        compiler.compile_custom(profile, DOCKER, arch="x86_64", kernel=KERNEL)
    assert detail in str(caught.value)


def test_what_we_cannot_do_is_refused_by_name() -> None:
    with pytest.raises(NotSupportedError, match="SCMP_ACT_NOTIFY"):
        compiler.compile_custom(NOTIFYING, DOCKER, arch="x86_64", kernel=KERNEL)
    with pytest.raises(NotSupportedError, match="listenerPath"):
        compiler.custom_to_oci({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a"}, DOCKER, arch="x86_64")
    with pytest.raises(NotSupportedError, match="seccomp on riscv64"):
        compiler.compile_profile(DOCKER, arch="riscv64", kernel=KERNEL)


@pytest.mark.parametrize(
    ("profile", "asked", "loaded"),
    [
        (NOTIFYING, ["TSYNC", "LOG", "WAIT_KILLABLE_RECV"], {"LOG", "WAIT_KILLABLE_RECV", "NEW_LISTENER"}),
        ({"defaultAction": "SCMP_ACT_ALLOW"}, ["TSYNC", "WAIT_KILLABLE_RECV"], {"TSYNC"}),
    ],
    ids=["listener", "none"],
)
def test_flags_of_a_listener(profile: dict[str, Any], asked: list[str], loaded: set[str]) -> None:
    """The kernel takes a listener or threads that are synchronized, and lets nothing but a listener be waited for."""
    wanted = profile | {"flags": [f"SECCOMP_FILTER_FLAG_{name}" for name in asked]}
    program = compiler.compile_custom(wanted, DOCKER, arch="x86_64", kernel=KERNEL, listening=True)
    _, flags = struct.unpack_from(HEADER, program)
    names = {"TSYNC": 1, "LOG": 2, "SPEC_ALLOW": 4, "NEW_LISTENER": 8, "WAIT_KILLABLE_RECV": 32}
    assert {name for name, bit in names.items() if flags & bit} == loaded


def test_what_can_not_be_notified() -> None:
    write = NOTIFYING | {"syscalls": [{"names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"}]}
    with pytest.raises(model.SeccompProfileError, match="cannot be used for the write syscall"):
        compiler.compile_custom(write, DOCKER, arch="x86_64", kernel=KERNEL, listening=True)
    with pytest.raises(model.SeccompProfileError, match="cannot be used as default action"):
        compiler.compile_custom({"defaultAction": "SCMP_ACT_NOTIFY"}, DOCKER, arch="x86_64", kernel=KERNEL)
