"""``container:NAME``: the namespaces that a container has together with another one."""

from typing import Final

import msgspec

from rundlet.api.container_config import HostConfig
from rundlet.container.store import ContainerStore
from rundlet.errors import NotFoundError

_PREFIX: Final = "container:"


def by_id(containers: ContainerStore, host: HostConfig) -> HostConfig:
    """Each ``container:NAME`` as ``container:ID``, so that it stays the same one when that is renamed.

    A name that nobody has stays as it is; what joins the namespace refuses it.
    """

    def found(mode: str) -> str:
        if not mode.startswith(_PREFIX):
            return mode
        try:
            return _PREFIX + containers.find(mode.removeprefix(_PREFIX)).id
        except NotFoundError:
            return mode

    return msgspec.structs.replace(
        host, network_mode=found(host.network_mode), ipc_mode=found(host.ipc_mode), pid_mode=found(host.pid_mode)
    )
