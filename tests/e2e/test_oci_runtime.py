"""``rundlet-runtime`` as an OCI runtime: by hand through a container's life, under podman, under dockerd."""

import array
import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import leaks, netns
from tests.conftest import need
from tests.dockerd import running_dockerd
from tests.engines import SOURCE, Done, succeeded, wait_for
from tests.ociruntime import Runtime

from rundlet.linux.cgroup import Cgroup, detect

pytestmark = [pytest.mark.root]

# Machines of continuous integration give less than podman and dockerd ask for by themselves.
ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=9000:9000")


# ── a container's life ───────────────────────────────────────────────────────────────────────────────────────


def test_life(runtime: Runtime, tmp_path: Path) -> None:
    runtime.config["annotations"] = {"org.example": "yes"}
    runtime.write("echo started; trap 'exit 7' TERM; while :; do sleep 0.05; done")
    pidfile = tmp_path / "pid"
    assert runtime.create("--pid-file", str(pidfile)).returncode == 0
    state = json.loads(runtime.ok("state", runtime.name))
    pid = int(pidfile.read_text())
    assert (state["status"], state["pid"], state["bundle"]) == ("created", pid, str(runtime.bundle))
    assert state["annotations"] == {"org.example": "yes"}
    assert state["ociVersion"].startswith("1.")
    assert runtime.output() == ""  # the program waits
    assert "already exists" in runtime.create().stderr
    runtime.ok("start", runtime.name)
    wait_for(lambda: runtime.output().endswith("started\n"))
    assert runtime.status() == "running"
    assert "cannot start an already running container" in runtime("start", runtime.name).stderr
    assert "that is not stopped: running" in runtime("delete", runtime.name).stderr
    assert json.loads(runtime.ok("list", "--format", "json"))[0]["id"] == runtime.name
    assert runtime.ok("list", "-q") == runtime.name
    assert pid in json.loads(runtime.ok("ps", "--format", "json", runtime.name))
    assert json.loads(runtime.ok("events", "--stats", runtime.name))["data"]["pids"]["current"] >= 1
    runtime.ok("kill", runtime.name)
    wait_for(lambda: runtime.status() == "stopped")
    done = runtime("kill", runtime.name)
    assert (done.returncode, done.stderr) == (1, "rundlet-runtime: container not running\n")
    assert runtime("start", runtime.name).returncode == 1
    assert runtime.ok("kill", "--all", runtime.name) == ""
    runtime.ok("delete", runtime.name)
    assert "does not exist" in runtime("state", runtime.name).stderr
    assert runtime("delete", runtime.name).returncode == 1
    runtime.ok("delete", "--force", runtime.name)


def test_run_gives_the_exit_status_and_leaves_nothing(runtime: Runtime) -> None:
    runtime.write("cat; exit 3")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name, stdin=None, input="given\n")
    assert (done.returncode, done.stdout) == (3, "given\n")


def test_created_container_may_be_deleted(runtime: Runtime) -> None:
    runtime.write("echo never")
    assert runtime.create().returncode == 0
    runtime.ok("delete", runtime.name)
    assert runtime.output() == ""


def test_waiting_container_heeds_signals(runtime: Runtime) -> None:
    runtime.write("echo never")
    assert runtime.create().returncode == 0
    runtime.ok("kill", runtime.name, "TERM")
    wait_for(lambda: runtime.status() == "stopped")
    assert runtime.output() == ""


