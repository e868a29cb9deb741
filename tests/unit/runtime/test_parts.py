"""The small parts of shim and init: options, reports, messages, policies, plans."""

import json
import os
import signal
import socket

import pytest

from rundlet.linux import mount
from rundlet.linux.loop import Loop
from rundlet.runtime import protocol
from rundlet.runtime.init import options, plan, program, reaper, report
from rundlet.runtime.init.report import Reporter
from rundlet.runtime.protocol import Order, ProtocolError
from rundlet.runtime.shim import failures
from rundlet.runtime.shim.record import SIZE, ExitRecord
from rundlet.runtime.shim.rehearsal import _sample
from rundlet.runtime.shim.restart import Policy
from rundlet.runtime.shim.streams import Client, Hub
from rundlet.runtime.state import read_exit


def test_mount_options() -> None:
    parsed = options.parse(["rbind", "ro", "nosuid", "suid", "rslave", "mode=755", "strictatime", "rro", "flag"])
    assert (parsed.set, parsed.clear) == (
        mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_STRICTATIME,
        mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_ATIME,
    )
    assert parsed.recursive_set == mount.MOUNT_ATTR_RDONLY
    assert (parsed.propagation, parsed.propagation_recursive) == (mount.MS_SLAVE, True)
    assert (parsed.bind, parsed.bind_recursive) == (True, True)
    assert parsed.data == (("mode", "755"), ("flag", None))


def test_reports_survive_the_pipe_in_pieces() -> None:
    read, write = os.pipe()
    reporter = Reporter(write)
    reporter.pid(77)
    reporter.ready()
    reporter.failed("mount", 2, b"/somewhere" * 200)
    reporter.exception("user", OSError(13, "no", "/x"))
    reporter.exception("cwd", RuntimeError("odd"))
    os.close(write)
    data = os.read(read, 1 << 20)
    os.close(read)
    found = report.parse(data)
    assert [(item.kind, item.step, item.errno) for item in found] == [
        ("pid", "internal", 77),
        ("ready", "internal", 0),
        ("failed", "mount", 2),
        ("failed", "user", 13),
        ("failed", "internal", 0),
    ]
    assert found[2].detail.startswith("/somewhere/somewhere")
    assert "RuntimeError: odd" in found[4].detail
    assert report.parse(data[: report.SIZE + 5]) == found[:1]


def test_orders() -> None:
    order = Order(protocol.SHIM, 5, -3, "a" * 64)
    assert Order.decode(order.encode()) == order
    with pytest.raises(ProtocolError):
        Order.decode(b"short")


def test_packets_with_descriptors() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    protocol.send_packet(near, b"hello", [read, write])
    data, fds = protocol.receive_packet(far)
    assert (data, len(fds)) == (b"hello", 2)
    assert not any(os.get_inheritable(fd) for fd in fds)
    protocol.close_all([read, write, *fds])
    near.send(b"x" * 100)
    with pytest.raises(ProtocolError):
        protocol.receive_packet(far, 10)
    near.close()
    assert protocol.receive_packet(far) == (b"", [])
    far.close()


def test_spec_file_keeps_the_environment_out_of_the_summary() -> None:
    spec = _sample(-1)
    spec["oci"]["process"]["env"].append("SECRET=x")
    memory = os.memfd_create("test")
    os.write(memory, protocol.pack_spec(spec))
    summary = protocol.read_summary(memory)
    assert "oci" not in summary
    assert "SECRET" not in json.dumps(summary)
    assert summary["facts"] == {"program": "true", "private_pids": True, "linux": {}, "memory_limit": 0}
    assert protocol.read_spec(memory) == spec
    os.close(memory)
    memory = os.memfd_create("newer")
    os.write(memory, protocol.pack_spec(spec | {"version": protocol.SPEC_VERSION + 1}))
    with pytest.raises(ProtocolError, match="version"):
        protocol.read_summary(memory)
    os.close(memory)


def test_restart_policies() -> None:
    never = Policy({})
    assert not never.wanted(1)
    failing = Policy({"policy": "on-failure", "max": 2})
    assert not failing.wanted(0)
    assert failing.wanted(1)
    assert [failing.delay(0.1), failing.delay(0.1)] == [0.1, 0.2]
    assert not failing.wanted(1)
    always = Policy({"policy": "always"})
    delays = [always.delay(0.0) for _ in range(12)]
    assert delays[-1] == 60.0
    assert always.delay(11.0) == 0.1
    with pytest.raises(ValueError, match="invalid restart policy"):
        always.set("sometimes", 0)


