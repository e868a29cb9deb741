"""Profiles as data: Docker's format (and the OCI runtime specification's, a part of it), read and resolved.

A *profile* has rules under conditions (capabilities, architecture, kernel). *Resolving* it for one container leaves
the rules that hold; the compiler makes the program of those, and :func:`to_oci` the ``linux.seccomp`` of a bundle.
See: OCI runtime-spec, config-linux.md, "Seccomp"; seccomp(2).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.linux.seccomp.loader import (
    FLAG_LOG,
    FLAG_NEW_LISTENER,
    FLAG_SPEC_ALLOW,
    FLAG_TSYNC,
    FLAG_WAIT_KILLABLE_RECV,
)

KILL_PROCESS: Final = 0x8000_0000
KILL_THREAD: Final = 0x0000_0000
TRAP: Final = 0x0003_0000
ERRNO: Final = 0x0005_0000
NOTIFY: Final = 0x7FC0_0000
TRACE: Final = 0x7FF0_0000
LOG: Final = 0x7FFC_0000
ALLOW: Final = 0x7FFF_0000
_DATA: Final = 0xFFFF

_ACTIONS: Final = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_NOTIFY": NOTIFY,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
_FLAGS: Final = {
    "SECCOMP_FILTER_FLAG_TSYNC": FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FLAG_WAIT_KILLABLE_RECV,
}
OPERATORS: Final = frozenset(
    {
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    }
)
# Our name of a machine, libseccomp's, and the Go name that Docker's conditions use.
ARCHITECTURES: Final = {"SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386"} | {
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
_SCMP_NAMES: Final = {machine: name for name, machine in ARCHITECTURES.items()}
_GO_NAMES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i386": "x86", "arm": "arm"}
# The machines whose programs a kernel of the first one runs. x32 is left out on purpose: hardly anything uses it, and
# its second set of numbers has been a way around filters.
FAMILIES: Final = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64", "arm")}
_EPERM: Final = 1


def known_actions() -> list[str]:
    """The names of actions that a profile may use."""
    return list(_ACTIONS)


def known_flags() -> list[str]:
    """The names of flags that a profile may use."""
    return list(_FLAGS)


class SeccompProfileError(InvalidParameterError):
    """A seccomp profile that can't be understood."""

    reason = "invalid-seccomp-profile"

    def __init__(self, detail: str) -> None:
        super().__init__(f"Decoding seccomp profile failed: {detail}")
        self.detail = detail


class Condition(NamedTuple):
    """A test of one argument; for MASKED_EQ ``value`` is the mask and ``value_two`` what must be left of it."""

    argument: int
    operator: str
    value: int
    value_two: int


class Rule(NamedTuple):
    """What happens to the calls in ``names`` when all ``conditions`` hold; ``action`` is a SECCOMP_RET_* value."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...]


class Resolved(NamedTuple):
    """A profile for one container: the machines it filters for, first the host's, and the rules, in order."""

    machines: tuple[str, ...]
    default: int
    rules: tuple[Rule, ...]
    flags: int

    @property
    def notifies(self) -> bool:
        """Some calls are for another process to answer."""
        return any(rule.action == NOTIFY for rule in self.rules)

    @property
    def loading(self) -> int:
        """The flags to load it with: threads are synchronized for no listener, and nothing but one is waited for."""
        if self.notifies:
            return self.flags & ~FLAG_TSYNC | FLAG_NEW_LISTENER
        return self.flags & ~FLAG_WAIT_KILLABLE_RECV


def resolve(profile: Mapping[str, Any], caps: frozenset[str], machine: str, kernel: tuple[int, int]) -> Resolved:
    """The rules of ``profile`` (Docker's or OCI's JSON) that hold for a container with the bounding set ``caps``.

    ``machine`` is the host's (``x86_64``, ``aarch64``), ``kernel`` its version.

    Raises: SeccompProfileError; NotSupportedError on other machines.
    """
    if machine not in FAMILIES:
        raise NotSupportedError(f"seccomp on {machine}")
    rules: list[Rule] = []
    for entry in _list(profile, "syscalls"):
        if not isinstance(entry, Mapping):
            raise SeccompProfileError("a rule must be an object")
        if _holds(entry, caps, machine, kernel):
            rules.extend(_rules(entry))
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
    if default == NOTIFY:
        raise SeccompProfileError("SCMP_ACT_NOTIFY cannot be used as default action")
    if any(rule.action == NOTIFY and "write" in rule.names for rule in rules):
        # Whoever loads the filter has yet to say that there is a listener.
        raise SeccompProfileError("SCMP_ACT_NOTIFY cannot be used for the write syscall")
    return Resolved(
        machines=_machines(profile, machine),
        default=default,
        rules=tuple(rules),
        flags=_flags(profile),
    )