def test_exec(runtime: Runtime) -> None:
    runtime.write("sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    assert runtime.ok("exec", "--env", "A=b", "--cwd", "/etc", runtime.name, "sh", "-c", "pwd; echo $A") == "/etc\nb"
    assert runtime("exec", runtime.name, "sh", "-c", "exit 5").returncode == 5
    assert runtime.ok("exec", "--user", "7:8", runtime.name, "id", "-u") == "7"
    done = runtime("exec", runtime.name, "nope")
    assert (done.returncode, 'exec: "nope": executable file not found in $PATH' in done.stderr) == (255, True)
    runtime.ok("pause", runtime.name)
    assert runtime.status() == "paused"
    assert "cannot exec in a paused container" in runtime("exec", runtime.name, "true").stderr
    runtime.ok("resume", runtime.name)
    process = dict(runtime.config["process"]) | {
        "args": ["sh", "-c", "cat /proc/self/oom_score_adj"],
        "oomScoreAdj": 77,
    }
    (runtime.directory / "process").write_text(json.dumps(process))
    assert runtime.ok("exec", "--process", str(runtime.directory / "process"), runtime.name) == "77"


def test_update_changes_limits(runtime: Runtime) -> None:
    runtime.write("sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    given = json.dumps({"memory": {"limit": 48 << 20}, "pids": {"limit": 17}})
    runtime.ok("update", "--resources", "-", runtime.name, stdin=None, input=given)
    limit = json.loads(runtime.ok("events", "--stats", runtime.name))["data"]
    assert limit["memory"]["usage"]["limit"] == 48 << 20
    assert limit["pids"]["limit"] == 17
    runtime.ok("update", runtime.name, "--cpu-burst", "0", "--memory", "64m")
    limit = json.loads(runtime.ok("events", "--stats", runtime.name))["data"]
    assert limit["memory"]["usage"]["limit"] == 64 << 20


def test_what_the_container_is_like(runtime: Runtime) -> None:
    linux = runtime.config["linux"]
    linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 40}}
    runtime.config["hostname"] = "inside"
    runtime.config["root"]["readonly"] = True
    runtime.write(
        "hostname; id; umask; echo $HOME; touch /x; cat /proc/sys/kernel/hostname; mknod /dev/b b 7 0; cat /dev/b;"
        "head -c1 /dev/zero | wc -c; grep -E 'CapEff|NoNew' /proc/self/status; ls -d /proc/self/fd/*",
        user={"uid": 0, "gid": 0, "additionalGids": [0, 9], "umask": 0o027},
        env=["PATH=/bin"],
        noNewPrivileges=True,
        capabilities={kind: ["CAP_MKNOD", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
    )
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    lines = done.stdout.splitlines()
    assert lines[:5] == ["inside", "uid=0(root) gid=0(root) groups=0(root),9", "0027", "/root", "inside"]
    assert "Read-only file system" in done.stderr
    assert "Operation not permitted" in done.stderr  # a device that nobody allowed
    assert lines[5] == "1"
    assert re.findall(r"0x?[0-9a-f]{16}|\t(\w+)$", "\n".join(lines[6:8]), re.M) == ["0000000008000020", "1"]
    assert {line.rpartition("/")[2] for line in lines[8:]} <= {"0", "1", "2", "3"}


def test_tmpfs_begins_with_what_the_image_has(runtime: Runtime) -> None:
    runtime.config["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "tmpcopyup"]}
    )
    runtime.write("grep ^root /etc/passwd; touch /etc/new; mount | grep -c ' /etc type tmpfs'")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    assert done.stdout.splitlines() == ["root:x:0:0:root:/root:/bin/sh", "1"]
    assert not (runtime.bundle / "rootfs/etc/new").exists()


def test_tmpfs_looks_like_what_it_covers(runtime: Runtime) -> None:
    (runtime.bundle / "rootfs/there").mkdir()
    (runtime.bundle / "rootfs/there").chmod(0o751)
    for name in ("/there", "/new"):
        runtime.config["mounts"].append({"destination": name, "type": "tmpfs", "source": "tmpfs"})
    runtime.write("stat -c %a /there /new")
    assert runtime("run", "--bundle", str(runtime.bundle), runtime.name).stdout.split() == ["751", "1777"]


def test_read_only_dev_is_filled_before(runtime: Runtime) -> None:
    dev = next(entry for entry in runtime.config["mounts"] if entry["destination"] == "/dev")
    dev["options"].append("ro")
    runtime.write("echo >/dev/null; touch /dev/x; ls /dev/pts")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    assert (done.stdout, "Read-only file system" in done.stderr) == ("ptmx\n", True)


def test_working_directory_is_made_in_a_read_only_root(runtime: Runtime) -> None:
    runtime.config["root"]["readonly"] = True
    runtime.config["linux"]["devices"] = [{"path": "/dev/mine/", "type": "c", "major": 1, "minor": 3}]
    runtime.write("pwd; test -c /dev/mine && ! mkdir below 2> /dev/null && echo fine", cwd="/new/below")
    assert runtime.ok("run", "--bundle", str(runtime.bundle), runtime.name) == "/new/below\nfine"


def test_links_in_place_of_proc_are_refused(runtime: Runtime) -> None:
    shutil.rmtree(runtime.bundle / "rootfs/proc", ignore_errors=True)
    (runtime.bundle / "rootfs/proc").symlink_to("/elsewhere")
    runtime.write("true")
    assert 'filesystem "proc" must be mounted on ordinary directory' in runtime.create().stderr


def test_descriptors_are_passed_on(runtime: Runtime) -> None:
    runtime.write("cat <&3; ls /proc/self/fd | wc -l")
    reader, writer = os.pipe()
    os.write(writer, b"through\n")
    os.close(writer)
    try:
        done = runtime(
            "run", "--preserve-fds", "1", "--bundle", str(runtime.bundle), runtime.name,
            stdin=subprocess.DEVNULL, preexec_fn=lambda: os.dup2(reader, 3), pass_fds=[3],
        )  # fmt: skip
    finally:
        os.close(reader)
    assert done.stdout.splitlines()[0] == "through", done.stderr


def test_descriptors_that_nobody_opened_are_not_the_runtimes_own(runtime: Runtime) -> None:
    runtime.write("for fd in /proc/self/fd/*; do readlink $fd; done; exit 0")
    done = runtime("run", "--preserve-fds", "50", "--bundle", str(runtime.bundle), runtime.name)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if not line.startswith(("pipe:", "/dev/null", "/proc/"))] == []


def test_sockets_of_systemd_are_passed_on(runtime: Runtime) -> None:
    runtime.write("cat <&3; echo $LISTEN_FDS $LISTEN_PID")
    reader, writer = os.pipe()
    os.write(writer, b"through ")
    os.close(writer)
    try:
        done = runtime(
            "run", "--bundle", str(runtime.bundle), runtime.name, env=os.environ | {"LISTEN_FDS": "1"},
            stdin=subprocess.DEVNULL, preexec_fn=lambda: os.dup2(reader, 3), pass_fds=[3],
        )  # fmt: skip
    finally:
        os.close(reader)
    assert done.stdout == "through 1 1\n", done.stderr


def test_terminal_comes_through_the_console_socket(runtime: Runtime, tmp_path: Path) -> None:
    runtime.write("tty; stty size; test -c /dev/console && echo console", terminal=True)
    runtime.config["process"]["consoleSize"] = {"height": 24, "width": 100}
    runtime.write()
    # Longer than a socket's path may be.
    place = tmp_path / ("d" * 100)
    place.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(place, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/console")
        os.close(here)
        listener.listen(1)
        masters: list[int] = []

        def take() -> None:
            connection, _ = listener.accept()
            with connection:
                _, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
                masters.extend(array.array("i", ancillary[0][2]))

        taker = threading.Thread(target=take)
        taker.start()
        assert runtime.create("--console-socket", str(place / "console")).returncode == 0, runtime.output()
        taker.join(60)
    runtime.ok("start", runtime.name)
    data = b""
    try:
        while chunk := os.read(masters[0], 4096):
            data += chunk
    except OSError:
        pass  # EIO: the other side is closed
    finally:
        os.close(masters[0])
    assert data.decode().split("\r\n")[:3] == ["/dev/pts/0", "24 100", "console"]


def test_example_configuration_is_a_shell_with_few_rights(runtime: Runtime, tmp_path: Path) -> None:
    made = json.loads((runtime.bundle / "config.json").read_text())
    assert made["process"]["args"] == ["sh"]
    assert made["process"]["noNewPrivileges"]
    assert made["process"]["capabilities"]["bounding"] == ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    assert "Remove it first" in runtime("spec", "--bundle", str(runtime.bundle)).stderr
    runtime.ok("spec", "--rootless", "--bundle", str(tmp_path))
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]
    assert {"type": "user"} in linux["namespaces"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]


def test_unknown_capabilities_are_left_out(runtime: Runtime, tmp_path: Path) -> None:
    runtime.write("grep CapBnd /proc/self/status", capabilities={"bounding": ["CAP_KILL", "CAP_FUTURE"]})
    (runtime.bundle / "config.json").rename(runtime.bundle / "other.json")
    log = tmp_path / "log"
    options = ("--log", str(log), "--cgroup-manager", "cgroupfs")
    done = runtime(*options, "run", "--config", "other.json", "--bundle", str(runtime.bundle), runtime.name)
    assert done.stdout.split() == ["CapBnd:", "0000000000000020"], done.stderr
    assert 'level=warning msg="ignoring unknown or unavailable capabilities: [CAP_FUTURE]"' in log.read_text()


def test_capabilities_that_can_not_become_ambient_cost_a_warning(runtime: Runtime) -> None:
    names = ["CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"]
    runtime.write(
        "sleep 600",
        user={"uid": 7, "gid": 7},
        capabilities={
            "bounding": names, "effective": names, "permitted": names,
            "inheritable": ["CAP_KILL", "CAP_FOWNER"], "ambient": ["CAP_KILL", "CAP_CHOWN"],
        },
    )  # fmt: skip
    assert runtime.create().returncode == 0
    assert "can't raise ambient capability CAP_CHOWN" in runtime.output()
    runtime.ok("start", runtime.name)
    grep = ("grep", "CapAmb", "/proc/self/status")
    assert runtime.ok("exec", runtime.name, *grep).split()[1] == "0000000000000020"
    assert runtime.ok("exec", "--cap", "CAP_FOWNER", runtime.name, *grep).split()[1] == "0000000000000028"


def test_program_that_only_a_capability_lets_run(runtime: Runtime) -> None:
    program = runtime.bundle / "rootfs/mine"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o744)
    sets = {key: ["CAP_DAC_OVERRIDE"] for key in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    runtime.write(args=["/mine"], user={"uid": 7, "gid": 7}, capabilities=sets)
    assert runtime("run", "--bundle", str(runtime.bundle), runtime.name).stdout == "ran\n"


def test_cgroup_with_somebody_elses_processes_is_refused_and_left_alone(runtime: Runtime) -> None:
    runtime.write("sleep 600")
    assert runtime.create().returncode == 0
    done = runtime("run", "--bundle", str(runtime.bundle), "another")
    assert (done.returncode, done.stderr) == (
        1,
        "rundlet-runtime: container's cgroup is not empty: 1 process(es) found\n",
    )
    assert runtime.status() == "created"
    assert "does not exist" in runtime("state", "another").stderr


def test_failures_of_exec_have_their_own_code(runtime: Runtime) -> None:
    assert runtime("exec", "nobody", "true").returncode == 255
    runtime.write("sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    assert runtime("exec", "--pid-file", "/non-existent/pid", runtime.name, "true").returncode == 255
    runtime.ok("pause", runtime.name)
    assert runtime("exec", runtime.name, "true").returncode == 255


def test_waiting_container_holds_nothing_of_its_mounts_open(runtime: Runtime, tmp_path: Path) -> None:
    runtime.write("true")
    pidfile = tmp_path / "pid"
    assert runtime.create("--pid-file", str(pidfile)).returncode == 0
    held = Path(f"/proc/{pidfile.read_text()}/fd")
    wait_for(lambda: not {"/dev", "/dev/pts"} & {os.readlink(fd) for fd in held.iterdir()})


def test_machines_null_device_stays_its_own(runtime: Runtime) -> None:
    before = os.stat("/dev/null")
    runtime.write("id -u; sleep 600", user={"uid": 7, "gid": 8})
    runtime.create()
    runtime.ok("start", runtime.name)
    runtime.ok("exec", "--user", "9:9", runtime.name, "true")
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_exec_in_a_cgroup_below(runtime: Runtime) -> None:
    runtime.config["linux"]["namespaces"] = [
        item for item in runtime.config["linux"]["namespaces"] if item["type"] != "cgroup"
    ]
    for entry in runtime.config["mounts"]:
        if entry["type"] == "cgroup":
            entry["options"].remove("ro")
    runtime.write("sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    assert (
        "bad sub cgroup path: .. is not a sub cgroup path"
        in runtime("exec", "--cgroup", "..", runtime.name, "true").stderr
    )
    done = runtime("exec", "--cgroup", "nowhere", runtime.name, "true")
    assert (done.returncode, "no such file or directory" in done.stderr) == (255, True)
    group = Cgroup(f"{runtime.parent}/{runtime.name}", detect())
    first = bool(group.layout.hierarchies)
    os.mkdir(f"{group.directory('pids')}/below")
    wanted = "pids:below" if first else "below"
    said = runtime.ok("exec", "--cgroup", wanted, runtime.name, "cat", "/proc/self/cgroup")
    assert said.count(f"{runtime.parent}/{runtime.name}/below") == 1
    if first:
        assert "unknown controller nope" in runtime("exec", "--cgroup", "nope:/", runtime.name, "true").stderr


def test_kill_reaches_those_who_outlived_the_first_process(runtime: Runtime) -> None:
    linux = runtime.config["linux"]
    linux["namespaces"] = [item for item in linux["namespaces"] if item["type"] != "pid"]
    runtime.write("sleep 601 & exit 0")
    runtime.create()
    runtime.ok("start", runtime.name)
    wait_for(lambda: runtime.status() == "stopped")
    runtime.ok("kill", runtime.name, "KILL")
    wait_for(lambda: not json.loads(runtime.ok("ps", "--format", "json", runtime.name)))


def test_clocks_schedule_and_priorities(runtime: Runtime) -> None:
    linux = runtime.config["linux"]
    linux["namespaces"].append({"type": "time"})
    linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 5}, "monotonic": {"secs": 7}}
    linux["personality"] = {"domain": "LINUX32"}
    runtime.write(
        "cat /proc/self/timens_offsets; ionice; sed -n 's/^policy *: *//p' /proc/self/sched; uname -m; sleep 600",
        scheduler={"policy": "SCHED_BATCH", "nice": 5},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6},
        execCPUAffinity={"final": "0"},
    )
    runtime.create()
    runtime.ok("start", runtime.name)
    wait_for(lambda: len(runtime.output().splitlines()) >= 4)
    lines = runtime.output().splitlines()
    assert [line.split() for line in lines[:2]] == [["monotonic", "7", "0"], ["boottime", "1000000", "5"]]
    assert "best-effort: prio 6" in lines
    assert lines[-1] != os.uname().machine
    script = (
        "cat /proc/self/timens_offsets; ionice; grep Cpus_allowed_list /proc/self/status; cat /proc/self/stat; uname -m"
    )
    said = runtime.ok("exec", runtime.name, "sh", "-c", script).splitlines()
    assert said[0].split() == ["monotonic", "7", "0"]
    assert said[2] == "best-effort: prio 6"
    assert said[3].split()[1] == "0"
    assert said[4].split()[18] == "5"  # nice
    assert said[4].split()[40] == "3"  # SCHED_BATCH
    assert said[5] != os.uname().machine


