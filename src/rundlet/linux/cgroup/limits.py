"""Make a cgroup and set its limits; what is missing becomes a warning, unless the user asked for it.

A controller or a right that is missing costs a warning, or, if the controller (by v1's or v2's name) is in ``strict``,
an error. A device policy that can't be enforced is an error always (but see :func:`_set_devices`).
"""

import errno
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from rundlet.linux import bpf, libc, userns
from rundlet.linux.cgroup import devices, settings, stats
from rundlet.linux.cgroup.files import LACKING, write, write_lines
from rundlet.linux.cgroup.layout import V2
from rundlet.linux.cgroup.places import Places

_V2_CONTROLLERS: Final = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")

_TIMES: Final = {"cpu.cfs_period_us": "cpu.cfs_quota_us", "cpu.rt_period_us": "cpu.rt_runtime_us"}
_WEIGHTS: Final = (
    ("blkio.weight", "blkio.bfq.weight"),
    ("blkio.weight_device", "blkio.bfq.weight_device"),
    ("io.weight", "io.bfq.weight"),
)


class Limits:
    """One round of changes to one cgroup; ``warnings`` collects what could not be done."""

    __slots__ = ("_places", "_strict", "warnings")

    def __init__(self, places: Places, strict: Collection[str]) -> None:
        self._places = places
        self._strict = frozenset(strict)
        self.warnings: list[str] = []

    def make(self) -> None:
        """Make the directories, and on v2 hand the controllers down to them."""
        path = self._places.path
        for controllers, mountpoint in self._places.layout.hierarchies:
            if "cpuset" in controllers:
                self._attempt(controllers, _make_cpuset, mountpoint, path)
            else:
                self._attempt(controllers, _make, mountpoint + path)
        if self._places.unified is not None:
            self._attempt(("unified",), _make, self._places.unified)
        if self._places.layout.version == V2:
            self._delegate()

    def apply(self, resources: Mapping[str, Any], new: bool) -> None:
        """Set the limits of OCI's ``linux.resources``; those that it doesn't name stay.

        Raises: OSError; ValueError for limits that contradict each other.
        """
        if self._places.layout.version == V2:
            wanted, discarded = settings.v2_settings(resources)
            self.warnings += discarded
            self._check_usage(resources)
        else:
            wanted = settings.v1_settings(resources)
            if not new:
                wanted = self._reorder(wanted)
        self._set_all(wanted)
        # In a user namespace nobody can make a device node, so there is nothing to forbid (nor a right to).
        if resources.get("devices") and userns.INITIAL:
            self._set_devices(devices.policy(resources["devices"]), new)

    def _delegate(self) -> None:
        """Have each ancestor pass the controllers on to its children."""
        layout = self._places.layout
        place = layout.unified
        assert place is not None
        have = stats.read_text(f"{self._places.unified}/cgroup.controllers").split()
        wanted = [name for name in _V2_CONTROLLERS if name in layout.unified_controllers and name not in have]
        if not wanted:
            return
        for part in self._places.path.strip("/").split("/"):
            control = f"{place}/cgroup.subtree_control"
            present = stats.read_text(control).split()
            for name in wanted:
                if name not in present:
                    # One by one: an ancestor that can't pass on one controller may well pass on the others. EBUSY: it
                    # has processes of its own.
                    self._attempt((name,), write, control, f"+{name}", also=errno.EBUSY)
            place = f"{place}/{part}"

    def _set_all(self, wanted: list[settings.Setting]) -> None:
        """Of a period and its time one may only fit when the other is set, below a parent with limits of its own."""
        files, later = {setting.file for setting in wanted}, list[settings.Setting]()
        for setting in wanted:
            try:
                self._set(setting)
            except OSError as exc:
                if exc.errno != errno.EINVAL or _TIMES.get(setting.file) not in files:
                    raise
                later.append(setting)
        for setting in later:
            self._set(setting)

    def _set(self, setting: settings.Setting) -> None:
        directory = self._places.directory(setting.controller)
        if directory is None:
            if setting.controller in self._strict:
                raise OSError(errno.ENOENT, "no such cgroup controller", setting.controller)
            self._warn(setting.file)
            return
        path = _existing(directory, setting.file)
        self._attempt((setting.controller,), write, path, setting.value)

    def _check_usage(self, resources: Mapping[str, Any]) -> None:
        memory = resources.get("memory") or {}
        limit = memory.get("limit") or -1
        if memory.get("checkBeforeUpdate") and limit > 0:
            path = f"{self._places.unified}/memory.current"
            if int(stats.read_text(path) or 0) > limit:
                raise libc.error(errno.EBUSY, path)

    def _reorder(self, wanted: list[settings.Setting]) -> list[settings.Setting]:
        """v1 refuses a memory limit above memory+swap's: when both grow, the latter has to go first."""
        files = [setting.file for setting in wanted]
        both = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if settings.Setting("memory", both[0], "-1") in wanted and both[1] not in files:
            # Without a limit there can't be one for both together.
            if os.path.exists(f"{self._places.directory('memory')}/{both[1]}"):
                wanted = [settings.Setting("memory", both[1], "-1"), *wanted]
            return wanted
        if not all(name in files for name in both):
            return wanted
        first, second = (files.index(name) for name in both)
        swap = int(wanted[second].value)
        present = int(stats.read_text(f"{self._places.directory('memory')}/{both[1]}") or 0)
        if swap < 0 or swap > present:
            wanted[first], wanted[second] = wanted[second], wanted[first]
        return wanted

    def _set_devices(self, policy: devices.Policy, new: bool) -> None:
        """Enforce a device policy, by the v1 controller or by a program on the v2 directory.

        In a user namespace neither is allowed, nor needed: device nodes can't be made there. That costs a warning.
        """
        try:
            directory = self._places.layout.mountpoint("devices")
            if directory is not None:
                _set_v1_devices(policy, directory + self._places.path, new)
            elif self._places.unified is not None:
                _set_v2_devices(policy, self._places.unified)
            elif not policy.allows_everything:
                raise OSError(errno.ENOENT, "no device controller", "devices")
        except OSError as exc:
            if exc.errno not in LACKING or not (_in_user_namespace() or policy.allows_everything):
                raise
            self._warn("device access control")

    def _attempt(
        self, controllers: Collection[str], action: Callable[..., None], *arguments: str, also: int = errno.ENOENT
    ) -> None:
        """Do ``action(*arguments)``; an errno that means "not here" (or ``also``) ends as a warning."""
        try:
            action(*arguments)
        except OSError as exc:
            if (exc.errno not in LACKING and exc.errno != also) or not self._strict.isdisjoint(controllers):
                raise
            self._warn(os.path.basename(exc.filename or "cgroup"))

    def _warn(self, what: str) -> None:
        self.warnings.append(f"Your kernel does not support {what} or the cgroup is not mounted. Limitation discarded.")


