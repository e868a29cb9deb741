"""What ``rundlet system doctor`` looks at. Reads only, and connects to one registry.

Each check gives one finding: *ok*; *degraded*, with what doesn't work so well for it; or *missing*: no engine of this
user's can work. Whatever isn't ok has a remedy, one line for whoever may carry it out.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from rundlet.cli import paths
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OK, DEGRADED, MISSING = "ok", "degraded", "missing"
_REGISTRY = ("registry-1.docker.io", 443)
_SECONDS = 3.0
_LEAST_KERNEL = (5, 11)
_LEAST_FREE = 1 << 30
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
_NEEDED = 1 << 12 | 1 << 21  # CAP_NET_ADMIN, CAP_SYS_ADMIN
_NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "lustre")


class Finding(NamedTuple):
    """``found`` is what there is, ``remedy`` one line for what would be better; empty when all is well."""

    name: str
    state: str
    found: str
    remedy: str = ""


def examine(user: int) -> list[Finding]:
    """All findings for an engine of ``user`` (0: root's), in the order in which an engine needs things."""
    checks: list[Callable[[int], Finding]] = [_kernel, _overlay, _cgroups, _settings_of_the_kernel]
    if user or not _may_mount():
        checks += [_user_namespaces, _ranges, _way_out]
    checks += [_firewall, _security_modules, _seccomp, _run_directory, _disk, _registry]
    return [check(user) for check in checks]


def _kernel(_user: int) -> Finding:
    release = os.uname().release
    parts = release.split(".")
    number = (int(parts[0]), int("".join(filter(str.isdigit, parts[1].partition("-")[0])) or 0))
    if number >= _LEAST_KERNEL:
        return Finding("kernel", OK, release)
    return Finding("kernel", MISSING, release, "Linux 5.11 or newer is needed")


def _overlay(_user: int) -> Finding:
    place = paths.data_root()
    begun = _read(f"{place}/storage-driver").strip()
    kind = _file_system(place)
    if begun == "vfs" or (not begun and kind in ("overlay", *_NETWORK_FILE_SYSTEMS)):
        said = "layers and containers are copies (driver vfs)" if begun else "layers and containers will be copies"
        remedy = "another data root (RUNDLET_ROOT) on a local disk; in a container: on a volume"
        return Finding("overlay", DEGRADED, f"{place} on {kind}: {said}", remedy)
    if "overlay" in _read("/proc/filesystems").split() or os.path.isdir("/sys/module/overlay"):
        return Finding("overlay", OK, "overlayfs")
    return Finding("overlay", DEGRADED, "overlayfs is not loaded", "as root: modprobe overlay")


def _cgroups(user: int) -> Finding:
    unified, hierarchies, writable = _cgroup_mounts()
    if not user and (unified or hierarchies) and not (writable and _may_mount()):
        return Finding(
            "cgroups",
            DEGRADED,
            f"version {1 if hierarchies else 2}, not to be written to in this container: no limits",
            "start this container with --privileged",
        )
    if not user:
        if not unified and not hierarchies:
            return Finding(
                "cgroups", DEGRADED, "no control groups are mounted: no limits", "mount them, or run systemd"
            )
        if hierarchies:
            return Finding("cgroups", OK, f"version 1 ({hierarchies} hierarchies)")
        return Finding("cgroups", OK, f"version 2 ({_read(unified + '/cgroup.controllers').strip()})")
    if hierarchies or not unified:
        return Finding(
            "cgroups",
            DEGRADED,
            "version 1, which can't be handed to an ordinary user: no limits",
            "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)",
        )
    given = _delegated(unified, user)
    if given is None:
        return Finding(
            "cgroups",
            DEGRADED,
            "version 2, but no group is delegated to this user: no limits",
            "log in through systemd (a user session, or loginctl enable-linger)",
        )
    lacking = [name for name in _CONTROLLERS if name not in given]
    if not lacking:
        return Finding("cgroups", OK, f"version 2, delegated ({' '.join(given)})")
    return Finding(
        "cgroups",
        DEGRADED,
        f"version 2, delegated, but without {' '.join(lacking)}",
        "as root: /etc/systemd/system/user@.service.d/delegate.conf with [Service] Delegate=cpu cpuset io memory pids",
    )


def _settings_of_the_kernel(_user: int) -> Finding:
    name = "/proc/sys"
    if os.path.exists(name) and os.statvfs(name).f_flag & os.ST_RDONLY:
        remedy = "start this container with --security-opt systempaths=unconfined, or --privileged"
        return Finding(name, MISSING, "read-only in this container: no networks", remedy)
    return Finding(name, OK, "the kernel's own")


def _may_mount() -> bool:
    """Whether root here has the rights that an engine needs, which root in a container may lack."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16) & _NEEDED == _NEEDED
    return True


def _cgroup_mounts() -> tuple[str, int, bool]:
    """Where version 2 is mounted, how many hierarchies of version 1 limit something, whether all can be written to."""
    unified, hierarchies, writable = "", 0, True
    for line in _read("/proc/self/mounts").splitlines():
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup2":
            unified = unified or place
        elif kind == "cgroup" and "name=" not in options:
            hierarchies += 1
        if kind in ("cgroup", "cgroup2"):
            writable = writable and "rw" in options.split(",")
    return unified, hierarchies, writable


def _delegated(unified: str, user: int) -> list[str] | None:
    """The controllers of the user manager's group; None when this user has none."""
    place = f"{unified}/user.slice/user-{user}.slice/user@{user}.service"
    if not os.access(f"{place}/cgroup.procs", os.W_OK):
        return None
    return _read(f"{place}/cgroup.controllers").split()


def _user_namespaces(_user: int) -> Finding:
    for name, bad, remedy in (
        ("user/max_user_namespaces", "0", "as root: sysctl user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "as root: sysctl kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with userns for "
            "Python",
        ),
    ):
        if _read(f"/proc/sys/{name}").strip() == bad:
            return Finding("user namespaces", MISSING, f"{name.replace('/', '.')} is {bad}", remedy)
    if not os.path.exists("/proc/self/ns/user"):
        return Finding("user namespaces", MISSING, "not in this kernel", "a kernel with CONFIG_USER_NS")
    child = os.fork()
    if child == 0:
        os._exit(_unshare())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        return Finding(
            "user namespaces",
            MISSING,
            f"refused ({os.strerror(status)})",
            "this is a container whose profile forbids them: start it with --security-opt seccomp=unconfined",
        )
    return Finding("user namespaces", OK, "allowed")


def _unshare() -> int:
    """Try it, in a child; the error's number. Python before 3.12 has no word for it: unshare(1) has."""
    import errno

    try:
        if hasattr(os, "unshare"):
            os.unshare(0x10000000)
            return 0
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.execvp("unshare", ["unshare", "--user", "true"])
    except FileNotFoundError:
        return 0  # nobody to ask: the engine's start will say
    except OSError as exc:
        return exc.errno or errno.EPERM


def _ranges(user: int) -> Finding:
    name = "user ranges"
    own = [_own_range(path, user) for path in ("/etc/subuid", "/etc/subgid")]
    who = _names(user)[0]
    if not all(own):
        return Finding(
            name,
            DEGRADED,
            "none in /etc/subuid and /etc/subgid: containers have one user",
            f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}",
        )
    if overlap := _overlap("/etc/subuid", user) or _overlap("/etc/subgid", user):
        remedy = f"as root: give each user ranges of their own (usermod --add-subuids, --add-subgids, {who})"
        return Finding(name, MISSING, overlap, remedy)
    if not (_program("newuidmap") and _program("newgidmap")):
        return Finding(name, DEGRADED, "no newuidmap: containers have one user", "as root: apt install uidmap")
    return Finding(name, OK, f"{min(own)} users")


