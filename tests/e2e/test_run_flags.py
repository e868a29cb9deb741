"""What each flag of ``run`` does, as the container or the kernel sees it, where no other test looks."""

import base64
import json
import os
import time
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for


def on_v1(controller: str) -> bool:
    return os.path.isdir(f"/sys/fs/cgroup/{controller}")


def test_names_and_addresses(engine: Engine) -> None:
    flags = ("--domainname", "example.org", "--hostname", "box", "--add-host", "away:192.0.2.1")
    resolver = ("--dns", "192.0.2.53", "--dns-option", "ndots:3", "--dns-search", "example.net")
    script = "hostname -f; cat /proc/sys/kernel/domainname /etc/hosts /etc/resolv.conf /sys/class/net/eth0/address"
    mac = ("--mac-address", "02:42:ac:11:77:77")
    lines = engine.ok("run", "--rm", *flags, *resolver, *mac, "busybox", "sh", "-c", script).splitlines()
    assert lines[:2] == ["box.example.org", "example.org"]
    assert "192.0.2.1\taway" in lines
    assert [line for line in lines if line.split()[0] in {"nameserver", "search", "options"}] == [
        "nameserver 192.0.2.53",
        "search example.net",
        "options ndots:3",
    ]
    assert lines[-1] == "02:42:ac:11:77:77"