def _make(directory: str) -> None:
    """Make a cgroup and its parents. Another engine's clean-up may take an empty parent away meanwhile: try again."""
    for _ in range(8):
        try:
            os.makedirs(directory, exist_ok=True)
            return
        except FileNotFoundError:
            continue
    os.makedirs(directory, exist_ok=True)


def _make_cpuset(mountpoint: str, path: str) -> None:
    """Make a v1 cpuset, which takes no members before it has CPUs and memory nodes: its parent's, all the way down."""
    _make(mountpoint + path)
    directory = mountpoint
    for part in path.strip("/").split("/"):
        parent, directory = directory, f"{directory}/{part}"
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not stats.read_text(f"{directory}/{file}").strip():
                write(f"{directory}/{file}", stats.read_text(f"{parent}/{file}").strip())


def _existing(directory: str, file: str) -> str:
    """The file's path; weights have another name where the BFQ scheduler is what gives weights a meaning."""
    for name, other in _WEIGHTS:
        if file == name and not os.path.exists(f"{directory}/{file}") and os.path.exists(f"{directory}/{other}"):
            return f"{directory}/{other}"
    return f"{directory}/{file}"


def _set_v1_devices(policy: devices.Policy, directory: str, new: bool) -> None:
    if new:
        changes = devices.v1_lines(policy)
    else:
        changes = devices.v1_changes(policy, stats.read_text(f"{directory}/devices.list").splitlines())
    for file in dict.fromkeys(file for file, _ in changes):
        write_lines(f"{directory}/{file}", [line for name, line in changes if name == file])


def _set_v2_devices(policy: devices.Policy, directory: str) -> None:
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = bpf.attached(cgroup, bpf.ATTACH_CGROUP_DEVICE)
        if not policy.allows_everything:
            program = bpf.load(bpf.PROG_TYPE_CGROUP_DEVICE, devices.program(policy), "rundlet_devices")
            try:
                bpf.attach(cgroup, program, bpf.ATTACH_CGROUP_DEVICE)
            finally:
                os.close(program)
        # The old policy goes only now: between the two both must agree, so nothing opens by accident.
        bpf.detach_all(cgroup, bpf.ATTACH_CGROUP_DEVICE, before)
    finally:
        os.close(cgroup)


def _in_user_namespace() -> bool:
    return stats.read_text("/proc/self/uid_map").split() != ["0", "0", "4294967295"]
