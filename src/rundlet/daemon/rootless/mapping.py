"""Gives a new user namespace its users and groups, from outside of it.

More than the own ID takes ``newuidmap`` and ``newgidmap``, which run with root's rights and check the tables
themselves. Without them, or when they fail, the namespace has one user and one group: the caller's own.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final, NamedTuple

from rundlet.daemon.rootless.ranges import Extent, for_user
from rundlet.linux import usermap

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HELPER_SECONDS: Final = 20


class Mapped(NamedTuple):
    """``users`` and ``groups`` as the kernel has them now; ``problem``: why there is only one of each."""

    users: list[Extent]
    groups: list[Extent]
    problem: str = ""

    @property
    def single(self) -> bool:
        return sum(extent.length for extent in self.users) == 1


def map_ids(pid: int) -> Mapped:
    """Map the user namespace that ``pid`` has just made. Raises: RangeError, OSError."""
    uid, gid = os.getuid(), os.getgid()
    users, groups = for_user(uid, gid)
    if len(users) == 1:
        return _single(pid, uid, gid, "no ranges in /etc/subuid and /etc/subgid")
    missing = [name for name in ("newuidmap", "newgidmap") if _find(name) is None]
    if missing:
        return _single(pid, uid, gid, f"{' and '.join(missing)} not found (Debian's package uidmap)")
    problem = _run("newuidmap", pid, users) or _run("newgidmap", pid, groups)
    if not problem:
        return Mapped(users, groups)
    return _single(pid, uid, gid, problem)


def present(pid: int) -> Mapped:
    """What the user namespace of ``pid`` has been given. Raises: OSError."""
    return Mapped(_present(pid, "uid_map"), _present(pid, "gid_map"))


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH") or _PATH)


def _run(name: str, pid: int, extents: Sequence[Extent]) -> str:
    """Run the helper; what is wrong, or an empty text."""
    arguments = [str(number) for extent in extents for number in extent]
    try:
        done = subprocess.run(
            [_find(name) or name, str(pid), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{name} failed: {exc}"
    if done.returncode == 0:
        return ""
    said = " ".join(done.stderr.split()) or f"status {done.returncode}"
    return f"{name} failed: {said}"


def _single(pid: int, uid: int, gid: int, problem: str) -> Mapped:
    """One user and one group, where the helpers have not already given them."""
    if not _present(pid, "gid_map"):
        usermap.write(f"/proc/{pid}/setgroups", "deny")
        usermap.write(f"/proc/{pid}/gid_map", f"0 {gid} 1")
    if not _present(pid, "uid_map"):
        usermap.write(f"/proc/{pid}/uid_map", f"0 {uid} 1")
    return Mapped(_present(pid, "uid_map"), _present(pid, "gid_map"), problem)


def _present(pid: int, name: str) -> list[Extent]:
    """What the kernel has in a map; empty before the first write, which is the only one."""
    with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
        return [Extent(*map(int, line.split())) for line in file]
