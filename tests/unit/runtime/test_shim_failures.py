"""What a shim makes of failures that nobody thought of. The processes say what starters and inits would."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from rundlet.linux import pidfd
from rundlet.linux.loop import Loop
from rundlet.runtime import protocol
from rundlet.runtime.init.report import Report, Reporter
from rundlet.runtime.shim import main, rehearsal
from rundlet.runtime.shim.child import Child
from rundlet.runtime.shim.container import RUNNING
from rundlet.runtime.shim.record import ExitRecord
from rundlet.runtime.shim.stdio import Pipes

pytestmark = pytest.mark.root  # control groups


class Case:
    """A shim in this process, with a container that runs."""

    def __init__(self) -> None:
        self.exit_record = os.memfd_create("exit", os.MFD_CLOEXEC)
        self.spec = rehearsal._sample(os.dup(self.exit_record))
        self.spec_fd = os.memfd_create("spec", os.MFD_CLOEXEC)
        os.write(self.spec_fd, protocol.pack_spec(self.spec))
        self.engine, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.engine.settimeout(30)
        self.shim = main.Shim(protocol.read_summary(self.spec_fd), self.spec_fd)
        self.shim.server.listen = lambda: None  # type: ignore[method-assign]  # nobody else is to connect
        self.shim.container.spawn = rehearsal._spawn
        self.shim.execs.spawn = rehearsal._spawn_exec
        self.far: socket.socket | None = far

    def start(self) -> None:
        assert self.far is not None
        self.shim.server.add(self.far)
        self.far = None
        self.ask("start")
        while self.shim.container.state != RUNNING:
            self.shim.loop.turn()
        assert "ok" in self.heard()

    def ask(self, operation: str, fds: tuple[int, ...] = (), **values: Any) -> None:
        protocol.send_packet(self.engine, protocol.encode({"op": operation, "seq": 1} | values), fds)

    def exec(self, identifier: str) -> None:
        """Run it to its end."""
        near, far = socket.socketpair()
        with near:
            with far:
                self.ask("exec", (far.fileno(),), exec_id=identifier, process=self.spec["oci"]["process"])
            self.shim.loop.turn()
            while self.shim.execs.busy():
                self.shim.loop.turn()

    def heard(self) -> dict[str, Any]:
        return protocol.decode(self.engine.recv(protocol.MAX_MESSAGE))

    def run(self) -> None:
        """The loop, to the shim's end."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near:
            self.shim.listen(far)
            self.shim.run()

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(os.pread(self.exit_record, 4096, 0))
        return found

    def close(self) -> None:
        child = self.shim.container.child
        if child is not None:
            child.abandon()
        self.shim.server.close()
        self.shim.close()
        self.shim.container.leave()
        self.engine.close()
        if self.far is not None:
            self.far.close()
        os.close(self.spec_fd)
        os.close(self.exit_record)


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case()
    yield case
    case.close()


def _fail(*_arguments: object, **_named: object) -> NoReturn:
    raise RuntimeError("nobody thought of this")


