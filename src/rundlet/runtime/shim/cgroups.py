"""The container's control group as the shim uses it: made, joined, watched for OOM, removed."""

import os
from collections.abc import Mapping
from typing import Any

from rundlet.linux import inotify, libc, mount, systemd
from rundlet.linux.cgroup import Cgroup, Layout, detect, managed, unified_options
from rundlet.linux.cgroup.units import properties
from rundlet.runtime.init.plan import CgroupView

_layout: Layout | None = None


def layout() -> Layout:
    """Looked up once: the launcher's warm-up does it for all shims."""
    global _layout  # noqa: PLW0603
    if _layout is None:
        _layout = detect()
    return _layout


class ContainerCgroup:
    """The group of one container. ``scope``, in its specification: systemd makes it, see :func:`systemd.start`."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._strict = frozenset(spec["cgroup"].get("strict") or ())
        self._scope: Mapping[str, Any] | None = spec["cgroup"].get("scope")
        self._layout = layout() if self._scope is None else managed(self._scope["base"])
        self.group = Cgroup(spec["cgroup"]["path"], self._layout)
        self._oom_before = 0
        self._ran_out = False
        self.watch = -1

    @property
    def renewed(self) -> bool:
        """Whether each life has a group of its own, by the same name."""
        return self._scope is not None

    def create(self, resources: Mapping[str, Any], member: int = 0) -> list[str]:
        """Make it with OCI's ``linux.resources``; returns warnings. A scope needs a ``member``: 0 is this process.

        Raises: OSError for a limit that the user asked for and the kernel refuses; ValueError, also when systemd
        refuses.
        """
        if self._scope is not None:
            systemd.start(self._scope, member or os.getpid(), properties(resources))
        return list(self.group.create(resources, self._strict, managed=self._scope is not None))

    def restarted(self) -> None:
        """What the kernel killed so far was a former life's."""
        self._oom_before = self.group.oom_kill_count()
        self._ran_out = False

    def join_fds(self) -> list[int]:
        """Files of the v1 hierarchies that "0" is written to; the v2 directory is joined by being born there."""
        return self.group.join_fds(unified=False)

    def birth_fd(self, beside: int | None = None) -> int:
        """The v2 directory to clone into, or -1. ``beside``: a process of the container."""
        fd = self.group.clone_fd(beside)
        return -1 if fd is None else fd

    def view(self, *, private: bool) -> CgroupView:
        """What the container's /sys/fs/cgroup shows. Descriptors in it are for init to mount."""
        found = self._layout
        if not found.hierarchies:
            return CgroupView(2, unified=() if private else unified_options())
        hierarchies: list[tuple[str, str]] = []
        links: list[tuple[str, str]] = []
        binds: list[tuple[str, int]] = []
        for hierarchy in found.hierarchies:
            name = os.path.basename(hierarchy.mountpoint)
            if private:
                hierarchies.append((name, ",".join(_options(hierarchy.controllers))))
            else:
                own = f"{hierarchy.mountpoint}{self.group.path}"
                binds.append((name, mount.open_tree(libc.AT_FDCWD, own, mount.OPEN_TREE_CLONE)))
            links += [(one, name) for one in hierarchy.controllers if "=" not in one and one != name]
        return CgroupView(1, tuple(hierarchies), tuple(binds), tuple(links))

    def oom_killed(self, *, killed: bool = False) -> bool:
        """Whether the kernel killed something in this group for want of memory in this life.

        A scope may have gone with its last process, before anybody looked. Then it counts that memory ran out, as the
        watch says, and that the program was ``killed``.
        """
        try:
            if self._scope is not None and not self.group.exists():
                return killed and (self._ran_out or self._noticed())
            return self.group.oom_kill_count() > self._oom_before
        except OSError:
            return False

    def _noticed(self) -> bool:
        """Take the watch's notices; whether there is one of memory that ran out, and not only of the group's end."""
        if self.watch < 0:
            return False
        return any(event.mask & inotify.IN_MODIFY for event in inotify.read_events(self.watch))

    def memory_event(self) -> bool:
        """The watch has something to say: whether memory ran out, so that something was killed or waits."""
        noticed = self._noticed() if self._scope is not None else bool(os.read(self.watch, 4096))
        found = self.out_of_memory()
        if found or (noticed and not self.group.exists()):
            self._ran_out = True
        return found

    def out_of_memory(self) -> bool:
        """Whether it has, or wants to and may not."""
        try:
            return self.oom_killed() or self.group.waits_for_memory()
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to everything in the group."""
        self.group.kill()

    def remove(self) -> None:
        """Raises: OSError while something is still in it."""
        self.group.remove(managed=self._scope is not None)


def _options(controllers: tuple[str, ...]) -> list[str]:
    """mount(2) options of a hierarchy; one that has a name only also needs "none"."""
    return list(controllers) if any("=" not in name for name in controllers) else ["none", *controllers]
