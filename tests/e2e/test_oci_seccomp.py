"""``rundlet-runtime``: system calls of a container that an agent outside answers."""

import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import wait_for
from tests.ociruntime import Runtime

pytestmark = [pytest.mark.root]

# struct seccomp_notif and struct seccomp_notif_resp
RECEIVE, RECEIVED = 0xC0502100, struct.Struct("=QII iIQ6Q")
SEND, SENT = 0xC0182101, struct.Struct("=QqiI")
CONTINUE = 1
MKDIR = {83, 34, 258}  # mkdir of x86_64, mkdirat of aarch64 and x86_64
SILENT = b"\0" * RECEIVED.size


class Agent:
    """Answers as the profile's metadata says: ``errno`` for directories, and lets all else go on."""

    def __init__(self, path: str) -> None:
        self.states: list[dict[str, Any]] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(4)
        self._end, self._ending = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        poll, notifiers = select.poll(), set[int]()
        for fd in (self._end, self.listener.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, events in poll.poll():
                if fd == self._end:
                    for notifier in notifiers:
                        os.close(notifier)
                    return
                if fd == self.listener.fileno():
                    notifier = self._accept()
                    notifiers.add(notifier)
                    poll.register(notifier, select.POLLIN)
                elif events & select.POLLIN:
                    self._answer(fd)
                else:  # nobody is under the filter any more
                    poll.unregister(fd)
                    notifiers.remove(fd)
                    os.close(fd)

    def _accept(self) -> int:
        connection, _ = self.listener.accept()
        with connection:
            message, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        self.states.append(json.loads(message))
        return fds[0]

    def _answer(self, notifier: int) -> None:
        try:
            asked = fcntl.ioctl(notifier, RECEIVE, SILENT)
        except FileNotFoundError:
            return  # the process has ended meanwhile
        number, _, _, call, *_ = RECEIVED.unpack(asked)
        refused = -getattr(errno, self.states[-1]["metadata"]) if call in MKDIR else 0
        try:
            fcntl.ioctl(notifier, SEND, SENT.pack(number, 0, refused, 0 if refused else CONTINUE))
        except FileNotFoundError:
            return

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        os.write(self._ending, b"0")
        self._thread.join(60)
        for fd in (self._end, self._ending):
            os.close(fd)
        self.listener.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(str(tmp_path / "agent"))
    yield made
    made.stop()


def profile(path: str, *calls: str) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "ENOMEDIUM",
        "syscalls": [{"names": list(calls), "action": "SCMP_ACT_NOTIFY"}],
    }


@pytest.mark.parametrize("quiet", [False, True], ids=["", "no-new-privileges"])
def test_agent_answers_for_the_container_and_for_execs(runtime: Runtime, agent: Agent, quiet: bool) -> None:
    """Also calls that set-up itself makes behind the filter."""
    path = str(agent.listener.getsockname())
    calls = ("mkdir", "mkdirat", "execve", "openat", "read", "close", "fcntl", "sendmsg", "prctl", "capset")
    runtime.config["linux"]["seccomp"] = profile(path, *calls)
    runtime.config["annotations"] = {"org.example": "yes"}
    runtime.write("mkdir /a; echo done; sleep 600", noNewPrivileges=quiet)
    assert runtime.create().returncode == 0, runtime.output()
    pid = json.loads(runtime.ok("state", runtime.name))["pid"]
    wait_for(lambda: len(agent.states) == 1)
    said = agent.states[0]
    assert (said["fds"], said["pid"], said["metadata"]) == (["seccompFd"], pid, "ENOMEDIUM")
    assert said["state"] == {
        "ociVersion": runtime.config["ociVersion"],
        "id": runtime.name,
        "status": "creating",
        "pid": pid,
        "bundle": str(runtime.bundle),
        "annotations": {"org.example": "yes"},
    }
    runtime.ok("start", runtime.name)
    wait_for(lambda: runtime.output().endswith("done\n"))
    assert "mkdir: can't create directory '/a': No medium found" in runtime.output()
    done = runtime("exec", runtime.name, "mkdir", "/b")
    assert (done.returncode, "No medium found" in done.stderr) == (1, True), done.stderr
    assert agent.states[1]["state"]["status"] == "running"
    assert agent.states[1]["pid"] not in (pid, 0)


def test_without_agent_calls_are_unknown(runtime: Runtime, agent: Agent) -> None:
    path = str(agent.listener.getsockname())
    runtime.config["linux"]["seccomp"] = profile(path, "mkdir", "mkdirat")
    runtime.write("while [ ! -e /go ]; do sleep 0.05; done; mkdir /a; echo done; sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    agent.stop()
    (runtime.bundle / "rootfs/go").touch()
    wait_for(lambda: runtime.output().endswith("done\n"))
    assert "Function not implemented" in runtime.output()
    done = runtime("exec", runtime.name, "true")
    assert (done.returncode, "failed to connect with seccomp agent" in done.stderr) == (255, True), done.stderr


@pytest.mark.parametrize(
    ("path", "calls", "message"),
    [
        ("", ("mkdir",), "seccomp listenerPath is not set"),
        ("/nowhere", ("mkdir",), "failed to connect with seccomp agent specified in the seccomp profile"),
        ("@rundlet-nobody", ("mkdir",), "failed to connect with seccomp agent specified in the seccomp profile"),
        ("/nowhere", ("write",), "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
    ],
    ids=["none", "missing", "abstract", "write"],
)
def test_listeners_that_can_not_be_told(runtime: Runtime, path: str, calls: tuple[str, ...], message: str) -> None:
    runtime.config["linux"]["seccomp"] = profile(path, *calls)
    runtime.write("true")
    done = runtime.create()
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr


def test_listener_of_a_profile_that_notifies_nobody_is_left_alone(runtime: Runtime) -> None:
    runtime.config["linux"]["seccomp"] = profile("/nowhere") | {"syscalls": []}
    runtime.write("mkdir /a && echo made")
    assert runtime.ok("run", "--bundle", str(runtime.bundle), runtime.name) == "made"