def test_a_supervisor_that_fails_ends_its_container_and_says_so(
    case: Case, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    case.start()
    process = pidfd.open(case.shim.container.pid)
    monkeypatch.setattr(case.shim, "do_freeze", lambda *_: case.shim.loop.later(0, _fail))
    case.ask("freeze")
    case.run()
    assert pidfd.wait(process, 30), "the container's process runs on, and nobody watches it"
    os.waitid(os.P_PIDFD, process, os.WEXITED)
    os.close(process)
    record = case.record()
    assert (record["code"], record["signal"]) == (137, 9)
    assert "nobody thought of this" in record["error"]
    event = case.heard()
    assert (event["event"], event["code"], event["error"]) == ("exited", 137, record["error"])
    said = capfd.readouterr().err
    assert f"the supervisor of {case.spec['id']}: RuntimeError" in said
    assert "_fail" in said


def test_a_start_in_which_the_supervisor_fails_is_answered(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert case.far is not None
    case.shim.server.add(case.far)
    case.far = None
    monkeypatch.setattr("rundlet.runtime.shim.starter.receive", _fail)
    case.ask("start")
    case.run()
    answer = case.heard()
    assert "nobody thought of this" in answer["error"]["message"]
    assert case.record()["code"] == 127


def test_a_disk_that_fails_hides_no_end(
    case: Case, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_self: object, **_values: object) -> NoReturn:
        raise OSError(5, "Input/output error")

    case.start()
    monkeypatch.setattr(ExitRecord, "write", fail)
    case.ask("signal", signal=9)
    case.run()
    assert "ok" in case.heard()
    assert (event := case.heard())["event"] == "exited"
    assert event["code"] == 137
    assert "the exit record can't be written" in capfd.readouterr().err


def test_an_exec_that_fails_in_the_supervisor_costs_that_exec(
    case: Case, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def spawn(_request: object, _joining: object, wiring: Any, _birth: int) -> tuple[int, int]:
        made.append(_process())
        Reporter(wiring.report).pid(made[0])
        return made[0], os.pidfd_open(made[0])

    made: list[int] = []
    case.start()
    with monkeypatch.context() as patched:
        patched.setattr("rundlet.runtime.shim.child.pidfd.open", _fail)
        case.shim.execs.spawn = spawn
        case.exec("bad")
    assert "nobody thought of this" in case.heard()["error"]["message"]
    assert case.heard() == {"event": "exec_exited", "id": case.spec["id"], "exec_id": "bad", "code": 137, "signal": 9}
    case.shim.execs.spawn = rehearsal._spawn_exec
    case.exec("good")
    assert "ok" in case.heard()
    assert case.heard()["code"] == 0
    assert case.shim.container.state == RUNNING
    assert "an exec was given up" in capfd.readouterr().err
    os.waitpid(made[0], 0)


def test_attaching_between_two_lives_is_refused(case: Case) -> None:
    """The streams of the former life are over, nobody would ever end this attachment."""
    case.shim.container.policy.set("always", 0)
    case.shim.container.policy._delay = 30.0
    case.start()
    case.ask("signal", signal=9)
    while case.shim.container.state == RUNNING:
        case.shim.loop.turn()
    assert "ok" in case.heard()
    assert case.heard()["event"] == "restarting"
    near, far = socket.socketpair()
    with near:
        with far:
            case.ask("attach", (far.fileno(),), stdout=True)
            case.shim.loop.turn()
        assert "is restarting, wait until" in case.heard()["error"]["message"]
        assert near.recv(1) == b""


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def _child(
    loop: Loop, started: Callable[[bool, Report | None], None], ended: Callable[[int], None]
) -> tuple[Child, int]:
    """A child whose first process does not end by itself, as when it was frozen with the container."""
    starter, program = _process(), _process()
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    reporter.pid(program)
    reporter.ready()
    return Child(loop, starter, pidfd.open(starter), reading, started, ended), writing


def _process() -> int:
    """One that goes on until it is killed, and holds nothing."""
    pid = os.fork()
    if pid == 0:
        os.closerange(0, 1024)
        while True:
            signal.pause()
    return pid


def test_the_first_process_of_an_exec_may_stand_still(loop: Loop) -> None:
    """A container that is paused just then stops it, too; who waited for its end could never let it go on."""
    codes: list[int] = []
    starts: list[bool] = []
    child, writing = _child(loop, lambda ok, _report: starts.append(ok), codes.append)
    starter = child.pid
    loop.turn()
    assert child.pid != starter
    child.signal(signal.SIGKILL)
    os.close(writing)
    while not codes:
        loop.turn()
    assert (starts, codes) == ([True], [-9])
    os.kill(starter, signal.SIGKILL)
    while child._helper >= 0:
        loop.turn()
    with pytest.raises(ChildProcessError):
        os.waitpid(starter, 0)


def test_a_program_that_was_never_named_has_not_started(loop: Loop) -> None:
    """Its maker was killed in between: nobody would hear of its end."""
    maker = _process()
    reading, writing = os.pipe()
    Reporter(writing).ready()
    os.close(writing)
    starts: list[bool] = []
    codes: list[int] = []
    child = Child(loop, maker, pidfd.open(maker), reading, lambda ok, _report: starts.append(ok), codes.append)
    child.signal(signal.SIGKILL)
    while not codes:
        loop.turn()
    assert (starts, codes) == ([False], [-9])


@pytest.mark.parametrize("tty", [False, True])
def test_pipes_that_can_not_all_be_made_leave_none(tty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "socket.socketpair" if tty else "os.pipe2"
    real = socket.socketpair if tty else os.pipe2
    calls = iter(range(10))

    def scarce(*arguments: Any) -> Any:
        if next(calls) == (0 if tty else 3):
            raise OSError(24, "Too many open files")
        return real(*arguments)  # type: ignore[operator]

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(name, scarce)
    with pytest.raises(OSError, match="Too many open files"):
        Pipes(tty=tty, stdin=True)
    assert os.listdir("/proc/self/fd") == before
