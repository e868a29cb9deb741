"""A private corner of the machine for engines that we don't own: what they make there ends with it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_INSIDE = "RUNDLET_BENCH_INSIDE"
_ROOT = Path("/sys/fs/cgroup")
# What dockerd, runc and podman make there has names of theirs; Rundlet removes its own, and other programs (another of
# Rundlet's engines, too) make groups at the same time.
_ENGINES = ("docker", "libpod", "conmon", "buildah", "machine.slice")


def inside() -> bool:
    return os.environ.get(_INSIDE) == "1"


def enter(arguments: Sequence[str]) -> int:
    """Runs this program again in new mount, PID and network namespaces and returns its exit status."""
    before = _cgroups()
    namespaces = ["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        ["unshare", *namespaces, sys.executable, "-m", "bench", *arguments],
        env=os.environ | {_INSIDE: "1"},
        check=False,
    )
    # Control groups are the one thing that has no end with a namespace.
    made = (path for path in _cgroups() - before if _is_an_engines(path))
    for path in sorted(made, key=lambda path: -len(path.parts)):
        try:
            path.rmdir()
        except OSError as exc:
            print(f"bench: could not remove {path}: {exc}", file=sys.stderr)
    return done.returncode


def settle_in() -> None:
    """Inside: an empty ``/run``, this network namespace's ``/sys``, loopback up."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    script = """
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir /run/keep && mount --rbind /sys/fs/cgroup /run/keep
    mount -t sysfs sysfs /sys
    mount --rbind /run/keep /sys/fs/cgroup
    umount -l /run/keep && rmdir /run/keep
    """
    subprocess.run(["sh", "-euc", script], check=True)


def _cgroups() -> set[Path]:
    return {Path(directory) for directory, _, _ in os.walk(_ROOT)}


def _is_an_engines(path: Path) -> bool:
    return any(part.startswith(_ENGINES) for part in path.relative_to(_ROOT).parts)
