"""Limits that this engine can't enforce: taken out of the request, each with Docker's warning.

It is so in a user namespace whose user has been given no control group, or one without some controllers.
"""

import msgspec

from rundlet.api.container_config import HostConfig
from rundlet.errors import InvalidParameterError


def without_unsupported(host: HostConfig, have: frozenset[str]) -> tuple[HostConfig, list[str]]:
    """``host`` without what needs a controller that is not in ``have`` (v1's or v2's names), and the warnings.

    Raises: InvalidParameterError for --cpus, as Docker does.
    """
    dropped: dict[str, object] = {}
    warnings: list[str] = []
    if "memory" not in have:
        for names, text in _MEMORY:
            asked = {name: empty for name, empty in names if getattr(host, name) not in (None, 0, False, empty)}
            if asked:
                dropped |= asked
                warnings.append(text)
    if "cpu" not in have:
        if host.nano_cpus:
            raise InvalidParameterError(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not "
                "mounted"
            )
        for name, text in _CPU:
            if getattr(host, name):
                dropped[name] = 0
                warnings.append(text)
    if "cpuset" not in have and (host.cpuset_cpus or host.cpuset_mems):
        dropped |= {"cpuset_cpus": "", "cpuset_mems": ""}
        warnings.append("Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded.")
    if "pids" not in have and host.pids_limit and host.pids_limit > 0:
        dropped["pids_limit"] = None
        warnings.append(
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."
        )
    if not have & {"io", "blkio"} and host.blkio_weight:
        dropped["blkio_weight"] = 0
        warnings.append("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
    return msgspec.structs.replace(host, **dropped), warnings


_MEMORY: tuple[tuple[tuple[tuple[str, object], ...], str], ...] = (
    (
        (("memory", 0), ("memory_swap", 0)),
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ),
    (
        (("memory_reservation", 0),),
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation "
        "discarded.",
    ),
    (
        (("oom_kill_disable", None),),
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    ),
)
_CPU = (
    ("cpu_shares", "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."),
    ("cpu_period", "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. Period discarded."),
    ("cpu_quota", "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. Quota discarded."),
)
