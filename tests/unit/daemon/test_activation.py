"""Sockets from a service manager, and the word back to it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rundlet.daemon import activation, placement
from rundlet.daemon.activation import ActivationError
from rundlet.daemon.notify import Notifier
from rundlet.linux.cgroup import Layout
from rundlet.linux.cgroup.layout import Hierarchy

# Puts the socket at descriptor 3, as a service manager does, and prints what the engine's code makes of it.
CHILD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "rundlet.socket"}
from rundlet.daemon import activation
try:
    for found in activation.take(os.environ, os.getpid()):
        print(activation.address(found), os.get_inheritable(found.fileno()))
except activation.ActivationError as error:
    print(error)
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        yield sock


def handed_over(sock: socket.socket) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(sock.fileno())],
        pass_fds=[sock.fileno()],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")},
    )
    return done.stdout.splitlines()


def test_a_listening_socket_is_taken_and_not_handed_on(listening: socket.socket) -> None:
    listening.listen()
    assert handed_over(listening) == [f"unix://{listening.getsockname()} False", "[]"]


def test_a_socket_that_does_not_listen_is_refused(listening: socket.socket) -> None:
    line, variables = handed_over(listening)
    assert "is not a listening stream socket" in line
    assert variables == "[]"


@pytest.mark.parametrize("variables", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "7"}])
def test_sockets_for_another_process_are_left_alone(variables: dict[str, str]) -> None:
    assert activation.take(variables, 7) == []
    assert variables == {}


def test_a_descriptor_that_is_not_open() -> None:
    with pytest.raises(ActivationError, match="is not open"):
        activation.take({"LISTEN_PID": "7", "LISTEN_FDS": "5000"}, 7)


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_and_stopping(tmp_path: Path, abstract: bool) -> None:
    name = f"rundlet-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        environment = {"NOTIFY_SOCKET": f"@{name}" if abstract else name}
        notifier = Notifier.take(environment)
        assert environment == {}
        notifier.ready()
        notifier.stopping()
        assert manager.recv(100).decode().splitlines() == ["READY=1", f"MAINPID={os.getpid()}"]
        assert manager.recv(100) == b"STOPPING=1"


def test_nobody_is_told_where_nobody_listens(tmp_path: Path) -> None:
    Notifier.take({}).ready()
    Notifier.take({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        ({}, False),
        ({"SYSTEMD_EXEC_PID": "7"}, True),
        ({"SYSTEMD_EXEC_PID": "8"}, False),  # inherited from a unit that started a shell that started us
        ({"LISTEN_PID": "7"}, True),
        ({"NOTIFY_SOCKET": "/run/n"}, True),
    ],
)
def test_whether_a_service_manager_starts_it_again(environment: dict[str, str], service: bool) -> None:
    assert placement.is_service(environment, 7) is service


def test_each_hierarchy_is_left_where_that_is_allowed(tmp_path: Path) -> None:
    for name in ("memory", "unified"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    layout = Layout(
        "hybrid",
        (Hierarchy(("memory",), f"{tmp_path}/memory"), Hierarchy(("cpu",), f"{tmp_path}/cpu")),
        f"{tmp_path}/unified",
        (),
    )
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cgroup.procs").mkdir()  # can't be written
    assert placement.leave(layout) == [f"{tmp_path}/cpu"]
    assert (tmp_path / "memory" / "cgroup.procs").read_bytes() == b"0"
    assert (tmp_path / "unified" / "cgroup.procs").read_bytes() == b"0"
