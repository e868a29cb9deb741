"""What containers have that ask for nothing else: the engine's settings, as ``daemon.json`` says them."""

from dataclasses import dataclass

from rundlet.api.container_config import HostConfig, Ulimit
from rundlet.engine.containers.security import NOTHING, Security
from rundlet.runtime.spec import DEFAULT_SHM

BUILTIN_SECCOMP = "builtin"


@dataclass(frozen=True, slots=True)
class ContainerDefaults:
    """``shm_size`` in bytes; ``cgroupns_mode`` is empty for what suits the machine.

    ``cgroup_parent`` is as ``--cgroup-parent``; empty: the engine's own group.
    ``seccomp_name`` says where ``security.seccomp_profile`` came from.
    """

    shm_size: int = DEFAULT_SHM
    ipc_mode: str = "private"
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    init: bool = False
    security: Security = NOTHING
    seccomp_name: str = BUILTIN_SECCOMP

    def wants_init(self, host: HostConfig) -> bool:
        """Whether a first process of ours starts the container's and waits for what it leaves behind."""
        return self.init if host.init is None else host.init

    def limits(self, host: HostConfig) -> tuple[Ulimit, ...]:
        """The container's own, and the engine's where it has none of that name."""
        own = host.ulimits or ()
        named = {limit.name for limit in own}
        return (*own, *(limit for limit in self.ulimits if limit.name not in named))
