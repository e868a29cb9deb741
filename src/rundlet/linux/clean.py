"""What a container must not inherit from whoever started the engine, put back to what a fresh machine gives.

An auto-started engine comes out of somebody's shell: niced, pinned to a CPU, with limits, keys, ignored signals and
capabilities of that session. A container must look the same whoever started it. Called in the container's first process
(and in an exec's), single-threaded, before its rights are taken away; :func:`signals` comes last, right before execve.

Environment, descriptors, groups, working directory and cgroups are made anew by the caller anyway.
"""

import errno
import os
import resource
import signal
from collections.abc import Callable, Mapping
from typing import Final

from rundlet.linux import caps, libc

UMASK: Final = 0o022

# RLIMIT_* to (soft, hard), as dockerd's own service sets them; what is not here stays as it is.
LIMITS: Final[dict[int, tuple[int, int]]] = {
    resource.RLIMIT_CPU: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_FSIZE: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_DATA: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_STACK: (8 << 20, resource.RLIM_INFINITY),
    resource.RLIMIT_CORE: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_RSS: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_NPROC: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_NOFILE: (1 << 20, 1 << 20),
    resource.RLIMIT_AS: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    resource.RLIMIT_MSGQUEUE: (819_200, 819_200),
    resource.RLIMIT_NICE: (0, 0),
    resource.RLIMIT_RTPRIO: (0, 0),
    resource.RLIMIT_RTTIME: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
}
_MANY_CPUS: Final = 1024
_PERSONALITY_LINUX: Final = 0
_MPOL_DEFAULT: Final = 0
_IOPRIO_WHO_PROCESS: Final = 1
_TIMER_SLACK: Final = 50_000  # nanoseconds, as the kernel gives its first process
_CORE_PARTS: Final = b"0x33"  # coredump_filter: the kernel's own default
# Kernels and filters without one of these calls have nothing to put back.
_ABSENT: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP})


def attributes() -> None:
    """Put back umask, groups, scheduling, CPUs, memory policy, priorities, personality, keys and inheritable rights.

    Uses the host's /proc: for a process that is still outside of every container.

    What a user namespace or an outer filter doesn't let us change stays as it is.

    Raises: OSError only where the kernel fails for another reason.
    """
    os.umask(UMASK)
    for action in (_groups, _scheduling, _affinity, _priorities, _core_parts, _keys, _rights):
        _quietly(action)


def limits(wanted: Mapping[int, tuple[int, int]] | None = None) -> None:
    """Put the resource limits back to :data:`LIMITS`, then set the ``wanted`` ones (RLIMIT_* to soft and hard).

    Those that the kernel computes from the machine's size become what the machine's first process has.

    A default above our own hard limit, which we have no right to raise, is lowered to it; a wanted one is an error.

    Raises: PermissionError, or OSError(EINVAL) for a soft limit above the hard one, naming the limit.
    """
    chosen = wanted or {}
    for number, pair in (LIMITS | _of_the_machine()).items():
        if number not in chosen:
            _set_default(number, pair)
    for number, pair in chosen.items():
        try:
            resource.setrlimit(number, pair)
        except (ValueError, OSError) as exc:
            # Python says ValueError both for "not allowed" and for "soft above hard".
            bad = pair[1] != resource.RLIM_INFINITY and (pair[0] == resource.RLIM_INFINITY or pair[0] > pair[1])
            kind = errno.EINVAL if bad else errno.EPERM
            raise OSError(kind, os.strerror(kind), f"rlimit {number}") from exc


def signals() -> None:
    """All signals to their defaults and none blocked: what is ignored or blocked would survive execve."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except OSError:
                pass  # one of those that libc keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _groups() -> None:
    os.setgroups(())


def _core_parts() -> None:
    fd = os.open("/proc/self/coredump_filter", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, _CORE_PARTS)
    finally:
        os.close(fd)


def _scheduling() -> None:
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _affinity() -> None:
    """To all CPUs; the kernel leaves out what is not there or not in our cpuset."""
    count = max(_MANY_CPUS, os.sysconf("SC_NPROCESSORS_CONF"))
    os.sched_setaffinity(0, range(count))


def _priorities() -> None:
    libc.call("ioprio_set", _IOPRIO_WHO_PROCESS, 0, 0)
    _quietly(lambda: libc.call("set_mempolicy", _MPOL_DEFAULT, None, 0))
    _quietly(lambda: libc.call("personality", _PERSONALITY_LINUX))
    # 0 would mean the default, which is itself inherited.
    libc.prctl(libc.PR_SET_TIMERSLACK, _TIMER_SLACK)
    libc.prctl(libc.PR_SET_THP_DISABLE, 0)


def _keys() -> None:
    libc.keyctl_join_session()


def _rights() -> None:
    """No ambient and no inheritable capabilities, the usual rules about uid 0."""
    caps.set_ambient(0)
    effective, permitted, inheritable = caps.get_capabilities()
    if inheritable:
        caps.set_capabilities(effective, permitted, 0)
    if caps.securebits():
        caps.set_securebits(0)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as exc:
        if exc.errno not in _ABSENT:
            raise


def _of_the_machine() -> dict[int, tuple[int, int]]:
    numbers = (resource.RLIMIT_SIGPENDING, resource.RLIMIT_MEMLOCK)
    try:
        return {number: resource.prlimit(1, number) for number in numbers}
    except OSError:
        return {}  # not our machine to look at


def _set_default(number: int, pair: tuple[int, int]) -> None:
    try:
        resource.setrlimit(number, pair)
    except (ValueError, OSError):
        hard = resource.getrlimit(number)[1]
        soft = pair[0] if hard == resource.RLIM_INFINITY else hard
        if pair[0] != resource.RLIM_INFINITY and hard != resource.RLIM_INFINITY:
            soft = min(pair[0], hard)
        resource.setrlimit(number, (soft, hard))
