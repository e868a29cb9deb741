"""Steps that take rights away, in the one order that works.

Bounding set; KEEPCAPS and the user; working directory; without no-new-privileges the filter, while SYS_ADMIN is still
held; capabilities; with no-new-privileges the filter last. PDEATHSIG comes after the change of user, which clears it.
"""

import errno
import os
import resource
import signal
from typing import Final, NamedTuple

from rundlet.linux import caps, libc, path, userns
from rundlet.runtime.init.steps import Context

NULL: Final = os.makedev(1, 3)


class SetLimits(NamedTuple):
    """``process.rlimits``: resource number, soft, hard."""

    limits: tuple[tuple[int, int, int], ...]
    step: str = "limit"

    def describe(self) -> str:
        return f"{len(self.limits)} resource limits"

    def execute(self, context: Context) -> None:
        for number, soft, hard in self.limits:
            try:
                resource.setrlimit(number, (soft, hard))
            except ValueError:
                # Python says this both for "not allowed" and for "soft above hard".
                bad = hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard)
                kind = errno.EINVAL if bad else errno.EPERM
                raise OSError(kind, os.strerror(kind), f"error setting rlimit type {number}") from None


class OomScore(NamedTuple):
    """How likely the kernel picks the container's processes when memory ends."""

    value: int
    step: str = "limit"

    def describe(self) -> str:
        return f"oom_score_adj {self.value}"

    def execute(self, context: Context) -> None:
        try:
            context.write_proc("self/oom_score_adj", str(self.value).encode())
        except PermissionError:
            if userns.INITIAL:
                raise  # where an ordinary user's processes have a higher score, as under systemd, they keep it


class AppArmor(NamedTuple):
    """The profile that takes effect at execve."""

    profile: str
    step: str = "apparmor"

    def describe(self) -> str:
        return f"AppArmor profile {self.profile}"

    def execute(self, context: Context) -> None:
        data = f"exec {self.profile}".encode()
        try:
            context.write_proc("thread-self/attr/apparmor/exec", data)
        except FileNotFoundError:  # no such file (an older kernel), or no such profile
            try:
                context.write_proc("thread-self/attr/exec", data)
            except FileNotFoundError as exc:
                exc.filename = f"unable to apply profile {self.profile}"
                raise


class SELinux(NamedTuple):
    """The label that takes effect at execve."""

    label: str
    step: str = "selinux"

    def describe(self) -> str:
        return f"SELinux label {self.label}"

    def execute(self, context: Context) -> None:
        context.write_proc("thread-self/attr/exec", self.label.encode())


class ChangeUser(NamedTuple):
    """From root to the container's user; capabilities are kept for the steps that still need them.

    ``guarded``: if the shim dies nobody watches this process any more: it dies, too.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    bounding: int
    guarded: bool = True
    step: str = "user"

    def describe(self) -> str:
        return f"user {self.uid}:{self.gid} groups {','.join(map(str, self.groups))}"

    def execute(self, context: Context) -> None:
        for fd in {context.stdin, context.stdout, context.stderr} - {-1}:
            self._own(fd)
        caps.drop_bounding(self.bounding)
        caps.keep_capabilities(True)
        if userns.GROUPS:
            os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        caps.keep_capabilities(False)
        os.umask(self.umask)
        if self.uid != 0:
            permitted = caps.get_capabilities()[1]
            caps.set_capabilities(permitted, permitted, 0)
        if self.guarded:
            libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)

    def _own(self, fd: int) -> None:
        """The user may open /dev/stdout again, as under runc; the machine's /dev/null stays the machine's."""
        try:
            if os.fstat(fd).st_rdev != NULL:
                os.fchown(fd, self.uid, self.gid)
        except OSError as exc:
            if exc.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                raise


class EnterDirectory(NamedTuple):
    """The working directory: made if missing, never outside the root (CVE-2024-21626)."""

    cwd: str
    create: bool
    step: str = "cwd"

    def describe(self) -> str:
        return f"working directory {self.cwd}"

    def execute(self, context: Context) -> None:
        if self.create:
            fd = path.makedirs_in_root(context.root, self.cwd)
        else:
            fd = path.open_in_root(context.root, self.cwd, os.O_PATH | os.O_DIRECTORY)
        os.fchdir(fd)
        os.close(fd)
        # The kernel's own word: libc would try to find a name for a directory that has none.
        if not os.readlink("self/cwd", dir_fd=context.proc()).startswith("/"):
            raise OSError(errno.EXDEV, "current working directory is outside of container", self.cwd)


class Filter(NamedTuple):
    """The compiled seccomp program."""

    program: bytes
    step: str = "seccomp"

    def describe(self) -> str:
        return f"seccomp filter of {len(self.program) // 8} instructions"

    def execute(self, context: Context) -> None:
        from rundlet.linux import seccomp

        seccomp.load(self.program)


class SetCapabilities(NamedTuple):
    """The final sets, as masks."""

    effective: int
    permitted: int
    inheritable: int
    ambient: int
    step: str = "rights"

    def describe(self) -> str:
        return f"capabilities {self.permitted:016x}"

    def execute(self, context: Context) -> None:
        # An engine that lacks a capability itself (in a container, say) can't give it.
        have = caps.get_capabilities()[1]
        caps.set_capabilities(self.effective & have, self.permitted & have, self.inheritable & have)
        if self.ambient & have:
            caps.set_ambient(self.ambient & have)


class NoNewPrivileges(NamedTuple):
    step: str = "rights"

    def describe(self) -> str:
        return "no new privileges"

    def execute(self, context: Context) -> None:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
