"""Limits without the controllers that they need: Docker's warnings, and nothing of them left."""

import pytest

from rundlet.api.container_config import HostConfig
from rundlet.engine.containers.limits import without_unsupported
from rundlet.errors import InvalidParameterError


def test_everything_is_kept_where_all_controllers_are() -> None:
    host = HostConfig(memory=1 << 20, cpu_shares=5, pids_limit=7, cpuset_cpus="0", nano_cpus=1)
    have = frozenset(("memory", "cpu", "cpuset", "pids", "io"))
    assert without_unsupported(host, have) == (host, [])


def test_without_any_each_limit_is_discarded_with_one_warning() -> None:
    host = HostConfig(memory=1 << 20, memory_swap=2 << 20, cpu_shares=5, pids_limit=7, cpuset_cpus="0", blkio_weight=10)
    left, warnings = without_unsupported(host, frozenset())
    assert left == HostConfig()
    assert [line.partition(" capabilities")[0].removeprefix("Your kernel does not support ") for line in warnings] == [
        "memory limit",
        "CPU shares or the cgroup is not mounted. Shares discarded.",
        "cpuset or the cgroup is not mounted. CPUset discarded.",
        "PIDs limit",
        "Block I/O weight or the cgroup is not mounted. Weight discarded.",
    ]


def test_cpus_is_an_error_as_docker_has_it() -> None:
    with pytest.raises(InvalidParameterError, match="NanoCPUs can not be set"):
        without_unsupported(HostConfig(nano_cpus=1), frozenset(("memory",)))