def test_environment_and_labels_of_files(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# not this\nONE=1\nTWO=a b\n")
    (tmp_path / "labels").write_text("first=1\nsecond\n")
    flags = ("--env-file", str(tmp_path / "env"), "--label-file", str(tmp_path / "labels"), "--annotation", "a.b=c")
    assert engine.ok("run", "--name", "box", *flags, "busybox", "sh", "-c", "echo $ONE $TWO") == "1 a b"
    assert engine.field("box", "{{json .Config.Labels}}") == '{"first":"1","second":""}'
    assert engine.field("box", "{{json .HostConfig.Annotations}}") == '{"a.b":"c"}'


def test_namespaces(engine: Engine) -> None:
    """Those that are shared are the host's or another container's; all others are the container's own."""
    engine.ok("run", "-d", "--name", "first", "--ipc", "shareable", "busybox", "sleep", "1000")

    def namespaces(*flags: str) -> dict[str, str]:
        script = "for n in ipc uts pid cgroup; do echo $n $(readlink /proc/self/ns/$n); done"
        shown = engine.ok("run", "--rm", *flags, "busybox", "sh", "-c", script)
        return dict(line.split(" ", 1) for line in shown.splitlines())

    host = {name: os.readlink(f"/proc/{engine.listener()}/ns/{name}") for name in ("ipc", "uts", "pid", "cgroup")}
    first = {name: os.readlink(f"/proc/{engine.host_pid('first')}/ns/{name}") for name in host}
    own = namespaces()
    assert all(own[name] not in (host[name], first[name]) for name in ("ipc", "uts", "pid"))
    assert namespaces("--ipc", "host")["ipc"] == host["ipc"]
    assert namespaces("--ipc", "container:first")["ipc"] == first["ipc"]
    assert namespaces("--uts", "host")["uts"] == host["uts"]
    assert namespaces("--pid", "host")["pid"] == host["pid"]
    assert namespaces("--pid", "container:first")["pid"] == first["pid"]
    assert namespaces("--cgroupns", "host")["cgroup"] == host["cgroup"]
    assert namespaces("--cgroupns", "private")["cgroup"] != host["cgroup"]


def test_limits_of_a_process(engine: Engine) -> None:
    flags = ("--shm-size", "7m", "--ulimit", "nofile=77:88", "--oom-score-adj", "321", "--cap-drop", "CHOWN")
    script = "df -k /dev/shm | tail -1; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; chown 1 /tmp || echo no"
    lines = engine.ok("run", "--rm", *flags, "busybox", "sh", "-c", script).splitlines()
    assert lines[0].split()[1] == "7168"
    assert lines[1:] == ["77", "88", "321", "no"]


def test_limits_of_the_control_group(engine: Engine) -> None:
    flags = ("--cpu-period", "50000", "--cpu-quota", "20000", "--cpuset-cpus", "0", "--cpuset-mems", "0")
    memory = ("--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "--cgroup-parent", "/rundlet-t")
    engine.ok("run", "-d", "--name", "box", *flags, *memory, "busybox", "sleep", "1000")
    try:
        assert engine.cgroup("box", "cpuset", "cpuset.cpus") == "0"
        assert engine.cgroup("box", "cpuset", "cpuset.mems") == "0"
        if on_v1("memory"):
            assert engine.cgroup("box", "cpu", "cpu.cfs_period_us") == "50000"
            assert engine.cgroup("box", "cpu", "cpu.cfs_quota_us") == "20000"
            assert engine.cgroup("box", "memory", "memory.memsw.limit_in_bytes") == str(96 << 20)
            assert engine.cgroup("box", "memory", "memory.soft_limit_in_bytes") == str(32 << 20)
        else:
            assert engine.cgroup("box", "cpu", "cpu.max") == "20000 50000"
            assert engine.cgroup("box", "memory", "memory.swap.max") == str(32 << 20)
            assert engine.cgroup("box", "memory", "memory.low") == str(32 << 20)
        assert "/rundlet-t/" in Path(f"/proc/{engine.host_pid('box')}/cgroup").read_text()
        engine.ok("update", "--cpu-period", "40000", "--cpu-quota", "10000", "--cpuset-mems", "0", "box")
        engine.ok("update", "--memory-reservation", "16m", "--cpu-shares", "512", "box")
        if on_v1("memory"):
            assert engine.cgroup("box", "cpu", "cpu.cfs_period_us") == "40000"
            assert engine.cgroup("box", "cpu", "cpu.cfs_quota_us") == "10000"
            assert engine.cgroup("box", "cpu", "cpu.shares") == "512"
            assert engine.cgroup("box", "memory", "memory.soft_limit_in_bytes") == str(16 << 20)
        else:
            assert engine.cgroup("box", "cpu", "cpu.max") == "10000 40000"
            assert engine.cgroup("box", "memory", "memory.low") == str(16 << 20)
        weight = engine.cli("update", "--blkio-weight", "9", "box")
        assert "Range of blkio weight is from 10 to 1000" in weight.stderr
    finally:
        engine.remove_containers()
        # A parent that the user named is the user's.
        for directory in Path("/sys/fs/cgroup").glob("*/rundlet-t"):
            directory.rmdir()
        if Path("/sys/fs/cgroup/rundlet-t").is_dir():
            Path("/sys/fs/cgroup/rundlet-t").rmdir()


def test_real_time(engine: Engine) -> None:
    """Where the kernel has such groups they share what the one above has: nothing, unless its owner gave it some."""
    engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        engine.ok("update", "--cpu-rt-period", "500000", "box")
        assert engine.cgroup("box", "cpu", "cpu.rt_period_us") == "500000"
        engine.ok("run", "-d", "--name", "other", "--cpu-rt-period", "400000", "busybox", "sleep", "1000")
        assert engine.cgroup("other", "cpu", "cpu.rt_period_us") == "400000"
        message = "cpu.rt_runtime_us"
    else:
        message = "kernel does not support CPU real-time scheduler"
        assert message in engine.cli("update", "--cpu-rt-period", "500000", "box").stderr
        assert message in engine.cli("run", "--cpu-rt-period", "500000", "busybox", "true").stderr
    more = engine.cli("update", "--cpu-rt-runtime", "300000", "box")
    assert message in more.stderr
    assert message in engine.cli("run", "--rm", "--cpu-rt-runtime", "300000", "busybox", "true").stderr


def test_what_an_update_can_not_change_is_refused(engine: Engine) -> None:
    engine.ok("create", "--name", "box", "--ulimit", "nofile=77", "busybox", "true")
    post = ("--unix-socket", engine.socket, "-s", "-H", "Content-Type: application/json", "-d")

    def update(body: str) -> str:
        done = engine.run_command(["curl", *post, body, "http://engine/containers/box/update"])
        return done.stdout.strip()

    assert update('{"Ulimits": [{"Name": "nofile", "Soft": 77, "Hard": 77}]}') == '{"Warnings":null}'
    for name, value in (("Ulimits", "[]"), ("Devices", "[]"), ("CgroupParent", '""'), ("Init", "null")):
        assert update(f'{{"{name}": {value}}}') == '{"Warnings":null}'
    for name, value in (
        ("Ulimits", '[{"Name": "nofile", "Soft": 1, "Hard": 1}]'),
        ("Devices", '[{"PathOnHost": "/dev/null"}]'),
        ("DeviceCgroupRules", '["c 1:1 r"]'),
        ("DeviceRequests", '[{"Count": 1}]'),
        ("CgroupParent", '"/other"'),
        ("Init", "true"),
    ):
        assert update(f'{{"{name}": {value}}}') == f'{{"message":"{name} of an update is not supported by Rundlet"}}'


def test_a_rule_for_devices(engine: Engine) -> None:
    script = "mknod /tun c 10 200; head -c 0 /tun"
    without = engine.cli("run", "--rm", "busybox", "sh", "-c", script)
    assert "Operation not permitted" in without.stderr
    allowed = engine.cli("run", "--rm", "--device-cgroup-rule", "c 10:200 rwm", "busybox", "sh", "-c", script)
    assert "Operation not permitted" not in allowed.stderr
    refused = engine.cli("run", "--rm", "--device-cgroup-rule", "nonsense", "busybox", "true")
    assert refused.returncode == 125
    assert "invalid device cgroup format 'nonsense'" in refused.stderr


@pytest.mark.skipif(not os.path.exists("/dev/loop0"), reason="no block device to throttle")
@pytest.mark.parametrize(
    ("flag", "value", "v1", "v2"),
    [
        ("--device-read-iops", "11", "blkio.throttle.read_iops_device", "riops=11"),
        ("--device-write-bps", "1mb", "blkio.throttle.write_bps_device", "wbps=1048576"),
        ("--device-write-iops", "12", "blkio.throttle.write_iops_device", "wiops=12"),
    ],
)
def test_throttles(engine: Engine, flag: str, value: str, v1: str, v2: str) -> None:
    """The flags: --device-read-iops --device-write-bps --device-write-iops."""
    engine.ok("run", "-d", "--name", "box", flag, f"/dev/loop0:{value}", "busybox", "sleep", "1000")
    if on_v1("blkio"):
        assert engine.cgroup("box", "blkio", v1).split()[1] == v2.partition("=")[2]
    else:
        assert v2 in engine.cgroup("box", "io", "io.max").split()


def test_all_exposed_ports(engine: Engine) -> None:
    engine.ok(
        "run",
        "-d",
        "--name",
        "box",
        "--publish-all",
        "--expose",
        "80",
        "--expose",
        "53/udp",
        "busybox",
        "sleep",
        "1000",
    )
    lines = engine.ok("port", "box").splitlines()
    assert {line.split()[0] for line in lines} == {"80/tcp", "53/udp"}
    assert all(int(line.rpartition(":")[2]) > 1023 for line in lines)


def _health(engine: Engine, field: str) -> str:
    return engine.field("box", f"{{{{json .State.Health.{field}}}}}")


def test_the_clock_of_a_health_check(engine: Engine) -> None:
    """Within the start period failures don't count, and checks come as often as that period wants them."""
    flags = ("--health-cmd", "false", "--health-interval", "1h", "--health-retries", "1")
    start = ("--health-start-period", "1h", "--health-start-interval", "50ms")
    engine.ok("run", "-d", "--name", "box", *flags, *start, "busybox", "sleep", "1000")
    wait_for(lambda: _health(engine, "Log").count('"ExitCode":1') >= 3, 30, hint="checks by the start interval")
    assert _health(engine, "Status") == '"starting"'
    assert _health(engine, "FailingStreak") == "0"


def test_a_health_check_that_takes_too_long(engine: Engine) -> None:
    flags = (
        "--health-cmd",
        "sleep 1000",
        "--health-interval",
        "50ms",
        "--health-timeout",
        "1s",
        "--health-retries",
        "1",
    )
    engine.ok("run", "-d", "--name", "box", *flags, "busybox", "sleep", "1000")
    wait_for(lambda: _health(engine, "Status") == '"unhealthy"', 30, hint="the check is ended")
    assert "Health check exceeded timeout (1s)" in _health(engine, "Log")


def test_no_health_check(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nHEALTHCHECK --interval=50ms CMD true\n")
    engine.ok("build", "-q", "-t", "checked", str(tmp_path))
    engine.ok("run", "-d", "--name", "with", "checked", "sleep", "1000")
    engine.ok("run", "-d", "--name", "box", "--no-healthcheck", "checked", "sleep", "1000")
    wait_for(lambda: engine.field("with", "{{.State.Health.Status}}") == "healthy", 30)
    assert "Health" not in engine.field("box", "{{json .State}}")


def test_the_end_of_patience(engine: Engine) -> None:
    """``--stop-timeout`` is kept, and passes between the first signal and the last."""
    script = "trap '' TERM; while :; do sleep 0.1; done"
    engine.ok("run", "-d", "--name", "box", "--stop-timeout", "2", "busybox", "sh", "-c", script)
    assert engine.field("box", "{{.Config.StopTimeout}}") == "2"
    began = time.monotonic()
    engine.ok("stop", "box")
    assert time.monotonic() - began >= 2
    assert engine.field("box", "{{.State.ExitCode}}") == "137"
    # What an older command line calls --timeout.
    for command in ("stop", "restart"):
        engine.ok("start", "box")
        said = engine.ok(command, "--time", "0", "box")
        assert said == "Flag --time has been deprecated, use --timeout instead\nbox"
    assert engine.field("box", "{{.State.Status}}") == "running"


def test_the_signal_of_a_stop(engine: Engine) -> None:
    script = "trap 'exit 7' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"
    engine.ok("run", "-d", "--name", "box", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    wait_for(lambda: engine.ok("logs", "box") == "ready", 20)
    engine.ok("stop", "--timeout", "60", "box")
    assert engine.field("box", "{{.State.ExitCode}}") == "7"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--cpu-count", "2"), "--cpu-count is for Windows containers and not supported by Rundlet"),
        (("--cpu-percent", "5"), "--cpu-percent is for Windows containers and not supported by Rundlet"),
        (("--io-maxiops", "7"), "--io-maxiops is for Windows containers and not supported by Rundlet"),
        (("--io-maxbandwidth", "7"), "--io-maxbandwidth is for Windows containers and not supported by Rundlet"),
        (("--volume-driver", "nope", "-v", "x:/y"), 'error looking up volume plugin nope: plugin "nope" not found'),
    ],
)
def test_refused_by_name(engine: Engine, flags: tuple[str, ...], message: str) -> None:
    done = engine.cli("run", "--rm", *flags, "busybox", "true")
    assert done.returncode == 125
    assert message in done.stderr


def test_the_engines_socket_and_the_users_logins(engine: Engine, tmp_path: Path) -> None:
    """--use-api-socket; a container with a configuration of its own keeps that."""
    auth = base64.b64encode(b"me:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"registry.test": {"auth": auth}}}))
    show = "stat -c '%F %a %n' /var/run/docker.sock; echo $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json"
    words = ("--config", str(tmp_path), "run", "--rm", "--use-api-socket")
    socket, directory, config = engine.ok(*words, "busybox", "sh", "-c", show).splitlines()
    assert (socket.split()[0], socket.split()[-1]) == ("socket", "/var/run/docker.sock")
    assert directory == "/run/secrets/docker"
    assert json.loads(config) == {"auths": {"registry.test": {"auth": auth}}}
    done = engine.cli(*words, "-e", "DOCKER_CONFIG=/mine", "busybox", "sh", "-c", f"{show}; ls /run/secrets")
    assert done.stdout.splitlines()[1:] == ["/mine"]
    source = engine.ok("create", "--use-api-socket", "busybox", "true")
    assert engine.field(source, "{{(index .Mounts 0).Source}}") == str(engine.socket)


@pytest.mark.parametrize("flags", [("--checkpoint", "x"), ("--checkpoint-dir", "/x", "--checkpoint", "x")])
def test_no_start_from_a_checkpoint(engine: Engine, flags: tuple[str, ...]) -> None:
    engine.ok("create", "--name", "box", "busybox", "true")
    done = engine.cli("start", *flags, "box")
    assert done.returncode == 1
    assert "checkpoint is not supported by Rundlet" in done.stderr
    assert engine.field("box", "{{.State.Status}}") == "created"


@pytest.mark.parametrize("command", ["start", "exec", "run"])
def test_keys_that_there_are_not(engine: Engine, command: str) -> None:
    engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    words = {
        "start": ("start", "--detach-keys", "ctrl-!", "box"),
        "exec": ("exec", "--detach-keys", "ctrl-!", "box", "true"),
        "run": ("run", "-d", "--detach-keys", "ctrl-!", "busybox", "true"),
    }
    done = engine.cli(*words[command])
    assert done.returncode != 0
    assert "etach keys" in done.stderr
    assert "ctrl-!" in done.stderr


def test_ipc_of_a_container_that_keeps_its_own(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "first", "busybox", "sleep", "1000")
    done = engine.cli("run", "--rm", "--ipc", "container:first", "busybox", "true")
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in done.stderr
    engine.ok("create", "--name", "second", "busybox", "true")
    done = engine.cli("run", "--rm", "--pid", "container:second", "busybox", "true")
    assert "failed to join PID namespace: container " in done.stderr
    assert " is not running" in done.stderr


def test_writable_control_groups(engine: Engine) -> None:
    directory = "/sys/fs/cgroup/pids" if on_v1("pids") else "/sys/fs/cgroup"
    script = f"mkdir {directory}/below 2>/dev/null && rmdir {directory}/below && echo made || echo refused"

    def tried(*flags: str) -> str:
        return engine.ok("run", "--rm", *flags, "busybox", "sh", "-c", script)

    assert tried() == "refused"
    assert tried("--security-opt", "writable-cgroups=true") == "made"
    assert tried("--security-opt", "writable-cgroups=false") == "refused"
    assert tried("--privileged") == "made"
    assert tried("--privileged", "--security-opt", "writable-cgroups=false") == "refused"
    done = engine.cli("create", "--security-opt", "writable-cgroups=potato", "busybox", "true")
    assert 'invalid --security-opt 2: "writable-cgroups=potato"' in done.stderr


def test_a_filter_of_one_s_own_holds_for_a_privileged_container(engine: Engine, tmp_path: Path) -> None:
    rules = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chown", "fchownat"], "action": "%s"}]}'
    (tmp_path / "profile.json").write_text(rules % "SCMP_ACT_ERRNO")
    flags = ("--rm", "--privileged", "--security-opt", f"seccomp={tmp_path}/profile.json")
    assert "Operation not permitted" in engine.cli("run", *flags, "busybox", "chown", "42", "/tmp").stderr


def test_no_limit_of_processes_any_more(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "box", "--pids-limit", "32", "busybox", "sleep", "1000")
    assert engine.cgroup("box", "pids", "pids.max") == "32"
    engine.ok("update", "--pids-limit", "-1", "box")
    assert engine.field("box", "{{.HostConfig.PidsLimit}}") == "0"
    assert engine.cgroup("box", "pids", "pids.max") == "max"


def test_the_name_of_a_link_is_a_name(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "database", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "app", "--link", "database:mysql", "busybox", "sleep", "1000")
    assert engine.field("app/mysql", "{{.Name}}") == "/database"
    engine.ok("rename", "app", "other")
    assert engine.field("other/mysql", "{{.Name}}") == "/database"
    assert "No such" in engine.cli("inspect", "other/absent").stderr


def test_the_directory_is_shown_clean(engine: Engine) -> None:
    assert engine.ok("run", "--name", "box", "-w", "//tmp//", "busybox", "pwd") == "/tmp"
    assert engine.field("box", "{{.Config.WorkingDir}}") == "/tmp"


def test_a_user_that_there_is_not_ends_the_exec(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1000")
    assert engine.ok("exec", "-u", "root", "box", "id", "-u") == "0"
    for user, why in (
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("0:no-group", "unable to find group no-group: no matching entries in group file"),
    ):
        done = engine.cli("exec", "-u", user, "box", "id")
        assert done.returncode == 126
        assert why in done.stdout + done.stderr


def test_a_namespace_of_nobody(engine: Engine) -> None:
    for flag in ("--pid", "--ipc"):
        done = engine.cli("create", flag, "container:absent", "busybox", "true")
        assert done.stderr.strip() == "Error response from daemon: No such container: absent"