def give_users(runtime: Runtime) -> None:
    linux = runtime.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": 300000, "size": 65536}]
    for directory in (runtime.bundle, *list(runtime.bundle.parents)[:-1]):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)
    os.chown(runtime.bundle / "rootfs", 200000, 300000)


def test_users_of_its_own(runtime: Runtime, tmp_path: Path) -> None:
    give_users(runtime)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").touch()
    os.chown(shared / "file", 3, 4)
    for name, more in (("/mapped", ["bind", "idmap"]), ("/plain", ["bind"])):
        runtime.config["mounts"].append(
            {"destination": name, "type": "bind", "source": str(shared), "options": more},
        )
    runtime.write(
        "cat /proc/self/uid_map; id -u; touch /made; stat -c %u:%g /mapped/file /plain/file; sleep 600",
        user={"uid": 0, "gid": 0},
    )
    assert runtime.create().returncode == 0, runtime.output()
    runtime.ok("start", runtime.name)
    wait_for(lambda: len(runtime.output().splitlines()) >= 4)
    assert runtime.output().split() == ["0", "200000", "65536", "0", "3:4", "65534:65534"]
    made = (runtime.bundle / "rootfs/made").stat()
    assert (made.st_uid, made.st_gid) == (200000, 300000)
    null = os.stat("/dev/null")
    assert runtime.ok("exec", "--user", "5:6", runtime.name, "id", "-u") == "5"
    assert runtime.ok("exec", runtime.name, "sh", "-c", "cat /proc/self/uid_map").split() == ["0", "200000", "65536"]
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid) == (null.st_uid, null.st_gid) == (0, 0)