def to_oci(resolved: Resolved) -> dict[str, Any]:
    """The ``linux.seccomp`` of an OCI bundle that says the same."""
    action, errno = _name_action(resolved.default)
    result: dict[str, Any] = {"defaultAction": action}
    if errno is not None:
        result["defaultErrnoRet"] = errno
    result["architectures"] = [_SCMP_NAMES[machine] for machine in resolved.machines]
    result["flags"] = [name for name, bit in _FLAGS.items() if resolved.flags & bit]
    result["syscalls"] = [_rule_to_oci(rule) for rule in resolved.rules]
    return result


def _rule_to_oci(rule: Rule) -> dict[str, Any]:
    action, errno = _name_action(rule.action)
    result: dict[str, Any] = {"names": list(rule.names), "action": action}
    if errno is not None:
        result["errnoRet"] = errno
    if rule.conditions:
        result["args"] = [
            {"index": item.argument, "value": item.value, "valueTwo": item.value_two, "op": item.operator}
            for item in rule.conditions
        ]
    return result


def _name_action(action: int) -> tuple[str, int | None]:
    kind = action & ~_DATA
    name = next(name for name, value in reversed(_ACTIONS.items()) if value == kind)
    return name, action & _DATA if kind in (ERRNO, TRACE) else None


def _rules(entry: Mapping[str, Any]) -> Iterable[Rule]:
    names = tuple(_strings(entry, "names")) or ((entry["name"],) if isinstance(entry.get("name"), str) else ())
    if not names:
        raise SeccompProfileError("a rule names no system call")
    action = _action(entry.get("action"), entry.get("errnoRet"))
    conditions = tuple(_condition(item) for item in _list(entry, "args"))
    if len({item.argument for item in conditions}) == len(conditions):
        yield Rule(names, action, conditions)
        return
    # Two tests of one argument have always meant "either" (libseccomp can't say "both"): profiles rely on it.
    for condition in conditions:
        yield Rule(names, action, (condition,))


def _condition(item: object) -> Condition:
    if not isinstance(item, Mapping):
        raise SeccompProfileError("an argument must be an object")
    operator = item.get("op")
    if operator not in OPERATORS:
        raise SeccompProfileError(f"unknown operator {operator!r}")
    index, value, value_two = (item.get(key, 0) for key in ("index", "value", "valueTwo"))
    for number in (index, value, value_two):
        if not isinstance(number, int) or not 0 <= number < 1 << 64:
            raise SeccompProfileError(f"not an unsigned number: {number!r}")
    if index > 5:
        raise SeccompProfileError(f"a system call has no argument {index}")
    return Condition(index, operator, value, value_two)


def _action(name: object, errno: object) -> int:
    if not isinstance(name, str) or name not in _ACTIONS:
        raise SeccompProfileError(f"unknown action {name!r}")
    action = _ACTIONS[name]
    if action not in (ERRNO, TRACE):
        return action
    if errno is None:
        return action | _EPERM
    if not isinstance(errno, int) or not 0 <= errno <= _DATA:
        raise SeccompProfileError(f"not an errno: {errno!r}")
    return action | errno


def _holds(entry: Mapping[str, Any], caps: frozenset[str], machine: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = _filter(entry, "includes"), _filter(entry, "excludes")
    go_name = _GO_NAMES[machine]
    if any(cap not in caps for cap in _strings(includes, "caps")):
        return False
    if any(cap in caps for cap in _strings(excludes, "caps")):
        return False
    if _strings(includes, "arches") and go_name not in includes["arches"]:
        return False
    if go_name in _strings(excludes, "arches"):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _filter(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key) or {}
    if not isinstance(value, Mapping):
        raise SeccompProfileError(f"{key} must be an object")
    return value


def _version(text: object) -> tuple[int, int]:
    parts = str(text).split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        raise SeccompProfileError(f"invalid kernel version {text!r}") from None


def _machines(profile: Mapping[str, Any], machine: str) -> tuple[str, ...]:
    wanted = {ARCHITECTURES.get(name) for name in _strings(profile, "architectures")}
    for entry in _list(profile, "archMap"):
        if isinstance(entry, Mapping) and ARCHITECTURES.get(str(entry.get("architecture"))) == machine:
            wanted |= {ARCHITECTURES.get(name) for name in _strings(entry, "subArchitectures")}
    return tuple(member for member in FAMILIES[machine] if member == machine or member in wanted)


def _flags(profile: Mapping[str, Any]) -> int:
    if "flags" not in profile:
        # As runc does: without it old kernels turn on a costly mitigation for every filtered process.
        return FLAG_SPEC_ALLOW
    result = 0
    for name in _strings(profile, "flags"):
        if name not in _FLAGS:
            raise SeccompProfileError(f"unknown flag {name!r}")
        result |= _FLAGS[name]
    return result


def _list(source: Mapping[str, Any], key: str) -> list[Any]:
    value = source.get(key) or []
    if not isinstance(value, list | tuple):
        raise SeccompProfileError(f"{key} must be a list")
    return list(value)


def _strings(source: Mapping[str, Any], key: str) -> list[str]:
    values = _list(source, key)
    if not all(isinstance(value, str) for value in values):
        raise SeccompProfileError(f"{key} must be a list of strings")
    return values
