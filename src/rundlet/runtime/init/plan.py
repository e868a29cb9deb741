"""From an OCI configuration to the list of steps that init executes. Made by the shim, before anything is cloned."""

import os
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import caps, libc, ns
from rundlet.runtime.init import devices, mounts, options, paths, program, rights, users
from rundlet.runtime.init.steps import Context, Step

Config = Mapping[str, Any]

_DEFAULT_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_DEFAULT_NODES: Final = tuple(
    devices.Node(f"/dev/{name}", "c", major, minor, 0o666, 0, 0)
    for name, major, minor in (
        ("null", 1, 3),
        ("random", 1, 8),
        ("full", 1, 7),
        ("tty", 5, 0),
        ("zero", 1, 5),
        ("urandom", 1, 9),
    )
)
_PTMX: Final = "/dev/ptmx"  # always the link into the container's own devpts, never the host's node
_UMASK: Final = 0o022


class User(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]


class CgroupView(NamedTuple):
    """What the container's /sys/fs/cgroup is made of.

    Version 1 only uses the lists of :class:`MountCgroupTree`, version 2 only ``unified``: the options of the machine's
    own mount. All mounts of cgroup v2 share them, and one that is made in the machine's cgroup namespace sets them.
    """

    version: int
    hierarchies: tuple[tuple[str, str], ...] = ()
    binds: tuple[tuple[str, int], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    unified: tuple[str, ...] = ()


class Prepared(NamedTuple):
    """What the shim made ready: descriptors, and facts that it looked up.

    ``binds``: for each bind mount of the configuration, by its position, the descriptor of its source.
    ``namespaces``: those to join, as descriptor and CLONE_* flag. ``join``: files of the cgroup that "0" is written to.
    ``tree`` is the root's mount, attached nowhere yet, where init begins in a user namespace of the container's own.
    """

    rootfs: str
    user: User
    binds: Mapping[int, int]
    namespaces: Sequence[tuple[int, int]]
    join: Sequence[int]
    cgroup: CgroupView
    seccomp: bytes
    size: tuple[int, int]
    tree: int = -1

    def descriptors(self) -> tuple[int, ...]:
        """All that init must not close at once."""
        return (
            *self.binds.values(),
            *(fd for fd, _ in self.namespaces),
            *self.join,
            *(fd for _, fd in self.cgroup.binds),
            *((self.tree,) if self.tree >= 0 else ()),
        )


class JoinCgroup(NamedTuple):
    """Init moves itself: 36 times cheaper than being moved."""

    fds: tuple[int, ...]
    step: str = "cgroup"

    def describe(self) -> str:
        return f"join {len(self.fds)} cgroups"

    def execute(self, context: Context) -> None:
        for fd in self.fds:
            os.write(fd, b"0")
            os.close(fd)


class JoinNamespace(NamedTuple):
    fd: int
    flag: int
    step: str = "namespace"

    def describe(self) -> str:
        return f"join namespace {self.flag:#x}"

    def execute(self, context: Context) -> None:
        libc.setns(self.fd, self.flag)
        os.close(self.fd)


class Unshare(NamedTuple):
    flag: int
    step: str = "namespace"

    def describe(self) -> str:
        return f"new namespace {self.flag:#x}"

    def execute(self, context: Context) -> None:
        libc.unshare(self.flag)


class NewSession(NamedTuple):
    """A session of its own, and a keyring that holds nothing of the host's."""

    keyring: str
    step: str = "session"

    def describe(self) -> str:
        return "new session and keyring"

    def execute(self, context: Context) -> None:
        os.setsid()
        try:
            libc.keyctl_join_session(self.keyring)
        except OSError:
            pass  # a kernel without keyrings has none to leak


def build(config: Config, name: str, prepared: Prepared) -> list[Step]:
    """The whole plan for ``config`` (an OCI config.json) of the container ``name``.

    Raises: ValueError for a value that no step can carry out.
    """
    process, linux = config["process"], config.get("linux", {})
    private = any(item["type"] == "cgroup" and not item.get("path") for item in linux.get("namespaces", ()))
    plan: list[Step] = [JoinCgroup(tuple(prepared.join))]
    plan += [JoinNamespace(fd, flag) for fd, flag in prepared.namespaces]
    plan.append(NewSession(f"_ses.{name}"))
    if private:
        plan.append(Unshare(ns.CLONE_NEWCGROUP))
    if prepared.tree >= 0:
        plan += [mounts.AttachRoot(prepared.tree), users.BecomeRoot()]
    else:
        if process.get("oomScoreAdj") is not None:
            plan.append(rights.OomScore(int(process["oomScoreAdj"])))
        plan.append(mounts.EnterRoot(prepared.rootfs, 0))
    plan += _mounts(config.get("mounts", ()), prepared, private)
    plan += _devices(config, prepared)
    plan.append(mounts.Pivot())
    plan += _after_pivot(config, linux)
    plan += process_steps(process, prepared.user, prepared.seccomp, create_cwd=True)
    return plan


def process_steps(process: Config, user: User, seccomp: bytes, *, create_cwd: bool) -> list[Step]:
    """The steps that init and exec share: limits, working directory, user, filter, capabilities."""
    capabilities = process.get("capabilities") or {}
    sets = {
        kind: caps.mask(capabilities.get(kind) or ())
        for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    plan: list[Step] = []
    limits = tuple(_limit(item) for item in process.get("rlimits") or ())
    if limits:
        plan.append(rights.SetLimits(limits))
    if process.get("apparmorProfile"):
        plan.append(rights.AppArmor(process["apparmorProfile"]))
    if process.get("selinuxLabel"):
        plan.append(rights.SELinux(process["selinuxLabel"]))
    plan.append(rights.EnterDirectory(process.get("cwd") or "/", create_cwd))
    umask = process.get("user", {}).get("umask")
    plan.append(
        rights.ChangeUser(user.uid, user.gid, user.groups, _UMASK if umask is None else umask, sets["bounding"])
    )
    quiet = bool(process.get("noNewPrivileges"))
    if seccomp and not quiet:
        plan.append(rights.Filter(seccomp))
    plan.append(
        rights.SetCapabilities(sets["effective"], sets["permitted"], sets["inheritable"], sets["ambient"]),
    )
    if quiet:
        plan.append(rights.NoNewPrivileges())
        if seccomp:
            plan.append(rights.Filter(seccomp))
    return plan


def unguarded(steps: Iterable[Step]) -> list[Step]:
    """The same steps for a process that is to outlive the one that starts it."""
    return [step._replace(guarded=False) if isinstance(step, rights.ChangeUser) else step for step in steps]


def _mounts(entries: Sequence[Config], prepared: Prepared, private: bool) -> list[Step]:
    plan: list[Step] = []
    for position, entry in enumerate(entries):
        wanted = options.parse(entry.get("options") or ())
        destination = entry["destination"]
        kind = entry.get("type") or ("bind" if wanted.bind else "")
        if position in prepared.binds:
            plan.append(
                mounts.MountBind(entry.get("source", ""), prepared.binds[position], destination, wanted),
            )
        elif kind == "proc":
            plan.append(mounts.MountProc(destination, wanted))
        elif kind == "cgroup" and prepared.cgroup.version == 1:
            view = prepared.cgroup
            plan.append(
                mounts.MountCgroupTree(destination, wanted, private, view.hierarchies, view.binds, view.links),
            )
        else:
            if kind == "cgroup":
                kind = "cgroup2"
                wanted = wanted._replace(data=tuple((name, None) for name in prepared.cgroup.unified) + wanted.data)
            plan.append(mounts.MountFilesystem(kind, entry.get("source") or kind, destination, wanted))
    return plan


def _devices(config: Config, prepared: Prepared) -> list[Step]:
    process, linux = config["process"], config.get("linux", {})
    own_dev = any(entry["destination"] == "/dev" and entry.get("type") == "bind" for entry in config.get("mounts", ()))
    nodes = tuple(_node(item) for item in linux.get("devices") or () if item["path"] != _PTMX)
    named = {node.path for node in nodes}
    nodes += tuple(node for node in _DEFAULT_NODES if node.path not in named)
    # Nothing is made in a directory of the user's own, but its /dev/null is looked for: files are covered with it.
    plan: list[Step] = [devices.MakeDevices(() if own_dev else nodes)]
    if not own_dev:
        plan.append(devices.LinkDevices(_links()))
    if process.get("terminal"):
        rows, columns = prepared.size
        plan.append(devices.OpenTerminal(rows, columns, prepared.user.uid, not own_dev))
    return plan


def _links() -> tuple[tuple[str, str], ...]:
    core = (("core", "/proc/kcore"),) if os.path.exists("/proc/kcore") else ()
    return _DEFAULT_LINKS + core


def _after_pivot(config: Config, linux: Config) -> list[Step]:
    plan: list[Step] = []
    if config.get("hostname") or config.get("domainname"):
        plan.append(program.SetHostname(config.get("hostname") or "", config.get("domainname") or ""))
    if linux.get("sysctl"):
        namespaces = {item["type"] for item in linux.get("namespaces", ())}
        for key in linux["sysctl"]:
            program.check_sysctl(key, namespaces)
        plan.append(program.Sysctls(tuple(linux["sysctl"].items())))
    if linux.get("readonlyPaths"):
        plan.append(paths.ReadonlyPaths(tuple(linux["readonlyPaths"])))
    if linux.get("maskedPaths"):
        plan.append(paths.MaskPaths(tuple(linux["maskedPaths"])))
    propagation = options.parse([linux["rootfsPropagation"]] if linux.get("rootfsPropagation") else [])
    if propagation.propagation:
        plan.append(mounts.RootPropagation(propagation.propagation, propagation.propagation_recursive))
    if config.get("root", {}).get("readonly"):
        plan.append(mounts.ReadonlyRoot())
    return plan


def _node(item: Config) -> devices.Node:
    return devices.Node(
        item["path"],
        item["type"],
        item.get("major", 0),
        item.get("minor", 0),
        item.get("fileMode") or 0o666,
        item.get("uid") or 0,
        item.get("gid") or 0,
    )


def _limit(item: Config) -> tuple[int, int, int]:
    number = getattr(resource, item["type"], None)
    if number is None:
        raise ValueError(f"invalid rlimit type: {item['type']}")
    return number, _infinite(item["soft"]), _infinite(item["hard"])


def _infinite(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value