def test_devices_of_users_of_its_own(runtime: Runtime) -> None:
    """With the owners and modes of the configuration, also such as the machine has no node for."""
    give_users(runtime)
    runtime.config["linux"]["devices"] = [
        {"path": "/dev/own", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 11, "fileMode": 0o604},
        {"path": "/elsewhere/ram", "type": "b", "major": 1, "minor": 5},
        {"path": "/dev/pipe", "type": "p", "uid": 12},
    ]
    runtime.config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
    stat = "stat -c '%u:%g %a %t:%T' /dev/own /elsewhere/ram; stat -c %F:%u /dev/pipe"
    runtime.write(f"{stat}; head -c 3 /dev/own | wc -c", user={"uid": 0, "gid": 0})
    said = runtime.ok("run", "--bundle", str(runtime.bundle), runtime.name)
    assert said.splitlines() == ["10:11 604 1:5", "0:0 666 1:5", "fifo:12", "3"]
    runtime.config["linux"]["devices"][0]["uid"] = 70000
    runtime.write()
    assert "the container has no user or group 70000" in runtime.create().stderr


def test_users_of_another_container(runtime: Runtime, tmp_path: Path) -> None:
    linux = runtime.config["linux"]
    give_users(runtime)
    runtime.write("sleep 600")
    pidfile = tmp_path / "pid"
    assert runtime.create("--pid-file", str(pidfile)).returncode == 0, runtime.output()
    path = f"/proc/{pidfile.read_text()}/ns/user"
    theirs = os.readlink(path)
    del linux["uidMappings"], linux["gidMappings"]
    linux["namespaces"][-1] = {"type": "user", "path": path}
    linux["cgroupsPath"] += "-second"
    runtime.write("readlink /proc/self/ns/user; cat /proc/self/uid_map /proc/self/gid_map; ls /sys/class/net")
    done = runtime("run", "--bundle", str(runtime.bundle), f"{runtime.name}-second")
    assert done.stdout.split() == [theirs, "0", "200000", "65536", "0", "300000", "65536", "lo"], done.stderr


def test_mount_with_mappings_of_its_own(runtime: Runtime, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 1000, 1001)
    ranges = {"size": 1, "hostID": 0}
    runtime.config["mounts"].append(
        {
            "destination": "/mapped",
            "type": "bind",
            "source": str(shared),
            "options": ["rbind", "ridmap"],
            "uidMappings": [{"containerID": 1000, **ranges}],
            "gidMappings": [{"containerID": 1001, **ranges}],
        }
    )
    runtime.write("stat -c %u:%g /mapped; touch /mapped/new")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    assert (done.stdout, done.stderr) == ("0:0\n", "")
    made = (shared / "new").stat()
    assert (made.st_uid, made.st_gid) == (1000, 1001)


