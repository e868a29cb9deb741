"""A container with users of its own: which they are, and what has to be done before and after moving among them.

Whoever moves in has all rights in the user namespace and none outside: what takes the machine's root comes before,
:meth:`Users.enter`. Until :class:`BecomeRoot` the process still owns what the machine's root owns, which it needs to
reach its own files in /proc; from then on it is nobody outside.
"""

import os
import resource
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from rundlet.linux import libc, usermap
from rundlet.linux.usermap import Range
from rundlet.runtime.init.rights import NULL
from rundlet.runtime.init.steps import Context


class Users(NamedTuple):
    """The ranges of a container's users and groups."""

    users: tuple[Range, ...]
    groups: tuple[Range, ...]

    @classmethod
    def of(cls, oci: Mapping[str, Any]) -> Self | None:
        """Those of an OCI configuration; None where the container's users are the engine's."""
        linux = oci.get("linux") or {}
        users, groups = linux.get("uidMappings"), linux.get("gidMappings")
        return cls(usermap.parse(users), usermap.parse(groups)) if users and groups else None

    @property
    def root(self) -> tuple[int, int]:
        """The container's root, as it is called outside. Raises: ValueError where there is none."""
        return usermap.outside(self.users, 0), usermap.outside(self.groups, 0)

    def give(self, descriptors: tuple[int, ...], uid: int, gid: int) -> None:
        """Have the container's user ``uid`` own its standard streams, but never the machine's /dev/null.

        Raises: ValueError, OSError.
        """
        owner = usermap.outside(self.users, uid), usermap.outside(self.groups, gid)
        for fd in descriptors:
            if fd >= 0 and os.fstat(fd).st_rdev != NULL:
                os.fchown(fd, *owner)

    def enter(self, namespace: int, process: Mapping[str, Any]) -> None:
        """Move into the user ``namespace`` to be ``process``. Raises: OSError."""
        self.prepare(process)
        usermap.enter(namespace)
        # Cleared by the change of rights.
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)

    def prepare(self, process: Mapping[str, Any]) -> None:
        """What ``process`` may only get from outside. Raises: OSError."""
        for item in process.get("rlimits") or ():
            _raise_limit(getattr(resource, item["type"]), item["hard"])
        if process.get("oomScoreAdj") is not None:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(str(process["oomScoreAdj"]))


class BecomeRoot(NamedTuple):
    """From the machine's root to the container's."""

    step: str = "user"

    def describe(self) -> str:
        return "root of the user namespace"

    def execute(self, context: Context) -> None:
        usermap.become_root()


def _raise_limit(number: int, wanted: int) -> None:
    """Inside the hard limit can only go down."""
    soft, hard = resource.getrlimit(number)
    if hard == resource.RLIM_INFINITY:
        return
    if wanted == resource.RLIM_INFINITY or wanted > hard:
        resource.setrlimit(number, (soft, wanted))
