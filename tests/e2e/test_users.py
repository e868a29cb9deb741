"""``--userns=auto``: the container's users are a range of their own, its files have its own numbers."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for

AUTO = "--userns=auto"


def outside(engine: Engine, name: str) -> int:
    """The machine's number of the container's root."""
    inside, begin, size = Path(f"/proc/{engine.host_pid(name)}/uid_map").read_text().split()
    assert (inside, size) == ("0", "65536")
    return int(begin)


def test_root_in_the_container_is_nobody_on_the_machine(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "one", AUTO, "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "two", AUTO, "busybox", "sleep", "1000")
    first, second = outside(engine, "one"), outside(engine, "two")
    assert abs(first - second) >= 65536
    assert min(first, second) >= 0x7000_0000
    status = Path(f"/proc/{engine.host_pid('one')}/status").read_text()
    assert f"Uid:\t{first}\t{first}\t{first}\t{first}" in status
    assert f"Gid:\t{first}" in status
    assert engine.field("one", "{{.HostConfig.UsernsMode}}") == "auto"
    assert engine.ok("exec", "one", "id", "-u") == "0"
    engine.ok("exec", "-u", "33:33", "one", "sh", "-c", "test $(id -u) = 33 && echo said > /dev/stdout")
    # Rights over what is the container's own, and over nothing else.
    assert engine.cli("exec", "one", "sh", "-c", "echo 1 > /proc/sys/kernel/panic").returncode != 0
    engine.ok("run", "--rm", AUTO, "--cap-add", "ALL", "busybox", "mount", "-t", "tmpfs", "none", "/tmp")


def test_files_have_the_containers_numbers_everywhere(engine: Engine, tmp_path: Path) -> None:
    engine.ok("run", "-d", "--name", "box", AUTO, "busybox", "sleep", "1000")
    engine.ok("exec", "box", "sh", "-c", "echo new > /new; chown 7:8 /new; chown 9 /etc/passwd; rm -r /var; mkfifo /p")
    (tmp_path / "copied").write_text("copied")
    engine.ok("cp", str(tmp_path / "copied"), "box:/copied")
    assert engine.ok("exec", "box", "stat", "-c", "%u:%g", "/new", "/copied").split() == ["7:8", "0:0"]
    changes = engine.ok("diff", "box").splitlines()
    assert {"A /new", "A /copied", "A /p", "C /etc/passwd", "D /var"} <= set(changes)
    for source in ("running", "stopped"):
        members = archive(engine, "cp", "box:/new", "-")
        assert (members["new"].uid, members["new"].gid) == (7, 8), source
        exported = archive(engine, "export", "box")
        assert exported["etc/passwd"].uid == 9
        assert exported["p"].isfifo()
        assert max(member.uid for member in exported.values()) < 65536
        engine.ok("stop", "-t", "0", "box")
    engine.ok("commit", "box", "made")
    assert engine.ok("run", "--rm", "made", "stat", "-c", "%u:%g", "/new", "/etc/passwd").split() == ["7:8", "9:0"]
    assert engine.ok("run", "--rm", AUTO, "made", "stat", "-c", "%u:%g", "/new") == "7:8"
    engine.ok("rmi", "-f", "made")


def archive(engine: Engine, *arguments: str) -> dict[str, tarfile.TarInfo]:
    with engine.popen(*arguments) as process:
        assert process.stdout is not None
        data = process.stdout.read()
        assert process.stderr is not None
        assert process.wait(60) == 0, process.stderr.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name.removeprefix("./"): member for member in tar}


def test_binds_are_nobodys_unless_they_are_mapped_and_volumes_always_are(engine: Engine, scratch: Path) -> None:
    (scratch / "old").write_text("old")
    listing = "stat -c %u /d/old; touch /d/new && chown 5 /d/new"
    done = engine.cli("run", "--rm", AUTO, "-v", f"{scratch}:/d", "busybox", "sh", "-c", listing)
    assert done.stdout == "65534\n"
    assert "Permission denied" in done.stderr
    for flags in (("-v", f"{scratch}:/d:idmap"), ("--mount", f"type=bind,src={scratch},dst=/d,idmap")):
        assert engine.ok("run", "--rm", AUTO, *flags, "busybox", "sh", "-c", listing) == "0"
        assert os.stat(scratch / "new").st_uid == 5
        os.unlink(scratch / "new")
    done = engine.cli("run", "--rm", "-v", f"{scratch}:/d:idmap", "busybox", "true")
    assert done.returncode == 125
    assert "/d: idmap is for containers with users of their own (--userns=auto)" in done.stderr
    done = engine.cli("run", "--rm", AUTO, "-v", "/proc/sys:/d:idmap", "busybox", "true")
    assert done.returncode == 125
    assert "/proc/sys: its file system takes no idmapped mounts" in done.stderr
    # A volume is filled from the image, and seen alike by whoever has it.
    engine.ok("run", "--rm", AUTO, "-v", "shared:/etc", "busybox", "chown", "6:7", "/etc/passwd")
    for users in (AUTO, "--userns=auto:size=1000", "--userns=host"):
        assert (
            engine.ok("run", "--rm", users, "-v", "shared:/v", "busybox", "stat", "-c", "%u:%g", "/v/passwd") == "6:7"
        )
    engine.ok("volume", "rm", "shared")


def test_networks_limits_and_settings_are_as_ever(engine: Engine) -> None:
    script = (
        "mkdir /w; echo page > /w/index.html; echo began; ip link show eth0 | grep -q UP && echo up; "
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; httpd -f -p 80 -h /w"
    )
    settings = ("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=9000", "-m", "64m")
    health = ("--health-cmd", "test $(id -u) = 0", "--health-interval", "200ms")
    engine.ok(
        "run", "-d", "--name", "web", "-p", "127.0.0.1::80", AUTO, *settings, *health, "busybox", "sh", "-c", script
    )
    wait_for(lambda: engine.ok("logs", "web").split() == ["began", "up", "1", "9000"])
    wait_for(lambda: engine.field("web", "{{.State.Health.Status}}") == "healthy")
    fetch = ["wget", "-qO-", f"http://{engine.ok('port', 'web', '80')}/"]
    wait_for(lambda: subprocess.run(fetch, capture_output=True, check=False).stdout == b"page\n")
    # The namespaces of a former life are the next one's: what the container may do with its network stays.
    before = outside(engine, "web")
    engine.ok("restart", "-t", "0", "web")
    assert outside(engine, "web") == before
    flags = ("--rm", AUTO, "--network", "container:web", "--cap-add", "NET_ADMIN")
    assert engine.ok("run", *flags, "busybox", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    wait_for(lambda: engine.cli("run", *flags, "busybox", "wget", "-qO-", "127.0.0.1").stdout == "page\n")


def test_started_again_by_its_policy_it_still_owns_its_network(engine: Engine) -> None:
    script = "ip link set lo down && ip link set lo up && echo mine; exit 1"
    flags = ("--name", "again", AUTO, "--cap-add", "NET_ADMIN", "--restart", "on-failure:2")
    engine.ok("run", "-d", *flags, "busybox", "sh", "-c", script)
    wait_for(lambda: engine.field("again", "{{.RestartCount}} {{.State.Status}}") == "2 exited")
    assert engine.ok("logs", "again").split() == ["mine"] * 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--privileged"],
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace "
            "when running privileged mode",
        ),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
        (
            ["--ipc", "container:other"],
            "the IPC namespace of another container with users of its own (--userns=host) is not",
        ),
        (["--rootfs", "/"], "--rootfs with users of the container's own (--userns=host) is not supported"),
        (["-u", "70000"], "the container has no user or group 70000: it is outside of its range"),
        (["--userns=auto:size=0"], "invalid userns mode: auto:size=0"),
        (["--userns=auto:uidmapping=0:1:2"], "--userns auto:uidmapping=0:1:2 (there are host, auto and auto:size=N)"),
        (["--userns=auto:size=16777217"], "invalid userns mode"),
        (["--userns=auto:size=10", "-u", "10"], "no user or group 10"),
    ],
)
def test_what_such_a_container_cannot_be(engine: Engine, flags: list[str], message: str) -> None:
    engine.ok("create", "--name", "other", "busybox", "true")
    done = engine.cli("run", "--rm", AUTO, *flags, "busybox", "true")
    assert done.returncode == 125
    assert message in done.stderr


def test_ranges_outlive_the_engine_and_end_with_the_container(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--default-userns=auto")
    assert "name=userns" in engine.ok("info", "-f", "{{.SecurityOptions}}")
    for name in ("one", "two"):
        engine.ok("run", "-d", "--name", name, "busybox", "sleep", "1000")
    taken = {outside(engine, "one"), outside(engine, "two")}
    engine.wait_for_successor(engine.kill())
    assert engine.ok("exec", "one", "id", "-u") == "0"
    engine.ok("run", "-d", "--name", "three", "busybox", "sleep", "1000")
    assert outside(engine, "three") not in taken
    freed = outside(engine, "one")
    engine.ok("rm", "-f", "one")
    engine.ok("run", "-d", "--name", "four", "busybox", "sleep", "1000")
    assert outside(engine, "four") == freed
    everybody = "0 0 4294967295"
    assert (
        engine.ok("run", "--rm", "--userns=host", "busybox", "cat", "/proc/self/uid_map").split() == everybody.split()
    )
    assert engine.field("four", "{{.HostConfig.UsernsMode}}") == "auto"
    # A build's steps are the machine's: what they borrow is not their users'.
    context = engine.directory / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN grep -q 4294967295 /proc/self/uid_map\n")
    engine.ok("build", "-q", str(context))


def test_device_under_another_name(engine: Engine) -> None:
    """No node can be made there: the machine's is mounted, whatever it is called on the machine."""
    script = "ls -ln /dev/other | awk '{print $5, $6}'; echo x > /dev/other && echo fine"
    done = engine.ok("run", "--rm", AUTO, "--device", "/dev/null:/dev/other", "busybox", "sh", "-c", script)
    assert done.split() == ["1,", "3", "fine"]