@pytest.mark.parametrize("verbs", [("create", "start"), ("run",)], ids="-".join)
def test_service_manager_hears_that_the_container_is_ready(
    runtime: Runtime, tmp_path: Path, verbs: tuple[str, ...]
) -> None:
    need("perl")
    manager = tmp_path / "manager"
    heard: list[bytes] = []
    runtime.config["mounts"] += [
        {"destination": path, "source": path, "options": ["rbind", "ro"]}
        for path in ("/usr", "/lib", "/lib64")
        if os.path.exists(path)
    ]
    speak = 'socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, "STATUS=soon\\nREADY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET}))'
    runtime.write(f"echo $NOTIFY_SOCKET; /usr/bin/perl -MSocket -e '{speak}' && exec sleep 600")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(manager))
        listener.settimeout(30)

        def listen() -> None:
            while not heard or heard[-1] != b"BARRIER=1":
                message, fds, _, _ = socket.recv_fds(listener, 4096, 1)
                for fd in fds:
                    os.close(fd)
                heard.append(message)

        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", str(manager))
            if verbs == ("run",):
                with (runtime.directory / "out").open("ab") as out:
                    command = [str(runtime.program), "--root", str(runtime.state_root), "run", "-d"]
                    subprocess.run(
                        [*command, "--bundle", str(runtime.bundle), runtime.name],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        timeout=60,
                        check=True,
                    )
            else:
                assert runtime.create().returncode == 0, runtime.output()
                runtime.ok("start", runtime.name)
        thread.join()
    pid = json.loads(runtime.ok("state", runtime.name))["pid"]
    assert heard == [b"READY=1\n", b"MAINPID=%d\n" % pid, b"BARRIER=1"]
    assert runtime.output() == "/run/notify/notify.sock\n"


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
@pytest.mark.parametrize("own_users", [False, True], ids=["same-users", "own-users"])
def test_sources_may_be_in_earlier_mounts(runtime: Runtime, tmp_path: Path, own_users: bool, mapped: bool) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        (place / "below").mkdir(parents=True)
        (place / "name").write_text(place.name)
        os.chown(place / "name", 100000, 100000)
    tmp_path.chmod(0o711)
    rootfs = runtime.bundle / "rootfs"
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    if own_users:
        runtime.config["linux"]["namespaces"].append({"type": "user"})
        runtime.config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
        for path in (runtime.bundle, rootfs):
            path.chmod(0o755)
        subprocess.run(["chown", "-hR", "100000:100000", str(rootfs)], check=True)
    ids = {"uidMappings": [mapping[0] | {"containerID": 100000, "hostID": 0}]} if mapped else {}
    ids |= {"gidMappings": ids["uidMappings"]} if mapped else {}
    runtime.config["mounts"] += [
        {"destination": "/one", "source": str(first), "options": ["bind"]},
        {"destination": "/one/below", "source": str(second), "options": ["bind"]},
        # As runc's users may write it: where it is on the machine.
        {"destination": f"{rootfs}/all", "source": f"{rootfs}/one", "options": ["rbind"]},
        {"destination": "/two", "source": f"{rootfs}/all/below", "options": ["rbind"], **ids},
    ]
    runtime.write("cat /all/name /all/below/name /two/name; stat -c ' %u' /two/name")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    # Root's by its mapping, or the one that is outside of the container's range.
    owner = {(False, False): "100000", (False, True): "0", (True, False): "0", (True, True): "65534"}[own_users, mapped]
    assert (done.stdout, done.stderr) == (f"firstsecondsecond {owner}\n", "")


def test_source_that_is_not_in_the_container_is_named(runtime: Runtime) -> None:
    source = f"{runtime.bundle}/rootfs/nothing"
    runtime.config["mounts"].append({"destination": "/x", "source": source, "options": ["bind"]})
    runtime.write("true")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    said = '"/x (the container\'s /nothing)": no such file or directory'
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_processors_are_not_those_of_the_caller(runtime: Runtime) -> None:
    before = os.sched_getaffinity(0)
    runtime.write("grep Cpus_allowed: /proc/self/status; sleep 600")
    os.sched_setaffinity(0, {min(before)})
    try:
        assert runtime.create().returncode == 0
        runtime.ok("start", runtime.name)
        more = runtime.ok("exec", runtime.name, "grep", "Cpus_allowed:", "/proc/self/status")
    finally:
        os.sched_setaffinity(0, before)
    wait_for(lambda: "\n" in runtime.output())
    for said in (runtime.output(), more):
        mask = int(said.split()[1].replace(",", ""), 16)
        assert {number for number in before if mask >> number & 1} == before


def test_process_descriptor_is_handed_over(runtime: Runtime, tmp_path: Path) -> None:
    runtime.write("sleep 600")
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen(1)
        listener.settimeout(60)
        assert runtime.create("--pidfd-socket", str(place)).returncode == 0, runtime.output()
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    runtime.ok("start", runtime.name)
    signal.pidfd_send_signal(fds[0], signal.SIGKILL)
    os.close(fds[0])
    wait_for(lambda: runtime.status() == "stopped")


