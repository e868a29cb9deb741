"""Limits that this machine can't keep: discarded with a warning, or refused."""

import pytest

from rundlet.api.container_config import Resources, WeightDevice
from rundlet.engine import machine, resources
from rundlet.engine.resources import Kernel, adapted, parse_set
from rundlet.errors import InvalidParameterError

ABLE = Kernel(swappiness=True, oom_kill_disable=True, weight=True, weight_device=True, realtime=True)
UNABLE = Kernel(swappiness=False, oom_kill_disable=False, weight=False, weight_device=False, realtime=False)


@pytest.mark.parametrize(
    ("asked", "field", "warning"),
    [
        (Resources(memory_swappiness=0), "memory_swappiness", "memory swappiness capabilities"),
        (Resources(oom_kill_disable=True), "oom_kill_disable", "OomKillDisable"),
        (Resources(blkio_weight=100), "blkio_weight", "Block I/O weight or"),
        (
            Resources(blkio_weight_device=(WeightDevice("/dev/x", 10),)),
            "blkio_weight_device",
            "Block I/O weight_device",
        ),
    ],
)
def test_discarded_with_a_warning(asked: Resources, field: str, warning: str) -> None:
    changes, warnings = adapted(asked, UNABLE)
    assert list(changes) == [field]
    assert len(warnings) == 1
    assert warning in warnings[0]
    assert warnings[0].endswith(" discarded.")
    assert adapted(asked, ABLE) == ({}, [])


def test_what_asks_for_nothing_is_no_warning() -> None:
    """``docker run`` sends -1 for a swappiness that nobody asked for; inspect shows none."""
    nothing = Resources(memory_swappiness=-1, oom_kill_disable=False)
    for kernel in (ABLE, UNABLE):
        assert adapted(nothing, kernel) == ({"memory_swappiness": None}, [])


def test_a_share_of_real_time_is_no_more_than_the_whole() -> None:
    with pytest.raises(InvalidParameterError, match="runtime cannot be higher than cpu real-time period"):
        adapted(Resources(cpu_realtime_period=1, cpu_realtime_runtime=5), ABLE)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Resources(nano_cpus=-1), "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (Resources(nano_cpus=3 * 10**9), "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (Resources(cpu_period=1), r"CPU cfs period can not be less than 1ms \(i.e. 1000\) or larger than 1s"),
        (Resources(cpu_period=2_000_000), r"CPU cfs period can not be less than 1ms \(i.e. 1000\) or larger than 1s"),
        (Resources(cpu_quota=10), "CPU cfs quota can not be less than 1ms"),
        (Resources(cpu_realtime_runtime=10), "kernel does not support CPU real-time scheduler"),
        (Resources(cpuset_cpus="9"), "Requested CPUs are not available - requested 9, available: 0-1"),
        (Resources(cpuset_cpus="a"), "Invalid value a for cpuset cpus: invalid format: a"),
        (Resources(cpuset_mems="9"), "Requested memory nodes are not available - requested 9, available: 0-1"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, asked: Resources, message: str) -> None:
    monkeypatch.setattr(machine, "cpus", lambda: 2)
    monkeypatch.setattr(resources, "_available", lambda _kind: "0-1")
    with pytest.raises(InvalidParameterError, match=message):
        adapted(asked, UNABLE)


def test_sets() -> None:
    assert parse_set("0-2,5") == {0, 1, 2, 5}
    for text in ("", "1-", "3-1", "a", "0-99999"):
        with pytest.raises(ValueError, match=r"."):
            parse_set(text)