def test_plan_describes_itself_in_the_order_that_rights_need() -> None:
    oci = _sample(-1)["oci"]
    oci["process"]["noNewPrivileges"] = True
    view = plan.CgroupView(1, (("memory", "memory"),), (), ())
    prepared = plan.Prepared("/", plan.User(5, 6, (7,)), {5: 99}, (), (3,), view, b"x" * 16, (0, 0))
    steps = [step.step for step in plan.build(oci, "id", prepared)]
    assert steps[:2] == ["cgroup", "session"]
    assert steps.index("pivot") < steps.index("path") < steps.index("user") < steps.index("rights")
    assert steps[-1] == "seccomp"  # last with no-new-privileges
    oci["process"]["noNewPrivileges"] = False
    steps = [step.step for step in plan.build(oci, "id", prepared)]
    assert steps.index("user") < steps.index("seccomp") < steps.index("rights")
    described = "\n".join(step.describe() for step in plan.build(oci, "id", prepared))
    assert "user 5:6 groups 7" in described
    assert "bind bind on /etc/hosts" in described


def test_program_lookup(tmp_path: os.PathLike[str]) -> None:
    place = os.fspath(tmp_path)
    with open(f"{place}/tool", "w") as file:
        file.write("#!/bin/sh\n")
    with pytest.raises(PermissionError):
        program.find(f"{place}/tool", "")
    os.chmod(f"{place}/tool", 0o755)
    assert program.find("tool", f"/nowhere:{place}") == f"{place}/tool"
    with pytest.raises(program.NotInPathError):
        program.find("tool", "")
    with pytest.raises(IsADirectoryError):
        program.find(place, "")


def test_environment_and_sysctl_names() -> None:
    assert program.environment(["A=1", "B", "A=2"], "/h") == {b"A": b"2", b"HOME": b"/h"}
    assert program.environment(["HOME=/mine"], "/h") == {b"HOME": b"/mine"}
    assert program.sysctl_path("net.ipv4.conf.eth0/1.forwarding") == "net/ipv4/conf/eth0.1/forwarding"
    assert program.sysctl_path("net/ipv4/conf/eth0.1/forwarding") == "net/ipv4/conf/eth0.1/forwarding"


def test_what_the_reaper_passes_on() -> None:
    forwarded = reaper.forwarded()
    assert {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH} <= forwarded
    assert not forwarded & {signal.SIGCHLD, signal.SIGKILL, signal.SIGSEGV}


def test_messages_of_failed_starts() -> None:
    found = failures.from_report(report.Report("failed", "lookup", 0, "x"), "x", is_exec=False)
    assert (found.step, found.errno) == ("exec", 2)
    assert 'exec: "x": executable file not found in $PATH' in found.message
    found = failures.from_report(report.Report("failed", "user", 0, "unable to find user x"), "x", is_exec=True)
    assert found.message == "unable to find user x"
    assert "before the program was started" in failures.from_report(None, "x", is_exec=False).message


def test_exit_record(tmp_path: os.PathLike[str]) -> None:
    path = f"{os.fspath(tmp_path)}/exit"
    assert read_exit(path) is None
    record = ExitRecord(path)
    assert os.path.getsize(path) == SIZE
    assert read_exit(path) is None
    record.write(code=1, signal=None, oom=True, started_ns=1, finished_ns=2, error="\x00" * 5000, log_dropped=3)
    record.close()
    found = read_exit(path)
    assert found is not None
    assert (found.code, found.oom, found.started_ns, found.finished_ns, found.log_dropped) == (1, True, 1, 2, 3)
    assert os.path.getsize(path) == SIZE


@pytest.mark.parametrize(
    ("pieces", "expected", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x10", b"b"], b"a\x10b", False),
        ([b"a\x10", b"\x11rest"], b"a", True),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11\x10x\x10\x11"], b"\x11\x10x", True),
    ],
)
def test_detach_keys(pieces: list[bytes], expected: bytes, detached: bool) -> None:
    loop = Loop()
    hub = Hub(loop, None, tty=True, stdin_once=False)
    near, far = socket.socketpair()
    client = Client(hub, far.detach(), frozenset({0}), b"\x10\x11")
    found = [client._detach(piece) for piece in pieces]
    assert b"".join(data for data, _ in found) == expected
    assert found[-1][1] is detached
    hub.drop(client)
    os.close(client.fd)
    near.close()
    loop.close()