def test_output_of_a_terminal_has_plain_line_ends(runtime: Runtime) -> None:
    runtime.write("tty; echo two", terminal=True)
    done = subprocess.run(
        [str(runtime.program), "--root", str(runtime.state_root), "run", "--bundle", str(runtime.bundle), runtime.name],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == b"/dev/pts/0\ntwo\n", done.stderr


def test_events_tell_of_processes_killed_for_memory(runtime: Runtime) -> None:
    runtime.config["linux"]["resources"] = {"memory": {"limit": 24 << 20, "swap": 24 << 20}}
    runtime.write("sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    command = [str(runtime.program), "--root", str(runtime.state_root), "events", "--interval", "100ms", runtime.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert (first["type"], first["id"]) == ("stats", runtime.name)
        runtime("exec", runtime.name, "sh", "-c", "head -c 100000000 /dev/zero | tail")
        assert any(json.loads(line) == {"type": "oom", "id": runtime.name} for line in watching.stdout)
        runtime.ok("delete", "--force", runtime.name)
        watching.stdout.read()


def test_memory_of_nodes(runtime: Runtime) -> None:
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("a kernel without memory nodes")
    runtime.config["linux"]["memoryPolicy"] = {
        "mode": "MPOL_BIND",
        "nodes": "0",
        "flags": ["MPOL_F_STATIC_NODES"],
    }
    runtime.write("head -n 1 /proc/self/numa_maps; sleep 600")
    assert runtime.create().returncode == 0, runtime.output()
    runtime.ok("start", runtime.name)
    wait_for(lambda: "bind=static:0" in runtime.output())
    assert "bind=static:0" in runtime.ok("exec", runtime.name, "head", "-n", "1", "/proc/self/numa_maps")


@pytest.mark.parametrize("joined", [False, True], ids=["own", "joined"])
def test_interfaces_of_the_machine(runtime: Runtime, joined: bool) -> None:
    """With what somebody gave them; they go with the network namespace."""
    ip, name = need("ip"), f"rl{secrets.token_hex(3)}"

    def do(*words: str) -> None:
        subprocess.run([ip, *words], check=True)

    with contextlib.ExitStack() as stack:
        do("link", "add", f"{name}a", "mtu", "1400", "type", "veth", "peer", "name", f"{name}b")
        # Mostly gone by then.
        stack.callback(subprocess.run, [ip, "link", "del", f"{name}b"], check=False, capture_output=True)
        do("addr", "add", "192.0.2.7/24", "dev", f"{name}a")
        do("addr", "add", "2001:db8::7/64", "dev", f"{name}a", "nodad")
        do("link", "set", f"{name}a", "up")
        do("link", "set", f"{name}b", "up")
        runtime.config["linux"]["netDevices"] = {f"{name}a": {"name": "inside0"}}
        network = next(item for item in runtime.config["linux"]["namespaces"] if item["type"] == "network")
        if joined:
            network["path"] = stack.enter_context(netns.named(name))
        runtime.write("ip addr show inside0; sleep 600")
        assert runtime.create().returncode == 0, runtime.output()
        runtime.ok("start", runtime.name)
        wait_for(lambda: "2001:db8::7" in runtime.output())
        said = runtime.output()
        assert {"inet 192.0.2.7/24", "inet6 2001:db8::7/64"} <= {" ".join(row.split()[:2]) for row in said.splitlines()}
        assert "mtu 1400" in said
        assert ",UP" in said
        runtime.ok("delete", "--force", runtime.name)


# ── hooks ────────────────────────────────────────────────────────────────────────────────────────────────────


def hook(script: str, **more: Any) -> list[dict[str, Any]]:
    return [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin", "X=y"], **more}]


def test_hooks_run_where_and_when_they_should(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "hooks"
    line = "echo $X {} $(cat | tr -d ' ' | sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') $(readlink /proc/self/ns/{})"
    runtime.config["hooks"] = {
        kind: hook(line.format(kind, "mnt") + f" >> {log if kind != 'startContainer' else '/hooks'}")
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    runtime.write("readlink /proc/self/ns/mnt; sleep 600")
    assert runtime.create().returncode == 0, runtime.output()
    assert [row.split()[1:3] for row in log.read_text().splitlines()] == [
        ["prestart", "creating"],
        ["createRuntime", "creating"],
        ["createContainer", "creating"],
    ]
    inside_hooks = runtime.bundle / "rootfs/hooks"
    assert not inside_hooks.exists()
    runtime.ok("start", runtime.name)
    wait_for(lambda: "mnt:" in runtime.output())
    namespace = runtime.output().strip()
    runtime.ok("delete", "--force", runtime.name)
    rows = {row.split()[1]: row.split() for row in (log.read_text() + inside_hooks.read_text()).splitlines()}
    assert all(row[0] == "y" for row in rows.values())
    assert [rows[kind][2] for kind in ("startContainer", "poststart", "poststop")] == ["created", "running", "stopped"]
    own = os.readlink("/proc/self/ns/mnt")
    assert {kind: row[3] == own for kind, row in rows.items()} == {
        "prestart": True, "createRuntime": True, "createContainer": False,
        "startContainer": False, "poststart": True, "poststop": True,
    }  # fmt: skip
    assert rows["createContainer"][3] == rows["startContainer"][3] == namespace


@pytest.mark.parametrize("own_users", [False, True], ids=["", "own-users"])
def test_hooks_of_the_creation_see_the_machines_files(runtime: Runtime, tmp_path: Path, own_users: bool) -> None:
    (tmp_path / "seen").touch()
    (tmp_path / "seen").chmod(0o666)
    for place in (tmp_path, *tmp_path.parents[:2], runtime.directory):
        place.chmod(place.stat().st_mode | 0o011)
    # What everybody may enter could be taken for the container's root.
    kept = "ls -d " + " ".join(("/tmp/.", "/run/.", "/mnt/.", "/usr/bin/env", str(tmp_path)))
    inside = "test ! -e /tmp/of-the-container; test -e tmp/of-the-container"
    runtime.config["hooks"] = {"createContainer": hook(f"set -e; {kept}; {inside}; pwd > {tmp_path}/seen")}
    (runtime.bundle / "rootfs/tmp/of-the-container").touch()
    if own_users:
        give_users(runtime)
    runtime.write("ls /tmp")
    assert runtime.ok("run", "--bundle", str(runtime.bundle), runtime.name) == "of-the-container"
    assert (tmp_path / "seen").read_text() == f"{runtime.bundle}/rootfs\n"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_failed_hook_ends_the_creation(runtime: Runtime, kind: str) -> None:
    runtime.config["hooks"] = {kind: hook("echo why >&2; exit 9"), "poststop": hook("true")}
    runtime.write("echo never")
    done = runtime.create()
    assert done.returncode == 1
    assert f"error running {kind} hook #0: /bin/sh: exit status 9, output: why" in done.stderr
    assert "does not exist" in runtime("state", runtime.name).stderr


def test_hook_that_takes_too_long_is_killed(runtime: Runtime) -> None:
    runtime.config["hooks"] = {"createRuntime": hook("sleep 600", timeout=1)}
    runtime.write("echo never")
    assert "ran past specified timeout of 1s" in runtime.create().stderr


def test_failed_hook_of_the_end_only_warns(runtime: Runtime, tmp_path: Path) -> None:
    runtime.config["hooks"] = {"poststop": hook("exit 2")}
    runtime.write("sleep 600")
    runtime.create()
    log = tmp_path / "log"
    runtime.ok("--log", str(log), "--log-format", "json", "start", runtime.name)
    runtime.ok("--log", str(log), "--log-format", "json", "delete", "--force", runtime.name)
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(item["level"], item["msg"].split(":")[0]) for item in said] == [
        ("warning", "error running poststop hook #0"),
    ]


def test_failed_hook_after_the_start_stops_the_container(runtime: Runtime) -> None:
    runtime.config["hooks"] = {"poststart": hook("exit 1")}
    runtime.write("sleep 600")
    runtime.create()
    done = runtime("start", runtime.name)
    assert (done.returncode, "error running poststart hook #0" in done.stderr) == (1, True)
    assert runtime.status() == "stopped"


def test_failed_hook_after_the_start_of_what_has_ended_is_told_all_the_same(runtime: Runtime) -> None:
    waiting = "while test -e /proc/$P && ! grep -q 'State:.Z' /proc/$P/status; do sleep 0.05; done"
    runtime.config["hooks"] = {"poststart": hook(f"P=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); {waiting}; exit 1")}
    runtime.write("true")
    done = runtime("run", "--bundle", str(runtime.bundle), runtime.name)
    assert (done.returncode, "error running poststart hook #0" in done.stderr) == (1, True), done.stderr


def test_hook_without_environment_has_the_programs(runtime: Runtime) -> None:
    runtime.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo $ONE $HOME > /seen"]}],
    }
    runtime.write("cat /seen", env=["PATH=/bin", "ONE=two"])
    assert runtime("run", "--bundle", str(runtime.bundle), runtime.name).stdout == "two /root\n"


def test_failed_start_hook_stops_the_container(runtime: Runtime) -> None:
    runtime.config["hooks"] = {"startContainer": hook("exit 4")}
    runtime.write("echo never")
    runtime.create()
    done = runtime("start", runtime.name)
    assert "error running startContainer hook #0: /bin/sh: exit status 4" in done.stderr
    wait_for(lambda: runtime.status() == "stopped")
    assert runtime.output() == ""


# ── what is refused, and failures ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["process"].update(args=["nope"]), 'exec: "nope": executable file not found in $PATH'),
        (lambda c: c["process"].update(args=["/etc"]), 'exec: "/etc": is a directory: permission denied'),
        (lambda c: c["process"].update(args=[]), "args must not be empty"),
        (lambda c: c["process"].update(cwd="x"), "Cwd must be an absolute path"),
        (lambda c: c["root"].update(path="missing"), "invalid rootfs"),
        (lambda c: c.update(mounts=[7]), "invalid configuration: AttributeError"),
        (lambda c: c["linux"].update(resources={"hugepageLimits": [{"limit": 5}]}), "cgroup: "),
        (lambda c: c.update(ociVersion="3.0"), "unsupported ociVersion"),
        (lambda c: c["linux"]["namespaces"].append({"type": "user"}), "no user mappings found"),
        (lambda c: c["linux"].update(timeOffsets={"boottime": {"secs": 1}}), "need a new time namespace"),
        (lambda c: c["process"].update(scheduler={"policy": "SCHED_X"}), "invalid scheduler policy: SCHED_X"),
        (
            lambda c: c["process"].update(scheduler={"policy": "SCHED_BATCH", "priority": 3}),
            "can only be specified for SCHED_FIFO or SCHED_RR",
        ),
        (lambda c: c["linux"]["namespaces"].append({"type": "pid"}), "duplicate pid namespace"),
        (lambda c: c["linux"]["namespaces"].append({"type": "x"}), "unknown namespace type 'x'"),
        (lambda c: c["linux"].update(cgroupsPath="a.slice:b:c"), "systemd cgroup path"),
        (lambda c: c["linux"].update(intelRdt={"closID": "a/b"}), "invalid intelRdt.closID 'a/b'"),
        (lambda c: c["linux"].update(memoryPolicy={"nodes": "0"}), "invalid memory policy mode: None"),
        (
            lambda c: c["linux"].update(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0-9876543210"}),
            "invalid memory policy node '0-9876543210'",
        ),
        (
            lambda c: c["linux"].update(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
            "invalid memory policy flag: 'MPOL_F_X'",
        ),
        (
            lambda c: c["linux"].update(memoryPolicy={"mode": "MPOL_DEFAULT", "nodes": "0-7"}),
            "set_mempolicy: invalid argument",
        ),
        (lambda c: c["linux"].update(netDevices={"rl-nowhere": {}}), "network device 'rl-nowhere' not found"),
        (lambda c: c["linux"].update(netDevices={"lo": {"name": "a b"}}), "invalid network device name 'a b'"),
        (lambda c: c["linux"].update(netDevices={"a": {}, "b": {"name": "a"}}), "duplicate network device name"),
        (
            lambda c: c["linux"].update(netDevices={"lo": {}}, namespaces=[{"type": "mount"}]),
            "unable to move network devices without a NET namespace",
        ),
        (lambda c: c["linux"].update(personality={"domain": "VMS"}), "unknown personality 'VMS'"),
        (lambda c: c["linux"].update(sysctl={"kernel.core_pattern": "x"}), "not in a separate kernel namespace"),
        (lambda c: c["process"].update(ioPriority={"class": "x"}), "invalid ioPriority.class: x"),
        (lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), "invalid rlimit type"),
        (lambda c: c.update(hooks={"poststop": [{"path": "sh"}]}), "must be absolute"),
        (
            lambda c: c["mounts"].append({"destination": "/m", "type": "bind", "source": "/nowhere/at/all"}),
            "/nowhere/at/all",
        ),
        (
            lambda c: c["mounts"].append({"destination": "/m", "type": "bind", "source": "/", "options": ["ridmap"]}),
            "id-map mounts without mappings need a user namespace",
        ),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:30] if isinstance(value, str) else "",
)
def test_bad_configurations(runtime: Runtime, change: Callable[[dict[str, Any]], object], message: str) -> None:
    change(runtime.config)
    runtime.write()
    done = runtime.create()
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "--no-pivot", "x"), "--no-pivot is not supported"),
        (("--cgroup-manager", "elogind", "list"), "--cgroup-manager elogind is not supported"),
        (("checkpoint", "x"), "checkpoint is not supported"),
        (("create", "../x"), "JSON specification file config.json not found"),
        (("state", "../x"), "invalid container ID format: ../x"),
        (("state", "none"), 'container "none" does not exist'),
        (("kill", "none", "FOO"), 'unknown signal "FOO"'),
        (("state",), "exactly 1 argument"),
        (("frobnicate",), "No help topic for 'frobnicate'"),
        (("list", "--wrong"), "flag provided but not defined: --wrong"),
    ],
)
def test_bad_command_lines(runtime: Runtime, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = runtime("--log", str(log), "--log-format", "json", *words, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert message in json.loads(log.read_text().splitlines()[-1])["msg"]


def test_features_names_what_there_is(runtime: Runtime) -> None:
    said = json.loads(runtime.ok("features"))
    assert said["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    assert "SCMP_ACT_ERRNO" in said["linux"]["seccomp"]["actions"]
    assert {"time", "user"} < set(said["linux"]["namespaces"])
    assert said["linux"]["mountExtensions"] == {"idmap": {"enabled": True}}
    assert "SCMP_ACT_NOTIFY" in said["linux"]["seccomp"]["actions"]
    assert "rro" in said["mountOptions"]
    assert said["ociVersionMax"] == "1.3.0"
    assert said["linux"]["netDevices"] == {"enabled": True}
    assert "MPOL_BIND" in said["linux"]["memoryPolicy"]["modes"]
    assert runtime.ok("--version").splitlines()[1] == "spec: 1.3.0"


def test_images_own_python_is_never_run(runtime: Runtime) -> None:
    """Set-up goes on inside the container's root: whatever it imports there would be the image's (CVE-2019-14271)."""
    trap = "import os\nos.system('touch /trapped')\nopen('/trapped', 'w')\n"
    for place in {str(SOURCE), os.path.dirname(os.__file__), *filter(None, sys.path)}:
        inside = Path(f"{runtime.bundle}/rootfs{place}")
        for name in ("rundlet/linux/seccomp", "rundlet", "json", "traceback", "socket", "termios"):
            (inside / name).mkdir(parents=True, exist_ok=True)
            (inside / name / "__init__.py").write_text(trap)
    runtime.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}],
    }
    runtime.config["hooks"] = {"startContainer": hook("true")}
    runtime.write("grep Seccomp: /proc/self/status; sleep 600")
    runtime.create()
    runtime.ok("start", runtime.name)
    runtime("exec", runtime.name, "nope")
    assert runtime.ok("exec", runtime.name, "grep", "Seccomp:", "/proc/self/status").split()[1] == "2"
    wait_for(lambda: runtime.output().split() == ["Seccomp:", "2"])
    assert not (runtime.bundle / "rootfs/trapped").exists()


