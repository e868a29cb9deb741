"""Facts about this machine, read once or cheaply: kernel, CPUs, memory, distribution."""

import os
from functools import cache

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


def boot_id() -> str:
    """Changes with every boot: pids and mounts of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@cache
def kernel() -> str:
    return os.uname().release


@cache
def architecture() -> str:
    """The machine as the kernel names it (x86_64)."""
    return os.uname().machine


@cache
def go_architecture() -> str:
    """The machine as images name it (amd64)."""
    return _ARCHITECTURES.get(architecture(), architecture())


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Bytes of memory in the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def distribution() -> tuple[str, str]:
    """(pretty name, version) from os-release(5)."""
    values: dict[str, str] = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    key, sign, value = line.strip().partition("=")
                    if sign:
                        values[key] = value.strip("\"'")
            break
        except OSError:
            continue
    return values.get("PRETTY_NAME", "Linux"), values.get("VERSION_ID", "")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def read_flag(path: str) -> bool:
    """Whether a sysctl is 1."""
    try:
        with open(path) as file:
            return file.read().strip() == "1"
    except OSError:
        return False
