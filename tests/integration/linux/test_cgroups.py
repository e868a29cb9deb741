"""Cgroups of this machine, whatever it has; and v2's own mechanisms wherever a v2 hierarchy is mounted."""

import errno
import os
import secrets
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rundlet.linux import libc
from rundlet.linux.cgroup import Cgroup, Layout, detect, remove_if_empty
from rundlet.linux.cgroup.layout import V2

pytestmark = pytest.mark.root

DEVICES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
]


def layouts() -> Iterator[Layout]:
    """The machine's own, and on a hybrid machine its v2 part alone: freezing, killing and devices work there too."""
    found = detect()
    yield found
    if found.unified is not None and found.version != V2:
        yield Layout(V2, (), found.unified, ())


@pytest.fixture(params=list(layouts()), ids=lambda layout: layout.version)
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    layout = request.param
    if not layout.hierarchies and layout.unified is None:
        pytest.skip("no cgroup is mounted")
    parent = f"/rundlet-test-{secrets.token_hex(4)}"
    made = Cgroup(f"{parent}/container", layout)
    yield made
    made.kill()
    made.remove()
    remove_if_empty(parent, layout)
    assert not Cgroup(parent, layout).exists()


def spawn(group: Cgroup, action: Callable[[], Any], *, born: bool = True) -> tuple[int, int]:
    """A member of the group that does ``action``; its exit status is an errno. Returns pid and pidfd."""
    fd = group.clone_fd() if born else None
    files = group.join_fds(unified=fd is None)
    reader, writer = os.pipe()
    pid, pidfd = libc.clone3(0, cgroup_fd=-1 if fd is None else fd)
    if pid == 0:
        code = 255
        try:
            for file in files:
                os.write(file, b"0")
            os.write(writer, b"!")
            action()
            code = 0
        except OSError as exc:
            code = exc.errno or 254
        finally:
            os._exit(code)
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    for file in (*files, reader, *(() if fd is None else (fd,))):
        os.close(file)
    return pid, pidfd


def outcome(child: tuple[int, int]) -> int:
    pid, pidfd = child
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def nothing_but_wait() -> None:
    time.sleep(600)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("born", [True, False], ids=["born", "joins"])
def test_membership(group: Cgroup, born: bool) -> None:
    group.create({})
    pid, pidfd = spawn(group, nothing_but_wait, born=born)
    wait_for(
        lambda: all(
            line.endswith(group.path)
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            if group.layout.version != V2 or line.startswith("0::")
        )
    )
    assert group.pids() == [pid]
    assert group.populated()
    group.kill()
    assert outcome((pid, pidfd)) == -signal.SIGKILL
    wait_for(lambda: not group.populated())


def test_frozen_and_thawed(group: Cgroup) -> None:
    group.create({})
    reader, writer = os.pipe()

    def write_on() -> None:
        while True:
            os.write(writer, b"x")
            time.sleep(0.001)

    child = spawn(group, write_on)
    assert os.read(reader, 1) == b"x"
    group.freeze()
    assert group.frozen()
    while select.select([reader], [], [], 0)[0]:
        os.read(reader, 65536)
    assert not select.select([reader], [], [], 0.05)[0]
    group.thaw()
    assert select.select([reader], [], [], 60)[0]
    assert not group.frozen()
    group.freeze()
    group.kill()  # a frozen cgroup dies as well
    assert outcome(child) == -signal.SIGKILL
    os.close(reader)
    os.close(writer)


def test_nobody_forks_away_from_a_kill(group: Cgroup) -> None:
    group.create({"pids": {"limit": 64}})

    def fork_for_ever() -> None:
        for _ in range(5):
            os.fork()
        while True:
            try:
                if os.fork():
                    os._exit(0)
            except BlockingIOError:
                pass

    pid, pidfd = spawn(group, fork_for_ever)
    os.close(pidfd)
    time.sleep(0.05)
    group.kill()
    os.waitpid(pid, 0)
    wait_for(lambda: not group.populated())