# ── other people's engines ───────────────────────────────────────────────────────────────────────────────────


def removed(group: str) -> bool:
    """conmon may outlive the command that removed its container."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def podman(program: Path, busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Done]]:
    """``podman`` on directories of its own, with our runtime, and the image ``busybox``."""
    binary, directory = need("podman"), tmp_path_factory.mktemp("podman")
    parent = f"/rl-podman-{secrets.token_hex(4)}"
    own = ["--root", f"{directory}/root", "--runroot", f"{directory}/run", "--tmpdir", f"{directory}/tmp"]
    own += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", str(program)]

    def call(verb: str, *arguments: str, terminal: bool = False) -> Done:
        if verb in ("run", "create"):
            arguments = ("--network", "none", "--cgroup-parent", parent, *ULIMITS, *arguments)
        command = [binary, *own, verb, *arguments]
        if terminal:
            command = [need("script"), "-qec", subprocess.list2cmdline(command), "/dev/null"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL
        )

    before = set(leaks.cgroups())
    succeeded(call("import", str(busybox_tar), "busybox"))
    yield call
    call("rm", "-af", "-t", "0")
    for group in sorted(set(leaks.cgroups()) - before, reverse=True):
        if parent in group:
            wait_for(functools.partial(removed, group), 180, hint=f"{group} is left by its last process")
    for mounted in sorted(leaks.mounts(), reverse=True):
        if str(directory) in mounted:
            subprocess.run(["umount", "-l", mounted.split()[0]], check=False)


def test_under_podman(podman: Callable[..., Done]) -> None:
    run = ("run", "--rm")
    assert succeeded(podman(*run, "busybox", "echo", "hi")) == "hi"
    assert podman(*run, "busybox", "sh", "-c", "exit 9").returncode == 9
    assert podman(*run, "busybox", "nope").returncode == 127
    assert podman(*run, "busybox", "/etc").returncode == 126
    assert podman(*run, "-t", "busybox", "tty", terminal=True).stdout.strip().endswith("/dev/pts/0")
    limits = podman(*run, "-m", "64m", "--read-only", "busybox", "sh", "-c", "touch /x; touch /tmp/y && ls /tmp")
    assert limits.stdout.split() == ["y"]
    assert "Read-only file system" in limits.stderr
    assert succeeded(podman(*run, "--user", "7:8", "busybox", "id", "-g")) == "8"


def test_podmans_containers_live(podman: Callable[..., Done]) -> None:
    succeeded(
        podman("run", "-d", "--name", "box", "busybox", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
    )
    assert succeeded(podman("exec", "box", "hostname"))
    assert "/dev/pts/" in podman("exec", "-t", "box", "tty", terminal=True).stdout
    assert podman("exec", "box", "sh", "-c", "exit 6").returncode == 6
    succeeded(podman("pause", "box"))
    succeeded(podman("unpause", "box"))
    succeeded(podman("stop", "-t", "10", "box"))
    assert succeeded(podman("inspect", "-f", "{{.State.ExitCode}}", "box")) == "4"
    succeeded(podman("start", "box"))
    succeeded(podman("kill", "box"))
    wait_for(lambda: "137" in podman("inspect", "-f", "{{.State.ExitCode}}", "box").stdout, 20)
    succeeded(podman("rm", "box"))


def test_under_dockerd(program: Path, busybox_tar: Path) -> None:
    with running_dockerd(flags=[f"--add-runtime=rundlet={program}"]) as (host, _):

        def docker(verb: str, *arguments: str) -> Done:
            more = ("--runtime", "rundlet", "--network", "none", *ULIMITS) if verb in ("run", "create") else ()
            command = [need("docker"), "-H", host, verb, *more, *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

        succeeded(docker("import", str(busybox_tar), "busybox"))
        assert succeeded(docker("run", "--rm", "busybox", "echo", "hi")) == "hi"
        assert docker("run", "--rm", "busybox", "nope").returncode == 127
        assert docker("run", "--rm", "busybox", "/etc").returncode == 126
        succeeded(docker("run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "600"))
        assert succeeded(docker("exec", "box", "hostname"))
        assert "sleep 600" in succeeded(docker("top", "box"))
        succeeded(docker("pause", "box"))
        succeeded(docker("unpause", "box"))
        succeeded(docker("update", "-m", "96m", "--memory-swap", "96m", "box"))
        succeeded(docker("stop", "-t", "0", "box"))
        assert succeeded(docker("inspect", "-f", "{{.State.ExitCode}}", "box")) == "137"
        succeeded(docker("start", "box"))
        succeeded(docker("rm", "-f", "box"))
