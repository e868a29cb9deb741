"""What systemd is asked, and what is made of its answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.linux.servicemanager import JOB, Answer, Call, ServiceManager

from rundlet.linux import systemd
from rundlet.linux.cgroup import units
from rundlet.linux.dbus import BusError, Variant
from rundlet.linux.systemd import Manager

STARTED = Answer("o", (JOB,), after=("done",))
Serve = Callable[..., ServiceManager]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made: list[ServiceManager] = []

    def begin(answer: Callable[[Call], Answer], name: str = "systemd/private") -> ServiceManager:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        made.append(ServiceManager(path, answer))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def test_a_scope_is_started_with_a_process(serve: Serve) -> None:
    server = serve(lambda _call: STARTED)
    scope = {"id": "box", "sockets": [server.path], "slice": "a.slice", "unit": "rundlet-box.scope", "base": ""}
    systemd.start(scope, 123, units.properties({"memory": {"limit": 5, "swap": 8}}))
    (call,) = server.calls
    unit, mode, properties, others = call.body
    assert (call.member, unit, mode, others) == ("StartTransientUnit", "rundlet-box.scope", "fail", [])
    found = dict(properties)
    assert [found[name].value for name in ("PIDs", "Slice", "Delegate", "MemoryMax", "MemorySwapMax")] == [
        [123], "a.slice", True, 5, 3,
    ]  # fmt: skip


def test_a_job_that_ends_before_it_is_named(serve: Serve) -> None:
    server = serve(lambda _call: Answer("o", (JOB,), before=("done",)))
    Manager([server.path]).start_scope("x.scope", 1, [])


def test_a_job_that_fails(serve: Serve) -> None:
    server = serve(lambda _call: Answer("o", (JOB,), after=("failed",)))
    with pytest.raises(BusError, match=r'unable to start unit "x\.scope": failed'):
        Manager([server.path]).start_scope("x.scope", 1, [])


def test_a_refusal_is_told(serve: Serve) -> None:
    server = serve(lambda _call: Answer(error="org.freedesktop.DBus.Error.AccessDenied"))
    with pytest.raises(BusError, match="StartTransientUnit did not work") as caught:
        Manager([server.path]).start_scope("x.scope", 1, [])
    assert caught.value.name == "org.freedesktop.DBus.Error.AccessDenied"


def test_a_former_unit_of_the_name_is_stopped(serve: Serve) -> None:
    answers = iter([Answer(error="org.freedesktop.systemd1.UnitExists")] * 2 + [STARTED])

    def answer(call: Call) -> Answer:
        if call.member == "StartTransientUnit":
            return next(answers)
        return Answer("o", (JOB,)) if call.member == "StopUnit" else Answer(error="org.freedesktop.systemd1.NoSuchUnit")

    server = serve(answer)
    Manager([server.path]).start_scope("x.scope", 1, [])
    start, clean = "StartTransientUnit", ["StopUnit", "ResetFailedUnit"]
    assert [call.member for call in server.calls] == [start, *clean, start, *clean, start]


def test_a_bus_is_greeted_and_asked_for_signals(serve: Serve, tmp_path: Path) -> None:
    def answer(call: Call) -> Answer:
        return STARTED if call.member == "StartTransientUnit" else Answer("s", (":1.5",))

    server = serve(answer, "bus")
    Manager([str(tmp_path / "none/systemd/private"), server.path]).start_scope("x.scope", 1, [])
    assert [call.member for call in server.calls] == ["Hello", "AddMatch", "StartTransientUnit"]


def test_the_managers_group(serve: Serve) -> None:
    path = "/user.slice/user-1000.slice/user@1000.service"
    server = serve(lambda _call: Answer("v", (Variant("s", path),)))
    assert Manager([server.path]).control_group() == path
    assert server.calls[0].body == ("org.freedesktop.systemd1.Manager", "ControlGroup")


def test_new_limits(serve: Serve) -> None:
    server = serve(lambda _call: Answer())
    Manager([server.path]).set_properties("x.scope", units.properties({"pids": {"limit": -1}}))
    assert server.calls[0][:2] == ("SetUnitProperties", ("x.scope", True, [("TasksMax", Variant("t", 2**64 - 1))]))


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Manager([]).control_group()
    with pytest.raises(OSError, match="No such file"):
        Manager([str(tmp_path / "bus")]).control_group()


@pytest.mark.parametrize(
    ("name", "path"),
    [("system.slice", "/system.slice"), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"), ("-.slice", "")],
)
def test_slices(name: str, path: str) -> None:
    assert systemd.slice_path(name) == path


@pytest.mark.parametrize("name", ["", ".slice", "a", "/a/b", "a/b.slice", "a--b.slice", "-a.slice", "a-.slice"])
def test_what_is_no_slice(name: str) -> None:
    with pytest.raises(ValueError, match="invalid slice name"):
        systemd.slice_path(name)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {}),
        ({"memory": {"limit": -1, "swap": -1}}, {"MemoryMax": 2**64 - 1, "MemorySwapMax": 2**64 - 1}),
        ({"memory": {"limit": 64, "reservation": 32}}, {"MemoryMax": 64, "MemoryLow": 32}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 39}),
        ({"cpu": {"quota": 50000}}, {"CPUQuotaPerSecUSec": 500000, "CPUQuotaPeriodUSec": 100000}),
        ({"cpu": {"quota": 1001, "period": 100000}}, {"CPUQuotaPerSecUSec": 20000, "CPUQuotaPeriodUSec": 100000}),
        ({"cpu": {"period": 20000}}, {"CPUQuotaPerSecUSec": 2**64 - 1, "CPUQuotaPeriodUSec": 20000}),
        ({"cpu": {"cpus": "0-2,9", "mems": "0"}}, {"AllowedCPUs": b"\x07\x02", "AllowedMemoryNodes": b"\x01"}),
        ({"pids": {"limit": 20}}, {"TasksMax": 20}),
        ({"blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}}, {"IOWeight": 1}),
        ({"unified": {"memory.high": "max", "misc.max": "x 1"}}, {"MemoryHigh": 2**64 - 1}),
    ],
)
def test_limits_as_properties(resources: dict[str, object], expected: dict[str, object]) -> None:
    assert {name: variant.value for name, variant in units.properties(resources)} == expected