def test_devices(group: Cgroup) -> None:
    group.create({"devices": DEVICES})

    def use(name: str, flags: int) -> int:
        return outcome(spawn(group, lambda: os.close(os.open(f"/dev/{name}", flags))))

    assert use("null", os.O_RDWR) == 0
    assert use("zero", os.O_RDONLY) == 0
    assert use("zero", os.O_RDWR) == errno.EPERM
    assert use("full", os.O_RDONLY) == errno.EPERM
    more = [*DEVICES, {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rw"}]
    group.update({"devices": more})
    assert use("full", os.O_RDONLY) == 0
    assert use("zero", os.O_RDWR) == errno.EPERM
    group.update({"devices": DEVICES})
    assert use("full", os.O_RDONLY) == errno.EPERM
    group.update({"devices": [{"allow": True, "access": "rwm"}]})
    assert use("random", os.O_RDONLY) == 0


def test_nested_cgroups_are_removed_bottom_up(group: Cgroup) -> None:
    group.create({})
    for directory in group.directories:
        os.makedirs(f"{directory}/inner/innermost")
    group.remove()
    assert not group.exists()
    group.remove()


def test_removal_waits_a_little_for_the_last_exit(group: Cgroup) -> None:
    group.create({})
    child = spawn(group, lambda: time.sleep(0.2))
    group.remove()
    assert outcome(child) == 0


def test_removal_of_a_living_cgroup_fails(group: Cgroup) -> None:
    group.create({})
    child = spawn(group, nothing_but_wait)
    with pytest.raises(OSError) as caught:
        group.remove()
    assert caught.value.errno == errno.EBUSY
    group.kill()
    outcome(child)


def test_a_missing_controller_is_a_warning_or_an_error(group: Cgroup) -> None:
    resources = {"rdma": {"mlx5_1": {"hcaHandles": 1}}}
    if "rdma" in group.layout.controllers:
        pytest.skip("this machine has rdma")
    assert group.create(resources) == [
        "Your kernel does not support rdma.max or the cgroup is not mounted. Limitation discarded."
    ]
    group.remove()
    with pytest.raises(FileNotFoundError):
        group.create(resources, strict=["rdma"])
    assert not group.exists()


# From here on the machine's real controllers are needed.


def need(group: Cgroup, *controllers: str) -> None:
    missing = set(controllers) - group.layout.controllers
    if missing:
        pytest.skip(f"no cgroup controller {', '.join(sorted(missing))}")


def test_limits_are_written(group: Cgroup) -> None:
    need(group, "memory", "cpu", "pids", "cpuset")
    warnings = group.create(
        {
            "memory": {"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 10},
        },
        strict=["memory", "cpu", "pids", "cpuset"],
    )
    assert warnings == []
    stats = group.stats()
    assert stats.memory.limit == 64 << 20
    assert stats.pids.limit == 10
    assert Path(f"{group.directory('cpuset')}/cpuset.cpus").read_text().strip() == "0"
    if group.layout.version == V2:
        assert Path(f"{group.directory('cpu')}/cpu.max").read_text() == "20000 50000\n"
    else:
        assert Path(f"{group.directory('cpu')}/cpu.cfs_quota_us").read_text() == "20000\n"


def test_memory_limits_grow_and_shrink(group: Cgroup) -> None:
    need(group, "memory")
    group.create({"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    for limit, swap in ((256 << 20, 512 << 20), (32 << 20, 32 << 20), (128 << 20, -1)):
        assert group.update({"memory": {"limit": limit, "swap": swap}}) == []
        assert group.stats().memory.limit == limit


def test_the_process_limit_holds(group: Cgroup) -> None:
    need(group, "pids")
    group.create({"pids": {"limit": 1}})
    assert outcome(spawn(group, os.fork)) == errno.EAGAIN


def test_running_out_of_memory_is_noticed(group: Cgroup) -> None:
    need(group, "memory")
    group.create({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    event = group.oom_event_fd()
    try:
        assert not select.select([event], [], [], 0)[0]
        assert outcome(spawn(group, lambda: bytearray(64 << 20))) == -signal.SIGKILL
        assert select.select([event], [], [], 60)[0]
        assert group.oom_kill_count() == 1
    finally:
        os.close(event)


def test_statistics_count(group: Cgroup) -> None:
    need(group, "memory", "pids")
    group.create({})

    def work() -> None:
        ballast = bytearray(8 << 20)
        until = time.process_time() + 0.2
        while time.process_time() < until:
            ballast[0] = 1
        nothing_but_wait()

    child = spawn(group, work)
    wait_for(lambda: group.stats().cpu.total > 150_000_000)
    stats = group.stats()
    assert stats.memory.usage > 8 << 20
    assert stats.pids.current == 1
    assert sum(stats.cpu.per_cpu) in (0, pytest.approx(stats.cpu.total, rel=0.1))
    group.kill()
    outcome(child)
