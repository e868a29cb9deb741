"""One container's cgroup: made, joined, limited, frozen, emptied, removed.

An object holds no state but its path, so the shim that made a cgroup and the engine that reads its statistics each have
their own. Only directories of this very path are ever removed.
"""

import errno
import os
from collections.abc import Collection, Mapping
from typing import Any, Final

from rundlet.linux import inotify, libc, pidfd
from rundlet.linux.cgroup import freezer, stats
from rundlet.linux.cgroup.files import LACKING, below, wait_until, write
from rundlet.linux.cgroup.layout import V2, Layout
from rundlet.linux.cgroup.limits import Limits
from rundlet.linux.cgroup.places import Places

_FREEZING: Final = 10.0  # seconds
_EMPTYING: Final = 2.0  # seconds for the last exits before a removal
_SIGKILL: Final = 9


class Cgroup(Places):
    """The cgroup ``path`` ("/rundlet-1234abcd/<id>") in every hierarchy of ``layout``."""

    __slots__ = ()

    def create(self, resources: Mapping[str, Any], strict: Collection[str] = (), *, managed: bool = False) -> list[str]:
        """Make the cgroup with the limits of OCI's ``linux.resources`` and return warnings.

        A controller or a right that is missing costs a warning, or, if the controller (v1's or v2's name) is in
        ``strict``, an error; a device policy that can't be enforced is an error. What is half made is removed then,
        unless it is ``managed``: systemd made it, and takes it away when the last process has left.

        Raises: OSError; ValueError for limits that contradict each other.
        """
        limits = Limits(self, strict)
        try:
            limits.make()
            limits.apply(resources, new=True)
        except BaseException:
            if not managed:
                self.remove()
            raise
        return limits.warnings

    def update(self, resources: Mapping[str, Any], strict: Collection[str] = ()) -> list[str]:
        """Change the limits that ``resources`` names and leave the others; warnings and errors as :meth:`create`."""
        limits = Limits(self, strict)
        limits.apply(resources, new=False)
        return limits.warnings

    # Joining

    def join_fds(self, *, unified: bool = True) -> list[int]:
        """Descriptors (close-on-exec, write only): a single-threaded process that writes ``b"0"`` to each has joined.

        Without ``unified`` the v2 directory is left out, for a process that is cloned into :meth:`clone_fd`: joining
        by writing waits for the whole machine there (milliseconds), being born there costs nothing.

        Raises: OSError.
        """
        # v1's "tasks" moves one thread and so needs none of the locks that cgroup.procs takes.
        names = [f"{hierarchy.mountpoint}{self.path}/tasks" for hierarchy in self.layout.hierarchies]
        if unified and self.unified is not None:
            names.append(f"{self.unified}/cgroup.procs")
        fds: list[int] = []
        try:
            for name in names:
                try:
                    fds.append(os.open(name, os.O_WRONLY | os.O_CLOEXEC))
                except FileNotFoundError:
                    if os.path.isdir(os.path.dirname(name)):
                        raise
                    # A hierarchy in which create() could make nothing, and has said so.
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def clone_fd(self, beside: int | None = None) -> int | None:
        """A descriptor of the v2 directory for ``libc.clone3(cgroup_fd=…)``; None without v2.

        ``beside`` is a process of the container: if it has moved to a cgroup of its own below (as systemd in a
        container does, which makes this one refuse members) that one is taken.
        """
        directory = self.unified
        if directory is None:
            return None
        if beside is not None:
            directory = self._directory_of(beside) or directory
        try:
            return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None

    def _directory_of(self, process: int) -> str | None:
        for line in stats.read_text(f"/proc/{process}/cgroup").splitlines():
            number, _, path = line.split(":", 2)
            path = path.removeprefix(self.layout.base)
            if number == "0" and (path == self.path or path.startswith(f"{self.path}/")):
                return f"{self.layout.unified}{path}"
        return None

    # Members

    def pids(self) -> list[int]:
        """The processes in this cgroup and those below it, in any hierarchy; none when it is gone."""
        found: set[int] = set()
        for directory in self.directories:
            found |= _members(directory)
        return sorted(found)

    def populated(self) -> bool:
        """Whether any live process is left in it."""
        if self.layout.version == V2:
            return "populated 1" in stats.read_text(f"{self.unified}/cgroup.events").splitlines()
        return bool(self.pids())

    def kill(self) -> None:
        """SIGKILL every process in it and below it, and see to it that none slips away by forking.

        Returns without waiting for their end; a frozen cgroup is thawed, for v1 delivers nothing to it.
        """
        killed = self._kill_at_once()
        if not (killed and self.layout.version == V2):
            # cgroup.kill, where there is one, can't know who was moved out of the v2 directory; nobody may fork between
            # our reading of the members and the signals, so they are frozen meanwhile, or asked again and again.
            rounds = 1 if killed or self._frozen_quietly() else 16
            for _ in range(rounds):
                members = self.pids()
                for process in members:
                    _kill(process)
                if not members:
                    break
        try:
            self.thaw()
        except OSError:
            pass  # gone already, or no freezer

    def _kill_at_once(self) -> bool:
        if self.unified is None:
            return False
        try:
            write(f"{self.unified}/cgroup.kill", "1")
        except OSError as exc:
            if exc.errno not in LACKING and exc.errno != errno.ENODEV:
                raise
            return False
        return True

    def _frozen_quietly(self) -> bool:
        try:
            self.freeze(timeout=1.0)
        except OSError:
            return False
        return True

    def freeze(self, timeout: float = _FREEZING) -> None:
        """Stop all processes; returns when they have stopped.

        Raises: OSError(ETIMEDOUT), thawed again, when that takes longer than ``timeout`` seconds; FileNotFoundError
        without a freezer.
        """
        freezer.freeze(self, timeout)

    def thaw(self) -> None:
        """Let frozen processes go on; no error if they were not frozen."""
        freezer.thaw(self)

    def frozen(self) -> bool:
        """Whether all its processes have stopped."""
        return freezer.frozen(self)

    # Accounts

    def stats(self) -> stats.Stats:
        """What it has used so far; zeros for what is missing or gone."""
        read = stats.file_reader(self.directory)
        return stats.read_v2(read) if self.layout.version == V2 else stats.read_v1(read)

    def oom_kill_count(self) -> int:
        """How many processes the kernel has killed here for lack of memory."""
        return self._memory_events().get("oom_kill", 0)

    def waits_for_memory(self) -> bool:
        """Whether processes stand still here for lack of memory, as the kernel is not to kill (v1)."""
        return bool(self._memory_events().get("under_oom"))

    def _memory_events(self) -> dict[str, int]:
        file = "memory.events" if self.layout.version == V2 else "memory.oom_control"
        return stats.pairs(stats.read_text(f"{self.directory('memory')}/{file}"))

    def oom_event_fd(self) -> int:
        """A descriptor that gets readable when memory ran out here; then ask :meth:`oom_kill_count`, and read it empty.

        It gets readable for other reasons, too (v1: the cgroup's removal).

        Raises: FileNotFoundError without the memory controller.
        """
        directory = self.directory("memory")
        if directory is None:
            raise libc.error(errno.ENOENT, "memory")
        if self.layout.version == V2:
            return _watch(f"{directory}/memory.events")
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                write(f"{directory}/cgroup.event_control", f"{event} {control}")
            finally:
                os.close(control)
        except OSError:
            os.close(event)
            raise
        return event

    # The end

    def remove(self, *, managed: bool = False) -> None:
        """Remove the cgroup everywhere, with the empty ones that the container made below it. It may be gone already.

        One that is ``managed`` only gets empty: systemd removes it when it is told so by the kernel, and would not be
        told of one that has gone.

        Raises: OSError(EBUSY) when processes are left two seconds later.
        """
        if managed:
            if not wait_until(lambda: not self.populated(), _EMPTYING):
                raise libc.error(errno.EBUSY, self.unified or self.path)
            return
        left = self.directories

        def removed() -> bool:
            left[:] = [directory for directory in left if not _removed(directory)]
            return not left

        if not wait_until(removed, _EMPTYING):
            raise libc.error(errno.EBUSY, left[0])


def remove_if_empty(path: str, layout: Layout) -> None:
    """Remove the cgroup ``path`` (the parent of an engine's containers) in each hierarchy where it has become empty."""
    for directory in Cgroup(path, layout).directories:
        _rmdir(directory)


def _members(directory: str) -> set[int]:
    found: set[int] = set()
    for place in (directory, *below(directory)):
        found.update(int(line) for line in stats.read_text(f"{place}/cgroup.procs").split())
    found.discard(0)  # processes outside our PID namespace
    return found


def _kill(process: int) -> None:
    try:
        descriptor = pidfd.open(process)
    except OSError:
        return
    try:
        pidfd.send_signal(descriptor, _SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _watch(path: str) -> int:
    descriptor = inotify.init()
    try:
        inotify.add_watch(descriptor, path, inotify.IN_MODIFY)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _removed(directory: str) -> bool:
    """Remove the cgroup and those below it, bottom up; False while one of them is busy."""
    if _rmdir(directory):
        return True  # nearly always this is all there is to do
    for place in below(directory):
        _rmdir(place)
    return _rmdir(directory)


def _rmdir(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as exc:
        if exc.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        # A hierarchy that we may not write to answers so even for what was never made there.
        if os.path.isdir(directory):
            raise
    return True
