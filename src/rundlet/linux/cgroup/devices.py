"""Device policies: the OCI rules reduced to a default and exceptions, as v1's lines or v2's program.

Rules are read in order, as v1's kernel does: one for all devices starts over, one that says what already holds takes
exceptions back, any other is an exception. See: the kernel's admin-guide/cgroup-v1/devices.rst.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from rundlet.linux import bpf

_MKNOD: Final = 1  # BPF_DEVCG_ACC_*
_READ: Final = 2
_WRITE: Final = 4
_ALL: Final = _MKNOD | _READ | _WRITE
_LETTERS: Final = (("r", _READ), ("w", _WRITE), ("m", _MKNOD))
_TYPES: Final = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*

# Instructions: r1 is the context; then r2 type, r3 access, r4 major, r5 minor.
_LOAD_WORD: Final = 0x61
_MOVE_REGISTER: Final = 0xBF
_MOVE: Final = 0xB7
_AND: Final = 0x57
_SHIFT_RIGHT: Final = 0x77
_JUMP_UNEQUAL: Final = 0x55
_JUMP_EQUAL: Final = 0x15
_EXIT: Final = 0x95


class Exception_(NamedTuple):
    """Devices treated otherwise than the default: "b" or "c"; None is any number; ``access`` bits."""

    kind: str
    major: int | None
    minor: int | None
    access: int


class Policy(NamedTuple):
    """Whether devices are allowed by default, and the exceptions."""

    default_allow: bool
    exceptions: tuple[Exception_, ...]

    @property
    def allows_everything(self) -> bool:
        return self.default_allow and not self.exceptions


def policy(rules: Iterable[Mapping[str, Any]]) -> Policy:
    """The policy that ``linux.resources.devices`` means; a new cgroup allows everything.

    Raises: ValueError for an unknown type or access letter.
    """
    default_allow = True
    exceptions: dict[tuple[str, int | None, int | None], int] = {}
    for rule in rules:
        allow = bool(rule.get("allow"))
        kind = rule.get("type") or "a"
        access = _access(rule.get("access") or "rwm")
        major, minor = _number(rule.get("major")), _number(rule.get("minor"))
        if kind == "a":
            default_allow = allow
            exceptions.clear()
            continue
        if kind == "u":
            kind = "c"
        if kind not in _TYPES:
            raise ValueError(f"invalid device type {kind!r}")
        key = (kind, major, minor)
        if allow == default_allow:
            exceptions[key] = exceptions.get(key, 0) & ~access
        else:
            exceptions[key] = exceptions.get(key, 0) | access
    return Policy(default_allow, tuple(Exception_(*key, access) for key, access in exceptions.items() if access))


def v1_lines(wanted: Policy) -> list[tuple[str, str]]:
    """The writes (file, line) that give a v1 cgroup this policy, whatever it had."""
    first, others = ("allow", "deny") if wanted.default_allow else ("deny", "allow")
    return [(f"devices.{first}", "a"), *((f"devices.{others}", _line(item)) for item in wanted.exceptions)]


def v1_changes(wanted: Policy, present: Iterable[str]) -> list[tuple[str, str]]:
    """The writes that lead a v1 cgroup whose devices.list has the lines ``present`` to this policy.

    Nothing that is allowed before and after is refused in between.
    """
    before = {line for line in (text.strip() for text in present) if line}
    after = {_line(item) for item in wanted.exceptions}
    if wanted.default_allow or any(line.startswith("a") for line in before):
        return v1_lines(wanted)
    return [("devices.allow", line) for line in sorted(after - before)] + [
        ("devices.deny", line) for line in sorted(before - after)
    ]


def program(wanted: Policy) -> bytes:
    """The policy as a BPF_PROG_TYPE_CGROUP_DEVICE program, for :func:`rundlet.linux.bpf.load`."""
    code = [
        bpf.instruction(_LOAD_WORD, 2, 1, 0),
        bpf.instruction(_MOVE_REGISTER, 3, 2),
        bpf.instruction(_AND, 2, immediate=0xFFFF),
        bpf.instruction(_SHIFT_RIGHT, 3, immediate=16),
        bpf.instruction(_LOAD_WORD, 4, 1, 4),
        bpf.instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for item in wanted.exceptions:
        code += _exception(item, wanted.default_allow)
    code += _answer(wanted.default_allow)
    return b"".join(code)


def _exception(item: Exception_, default_allow: bool) -> list[bytes]:
    """Answer with the opposite of the default if the request is one of ``item``, else go on behind."""
    tests: list[tuple[int, int, int]] = [(_JUMP_UNEQUAL, 2, _TYPES[item.kind])]
    if item.major is not None:
        tests.append((_JUMP_UNEQUAL, 4, item.major))
    if item.minor is not None:
        tests.append((_JUMP_UNEQUAL, 5, item.minor))
    # A request may ask for several rights at once: all must be granted, or one refused.
    if default_allow:
        mask, jump = item.access, _JUMP_EQUAL
    else:
        mask, jump = _ALL & ~item.access, _JUMP_UNEQUAL
    access = [bpf.instruction(_MOVE_REGISTER, 1, 3), bpf.instruction(_AND, 1, immediate=mask)] if mask else []
    if mask:
        access.append(bpf.instruction(jump, 1, offset=2, immediate=0))
    tail = access + _answer(not default_allow)
    head: list[bytes] = []
    for position, (code, register, value) in enumerate(tests):
        remaining = len(tests) - position - 1 + len(tail)
        head.append(bpf.instruction(code, register, offset=remaining, immediate=value))
    return head + tail


def _answer(allow: bool) -> list[bytes]:
    return [bpf.instruction(_MOVE, 0, immediate=int(allow)), bpf.instruction(_EXIT)]


def _line(item: Exception_) -> str:
    major, minor = ("*" if number is None else str(number) for number in (item.major, item.minor))
    letters = "".join(letter for letter, bit in _LETTERS if item.access & bit)
    return f"{item.kind} {major}:{minor} {letters}"


def _access(letters: str) -> int:
    result = 0
    for letter in letters:
        bit = dict(_LETTERS).get(letter)
        if bit is None:
            raise ValueError(f"invalid device access {letters!r}")
        result |= bit
    return result


def _number(value: int | None) -> int | None:
    return None if value is None or value < 0 else value