def _own_range(path: str, user: int) -> int:
    mine = _names(user)
    return sum(length for owner, _start, length in _ranges_of(path) if owner in mine)


def _overlap(path: str, user: int) -> str:
    """A range of somebody else that has a part of this user's: no engine starts with that. Empty without one."""
    mine, table = _names(user), _ranges_of(path)
    for owner, start, length in table:
        for other, first, number in table:
            if owner in mine and other not in mine and first < start + length and start < first + number:
                return f"{path}: {owner}:{start}:{length} overlaps {other}:{first}:{number}"
    return ""


def _names(user: int) -> tuple[str, str]:
    """How the tables of ranges call the user."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name, str(user)
    except KeyError:
        return str(user), str(user)


def _ranges_of(path: str) -> list[tuple[str, int, int]]:
    fields = [line.split(":") for line in _read(path).splitlines()]
    return [
        (line[0], int(line[1]), int(line[2]))
        for line in fields
        if len(line) == 3 and line[1].isdigit() and line[2].isdigit()
    ]


def _way_out(_user: int) -> Finding:
    for name in ("pasta", "slirp4netns"):
        if found := _program(name):
            return Finding("network", OK, found)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return Finding(
            "network",
            DEGRADED,
            "neither pasta nor slirp4netns, and no /dev/net/tun: containers can't reach out",
            "as root: apt install passt; and /dev/net/tun for every user (chmod 666 /dev/net/tun)",
        )
    return Finding("network", DEGRADED, "the engine's own forwarder", "as root: apt install passt")


def _firewall(user: int) -> Finding:
    if not user:
        if os.path.isdir("/sys/module/nf_tables") or os.path.exists("/proc/net/netfilter"):
            return Finding("firewall", OK, "nf_tables")
        return Finding("firewall", DEGRADED, "nf_tables is not loaded", "as root: modprobe nf_tables")
    return Finding("firewall", OK, "a namespace's own")


def _security_modules(_user: int) -> Finding:
    active = _read("/sys/kernel/security/lsm").strip().split(",")
    found = [name for name in ("apparmor", "selinux") if name in active]
    if "selinux" in found and _read("/sys/fs/selinux/enforce").strip() == "1":
        return Finding("security modules", OK, "SELinux, enforcing")
    return Finding("security modules", OK, ", ".join(found) or "none that confines")


def _seccomp(_user: int) -> Finding:
    if os.path.exists("/proc/sys/kernel/seccomp"):
        return Finding("seccomp", OK, "filters")
    return Finding("seccomp", DEGRADED, "no filters", "a kernel with CONFIG_SECCOMP_FILTER")


def _run_directory(user: int) -> Finding:
    try:
        place = paths.run_directory()
    except CommandError as exc:
        return Finding("run directory", MISSING, exc.message, "set XDG_RUNTIME_DIR, or RUNDLET_RUN")
    if user and place == f"/tmp/rundlet-{user}":
        return Finding(
            "run directory",
            DEGRADED,
            f"{place} (there is no $XDG_RUNTIME_DIR)",
            "log in through a session manager, or as root: loginctl enable-linger",
        )
    return Finding("run directory", OK, place)


def _disk(_user: int) -> Finding:
    place = paths.data_root()
    there = place
    while not os.path.exists(there):
        there = os.path.dirname(there)
    kind = _file_system(there)
    status = os.statvfs(there)
    free = status.f_bavail * status.f_frsize
    found = f"{place} on {kind}, {free / (1 << 30):.1f} GiB free"
    if kind in _NETWORK_FILE_SYSTEMS:
        return Finding("disk", DEGRADED, found, "overlayfs needs a local disk: set RUNDLET_ROOT to a directory on one")
    if free < _LEAST_FREE:
        return Finding("disk", DEGRADED, found, "rundlet system prune, or RUNDLET_ROOT on a disk with room")
    if not os.access(there, os.W_OK):
        return Finding("disk", MISSING, f"{there} can't be written to", "set RUNDLET_ROOT to a directory of your own")
    return Finding("disk", OK, found)


def _file_system(place: str) -> str:
    best, kind = "", "unknown"
    for line in _read("/proc/self/mounts").splitlines():
        _, target, found = line.split()[:3]
        if (place + "/").startswith(target.rstrip("/") + "/") and len(target) >= len(best):
            best, kind = target, found
    return kind


def _registry(_user: int) -> Finding:
    import socket

    host, port = _REGISTRY
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy:
        return Finding("registry", OK, f"asked through the proxy {proxy.rpartition('@')[2]}")
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as exc:
        return Finding(
            "registry",
            DEGRADED,
            f"{host}: {exc.strerror or exc}",
            "a registry mirror in daemon.json, a proxy (HTTPS_PROXY), or images by rundlet load",
        )
    return Finding("registry", OK, host)


def _program(name: str) -> str:
    """Its path; empty when it is not on PATH or where the system keeps it."""
    for directory in [*os.environ.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"]:
        path = f"{directory}/{name}"
        if directory and os.access(path, os.X_OK):
            return path
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
