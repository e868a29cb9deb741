"""From a profile to the BPF program that a container's processes run under.

The program looks at the architecture, then finds the number of the call by binary search among intervals of equal
treatment (a linear list of 400 comparisons would be paid by every call), and only then looks at arguments.

Calls newer than everything that the profile names get ENOSYS, not the profile's EPERM: programs and C libraries then
fall back to an older call as they do on an old kernel. Numbers of the x32 ABI get ENOSYS as well.
"""

import errno
import os
import struct
from collections.abc import Mapping
from typing import Any, Final

from rundlet.errors import NotSupportedError
from rundlet.linux.seccomp import bpf
from rundlet.linux.seccomp.loader import HEADER, MAGIC
from rundlet.linux.seccomp.model import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    LOG,
    TRACE,
    Resolved,
    Rule,
    SeccompProfileError,
    resolve,
    to_oci,
)
from rundlet.linux.seccomp.profile import default_profile
from rundlet.linux.seccomp.syscalls import ARM_PRIVATE, AUDIT_ARCHITECTURES, X32_BIT, numbers

VERSION: Final = 2  # part of the key of every cache of compiled programs

_ENOSYS: Final = ERRNO | errno.ENOSYS
_WIDE: Final = frozenset({"x86_64", "aarch64"})
# Arguments that the kernel cuts to an int before it looks: so must the filter, or socket(1 << 32 | AF_VSOCK, …) passes
# as "greater than AF_VSOCK".
_INT_ARGUMENTS: Final = frozenset({("socket", 0), ("personality", 0)})


def compile_profile(caps: frozenset[str], *, arch: str | None = None, kernel: tuple[int, int] | None = None) -> bytes:
    """The default profile for a container with the capabilities ``caps`` (its bounding set), ready to load.

    ``arch`` is a machine as uname says it (``x86_64``, ``aarch64``) and ``kernel`` its version; the running one's.

    Raises: NotSupportedError on other machines.
    """
    return compile_custom(default_profile(), caps, arch=arch, kernel=kernel)


def compile_custom(
    profile: Mapping[str, Any],
    caps: frozenset[str],
    *,
    arch: str | None = None,
    kernel: tuple[int, int] | None = None,
    listening: bool = False,
) -> bytes:
    """A user's own profile (decoded JSON in Docker's or the OCI runtime specification's format), ready to load.

    Names of calls that an architecture does not have are skipped, as Docker does. ``listening``: whoever loads it hands
    the listener on.

    Raises: SeccompProfileError, NotSupportedError (also for listeners where nobody hands them on).
    """
    resolved = resolve(profile, caps, arch or os.uname().machine, kernel or running_kernel())
    if not listening:
        _refuse_listener(profile, resolved)
    return assemble(resolved)


def _refuse_listener(profile: Mapping[str, Any], resolved: Resolved) -> None:
    for key in ("listenerPath", "listenerMetadata"):
        if profile.get(key):
            raise NotSupportedError(f"seccomp {key}")
    if resolved.notifies:
        raise NotSupportedError("seccomp action SCMP_ACT_NOTIFY")


def oci_profile(
    caps: frozenset[str], *, arch: str | None = None, kernel: tuple[int, int] | None = None
) -> dict[str, Any]:
    """The default profile as the ``linux.seccomp`` of an OCI bundle, for other runtimes."""
    return custom_to_oci(default_profile(), caps, arch=arch, kernel=kernel)


def custom_to_oci(
    profile: Mapping[str, Any],
    caps: frozenset[str],
    *,
    arch: str | None = None,
    kernel: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """A user's own profile as the ``linux.seccomp`` of an OCI bundle. Raises as :func:`compile_custom`."""
    resolved = resolve(profile, caps, arch or os.uname().machine, kernel or running_kernel())
    _refuse_listener(profile, resolved)
    return to_oci(resolved)


def running_kernel() -> tuple[int, int]:
    """Major and minor version of the running kernel."""
    major, minor = os.uname().release.split(".", 2)[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or "0")


def assemble(resolved: Resolved) -> bytes:
    """The program of a resolved profile, with the header that the loader reads.

    Raises: SeccompProfileError when the kernel would not take a program that long.
    """
    code = bpf.answer(KILL_PROCESS)  # an architecture that the profile does not know
    for machine in reversed(resolved.machines):
        section = [bpf.load(bpf.NUMBER), *bpf.tree(_intervals(resolved, machine))]
        code = bpf.branch(bpf.EQUAL, AUDIT_ARCHITECTURES[machine], section, code)
    try:
        program = bpf.encode([bpf.load(bpf.ARCHITECTURE), *code])
    except ValueError as exc:
        raise SeccompProfileError(str(exc)) from exc
    return struct.pack(HEADER, MAGIC, resolved.loading) + program


def _intervals(resolved: Resolved, machine: str) -> list[bpf.Interval]:
    """The numbers of ``machine``, in intervals of equal treatment."""
    treatments = _treatments(resolved, machine)
    default, unknown = bpf.answer(resolved.default), bpf.answer(_ENOSYS)
    refuses = resolved.default & ~0xFFFF not in (ALLOW, LOG, TRACE)
    newest = max((number for number in treatments if number < ARM_PRIVATE), default=-1)

    def treatment(number: int) -> bpf.Code:
        if machine == "x86_64" and number >= X32_BIT:
            return unknown
        return treatments.get(number) or (unknown if refuses and number > newest else default)

    starts = {0, newest + 1, X32_BIT, *treatments, *(number + 1 for number in treatments)}
    merged: list[bpf.Interval] = []
    for start in sorted(starts):
        code = treatment(start)
        if not merged or merged[-1].code != code:
            merged.append(bpf.Interval(start, code))
    return merged


def _treatments(resolved: Resolved, machine: str) -> dict[int, bpf.Code]:
    """The code for each number that a rule names. An unconditional rule beats the others, the first one wins."""
    table = numbers(machine)
    rules: dict[tuple[int, str], list[Rule]] = {}
    for rule in resolved.rules:
        for name in rule.names:
            if name in table:
                rules.setdefault((table[name], name), []).append(rule)
    result: dict[int, bpf.Code] = {}
    for (number, name), candidates in rules.items():
        plain = next((rule for rule in candidates if not rule.conditions), None)
        if plain is not None:
            result[number] = bpf.answer(plain.action)
            continue
        code = bpf.answer(resolved.default)
        for rule in reversed(candidates):
            code = _conditional(rule, name, machine, code)
        result[number] = code
    return result


def _conditional(rule: Rule, name: str, machine: str, otherwise: bpf.Code) -> bpf.Code:
    conditions = [
        (condition, machine in _WIDE and (name, condition.argument) not in _INT_ARGUMENTS)
        for condition in rule.conditions
    ]
    return bpf.tests(conditions, bpf.answer(rule.action), otherwise)
