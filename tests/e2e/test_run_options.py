"""Each flag of ``run`` is seen in the container or in the kernel, through every command line."""

import os
import re
from pathlib import Path

import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine


def shell(client: Client, script: str, *flags: str) -> str:
    return client.ok("run", "--rm", *flags, "busybox", "sh", "-c", script)


def test_environment(client: Client, scratch: Path) -> None:
    (scratch / "env").write_text("# a comment\nFROM_FILE=yes\nSECOND=a b\n")
    flags = ("-e", "ONE=1", "--env", "TWO=x=y", "--env-file", str(scratch / "env"))
    assert shell(client, 'echo "$ONE|$TWO|$FROM_FILE|$SECOND"', *flags) == "1|x=y|yes|a b"
    environment = dict(line.split("=", 1) for line in shell(client, "env").splitlines())
    assert environment["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert environment["HOME"] == "/root"
    assert len(environment["HOSTNAME"]) == 12


def test_working_directory(client: Client) -> None:
    assert shell(client, "pwd", "-w", "/tmp") == "/tmp"
    assert shell(client, "pwd", "-w", "/made/for/it") == "/made/for/it"
    assert client.ok("run", "-d", "--name", "placed", "-w", "/tmp", "busybox", "sleep", "100")
    assert client.ok("exec", "placed", "pwd") == "/tmp"
    assert client.ok("exec", "-w", "/etc", "placed", "pwd") == "/etc"


@pytest.mark.parametrize(
    ("user", "seen"),
    [
        ("1000", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"),
        ("app", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"),
        ("daemon", "uid=1(daemon) gid=1(daemon) groups=1(daemon)"),
        ("1000:2000", "uid=1000(app) gid=2000(extra) groups=2000(extra)"),
        ("7777:8888", "uid=7777 gid=8888 groups=8888"),
    ],
)
def test_user(client: Client, user: str, seen: str) -> None:
    assert shell(client, "id", "-u", user) == seen


def test_unknown_user(client: Client) -> None:
    done = client("run", "--rm", "-u", "nobody-here", "busybox", "true")
    assert done.returncode in {125, 126}
    assert "unable to find user nobody-here: no matching entries in passwd file" in done.stderr


def test_bind_mount_read_write_and_read_only(client: Client, scratch: Path) -> None:
    (scratch / "file").write_text("from the host\n")
    assert shell(client, "cat /data/file; echo back > /data/answer", "-v", f"{scratch}:/data") == "from the host"
    assert (scratch / "answer").read_text() == "back\n"
    done = client("run", "--rm", "-v", f"{scratch}:/data:ro", "busybox", "touch", "/data/no")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_a_bind_mount_makes_a_missing_directory(client: Client, scratch: Path) -> None:
    shell(client, "true", "-v", f"{scratch}/new:/data")
    assert (scratch / "new").is_dir()


def test_a_named_volume_keeps_its_content(client: Client) -> None:
    shell(client, "echo kept > /data/file", "-v", "store:/data")
    assert shell(client, "cat /data/file", "-v", "store:/data") == "kept"


def test_read_only_root(client: Client) -> None:
    assert (
        shell(client, "touch /no 2>/dev/null || echo refused; touch /dev/shm/yes && echo shm", "--read-only")
        == "refused\nshm"
    )


def test_hostname(client: Client) -> None:
    assert shell(client, "hostname; cat /etc/hostname; grep -c named /etc/hosts", "-h", "named") == "named\nnamed\n1"


def test_entrypoint(client: Client) -> None:
    assert client.ok("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b") == "a b"


def test_name_conflict(client: Client) -> None:
    client.ok("create", "--name", "taken", "busybox", "true")
    done = client("create", "--name", "taken", "busybox", "true")
    assert done.returncode == 1
    assert 'Conflict. The container name "/taken" is already in use by container' in done.stderr
    assert client("run", "--name", "taken", "busybox", "true").returncode == 125


def test_cidfile(client: Client, scratch: Path) -> None:
    identity = client.ok("create", "--cidfile", str(scratch / "id"), "busybox", "true")
    assert (scratch / "id").read_text() == identity
    done = client("run", "--cidfile", str(scratch / "id"), "busybox", "true")
    assert done.returncode == 125
    assert "already exists" in done.stderr or "file found" in done.stderr


def effective(client: Client, *flags: str) -> int:
    return int(shell(client, "grep CapEff /proc/self/status", *flags).split()[1], 16)


def test_capabilities(client: Client) -> None:
    assert effective(client) == 0xA80425FB
    assert effective(client, "--cap-drop", "ALL") == 0
    assert effective(client, "--cap-drop", "CHOWN") == 0xA80425FB & ~1
    assert effective(client, "--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == 1 << 12
    assert effective(client, "--cap-add", "SYS_TIME") == 0xA80425FB | 1 << 25


def test_an_unknown_capability_is_refused(client: Client) -> None:
    done = client("run", "--rm", "--cap-add", "MAKE_COFFEE", "busybox", "true")
    assert done.returncode == 125
    assert "MAKE_COFFEE" in done.stderr


def test_privileged(client: Client) -> None:
    ours = re.search(r"^CapBnd:\s+(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert ours is not None
    assert effective(client, "--privileged") == int(ours[1], 16)
    assert shell(client, "grep Seccomp: /proc/self/status", "--privileged").split()[1] == "0"
    assert shell(client, "grep Seccomp: /proc/self/status").split()[1] == "2"
    assert shell(client, "mount -t tmpfs none /tmp && echo mounted", "--privileged") == "mounted"
    assert (
        "mounted" not in client("run", "--rm", "busybox", "sh", "-c", "mount -t tmpfs none /tmp && echo mounted").stdout
    )


def test_init_reaps_and_forwards(client: Client) -> None:
    # An orphan of the shell ends; process 1 must take its status.
    script = "(sleep 0.1 &) ; sleep 0.4; ps -o stat,comm | grep -c '^Z' || true"
    assert shell(client, script, "--init") == "0"
    client.ok("run", "-d", "--init", "--name", "with-init", "busybox", "sleep", "1000")
    client.ok("stop", "with-init")
    assert client.ok("inspect", "-f", "{{.State.ExitCode}}", "with-init") == "143"


def on_v2() -> bool:
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def test_memory_limit_is_in_the_cgroup(client: Client) -> None:
    client.ok("run", "-d", "--name", "small", "-m", "64m", "busybox", "sleep", "1000")
    name = "memory.max" if on_v2() else "memory.limit_in_bytes"
    assert client.engine.cgroup("small", "memory", name) == str(64 << 20)


def test_running_out_of_memory_is_noticed(client: Client) -> None:
    done = client("run", "--name", "greedy", "-m", "32m", "--network", "none", "busybox", "sh", "-c",
                  "x=a; while :; do x=$x$x; done")  # fmt: skip
    assert done.returncode == 137
    assert client.ok("inspect", "-f", "{{.State.OOMKilled}}", "greedy") == "true"


def test_cpu_limits_are_in_the_cgroup(client: Client) -> None:
    client.ok("run", "-d", "--name", "slow", "--cpus", "1.5", "-c", "512", "busybox", "sleep", "1000")
    if on_v2():
        assert client.engine.cgroup("slow", "cpu", "cpu.max") == "150000 100000"
        assert client.engine.cgroup("slow", "cpu", "cpu.weight") == "20"
    else:
        assert client.engine.cgroup("slow", "cpu", "cpu.cfs_quota_us") == "150000"
        assert client.engine.cgroup("slow", "cpu", "cpu.cfs_period_us") == "100000"
        assert client.engine.cgroup("slow", "cpu", "cpu.shares") == "512"


def test_pids_limit_holds(client: Client) -> None:
    client.ok("run", "-d", "--name", "few", "--pids-limit", "10", "busybox", "sleep", "1000")
    assert client.engine.cgroup("few", "pids", "pids.max") == "10"
    done = client("exec", "few", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; wait")
    assert "can't fork" in done.stderr


def test_a_limit_of_nonsense_is_refused(client: Client) -> None:
    assert client("run", "--rm", "-m", "1m", "busybox", "true").returncode == 125
    assert client("run", "--rm", "--cpus", "-3", "busybox", "true").returncode == 125
    assert client("run", "--rm", "-m", "much", "busybox", "true").returncode == 125
    assert client.ok("ps", "-aq") == ""


def test_labels_are_recorded(client: Client) -> None:
    client.ok("create", "--name", "labelled", "-l", "a=b", "--label", "c", "busybox", "true")
    assert client.ok("inspect", "-f", "{{json .Config.Labels}}", "labelled") == '{"a":"b","c":""}'


def test_defaults_of_the_process(client: Client) -> None:
    assert shell(client, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "0"
    assert shell(client, "umask") == "0022"


def test_terminal(client: Client) -> None:
    """-t gives the container a terminal even where the caller has none (stdin closed)."""
    if client.official:
        pytest.skip("the official command line insists on a terminal of its own for -t with -i only")
    out = client("run", "--rm", "-t", "busybox", "sh", "-c", "tty; echo err >&2").stdout
    assert out == "/dev/pts/0\r\nerr\r\n"


def test_every_flag_of_the_issue_is_known(engine: Engine) -> None:
    text = engine.ok("run", "--help")
    flags = """detach interactive tty rm name env env-file workdir user volume publish publish-all network entrypoint
        hostname memory cpus cpu-shares pids-limit cidfile read-only cap-add cap-drop privileged init pull platform
        label runtime"""
    for flag in flags.split():
        assert f"--{flag}" in text
