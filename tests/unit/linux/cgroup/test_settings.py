from typing import Any

import pytest

from rundlet.linux.cgroup.settings import cpu_weight, io_weight, swap_limit, v1_settings, v2_settings

EVERYTHING: dict[str, Any] = {
    "memory": {"limit": 512, "swap": 1024, "reservation": 256, "swappiness": 0, "disableOOMKiller": True},
    "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1", "mems": "0", "burst": 10, "idle": 0},
    "pids": {"limit": 100},
    "blockIO": {
        "weight": 500,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 10}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}},
}


def files_v1(resources: dict[str, Any]) -> dict[str, str]:
    return {setting.file: setting.value for setting in v1_settings(resources)}


def files_v2(resources: dict[str, Any]) -> list[tuple[str, str]]:
    return [(setting.file, setting.value) for setting in v2_settings(resources)[0]]


def test_v1() -> None:
    assert files_v1(EVERYTHING) == {
        "memory.limit_in_bytes": "512",
        "memory.memsw.limit_in_bytes": "1024",
        "memory.soft_limit_in_bytes": "256",
        "memory.swappiness": "0",
        "memory.oom_control": "1",
        "cpu.shares": "1024",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
        "cpu.cfs_burst_us": "10",
        "cpu.idle": "0",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
        "pids.max": "100",
        "blkio.weight": "500",
        "blkio.weight_device": "8:0 1000",
        "blkio.throttle.read_bps_device": "8:0 1048576",
        "blkio.throttle.write_iops_device": "8:16 10",
        "hugetlb.2MB.limit_in_bytes": "4194304",
        "rdma.max": "mlx5_1 hca_handle=3 hca_object=10",
    }


def test_v2() -> None:
    assert files_v2(EVERYTHING) == [
        ("memory.max", "512"),
        ("memory.swap.max", "512"),
        ("memory.low", "256"),
        ("cpu.idle", "0"),
        ("cpu.weight", "39"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "10"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "100"),
        ("io.weight", "default 4950"),
        ("io.weight", "8:0 10000"),
        ("io.max", "8:0 rbps=1048576"),
        ("io.max", "8:16 wiops=10"),
        ("hugetlb.2MB.max", "4194304"),
        ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10"),
    ]
    assert v2_settings(EVERYTHING)[1] == [
        "disabling the OOM killer is not supported by cgroup v2. Discarded.",
        "memory swappiness is not supported by cgroup v2. Discarded.",
    ]


def test_what_is_not_given_is_left() -> None:
    empty = {
        "memory": {"limit": 0},
        "cpu": {"shares": 0, "quota": 0, "cpus": ""},
        "pids": {"limit": 0},
        "blockIO": None,
    }
    assert files_v1(empty) == {}
    assert files_v2(empty) == []


def test_no_limit() -> None:
    unlimited = {"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}}
    assert files_v1(unlimited) == {
        "memory.limit_in_bytes": "-1",
        "memory.memsw.limit_in_bytes": "-1",
        "cpu.cfs_quota_us": "-1",
        "pids.max": "max",
    }
    assert files_v2(unlimited) == [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("cpu.max", "max 100000"),
        ("pids.max", "max"),
    ]


@pytest.mark.parametrize(
    ("swap", "memory", "limit"),
    [(None, None, None), (0, 100, None), (-1, 100, -1), (0, -1, -1), (100, 100, 0), (300, 100, 200), (-1, None, -1)],
)
def test_swap_alone(swap: int | None, memory: int | None, limit: int | None) -> None:
    assert swap_limit(swap, memory) == limit


@pytest.mark.parametrize(("swap", "memory"), [(100, None), (100, -1), (100, 200)])
def test_contradicting_swap_is_refused(swap: int, memory: int | None) -> None:
    with pytest.raises(ValueError, match="memory"):
        swap_limit(swap, memory)


def test_weights() -> None:
    assert [cpu_weight(shares) for shares in (1, 2, 1024, 262_144, 1 << 30)] == [1, 1, 39, 10_000, 10_000]
    assert [io_weight(weight) for weight in (10, 500, 1000)] == [1, 4950, 10_000]


def test_unified_files() -> None:
    assert files_v2({"unified": {"memory.high": "100", "pids.max": "5"}}) == [("memory.high", "100"), ("pids.max", "5")]
    with pytest.raises(ValueError, match="invalid cgroup file name"):
        v2_settings({"unified": {"../../memory.max": "1"}})
    with pytest.raises(ValueError, match="need cgroup v2"):
        v1_settings({"unified": {"memory.high": "100"}})
