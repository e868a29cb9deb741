"""Limits that only some kernels know, devices by CDI, and what is refused because this machine has it not."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for


def on_v1(controller: str) -> bool:
    return os.path.isdir(f"/sys/fs/cgroup/{controller}")


def test_swappiness_and_the_oom_killer(engine: Engine) -> None:
    flags = ("--memory-swappiness", "7", "--oom-kill-disable", "-m", "64m")
    done = engine.cli("run", "-d", "--name", "box", *flags, "busybox", "sleep", "1000")
    assert done.returncode == 0
    shown = engine.field("box", "{{json .HostConfig.MemorySwappiness}} {{json .HostConfig.OomKillDisable}}")
    if on_v1("memory"):
        assert shown == "7 true"
        assert engine.cgroup("box", "memory", "memory.swappiness") == "7"
        assert "oom_kill_disable 1" in engine.cgroup("box", "memory", "memory.oom_control")
    else:
        assert shown == "null null"
        assert "Memory swappiness discarded" in done.stderr
        assert "OomKillDisable discarded" in done.stderr
    engine.ok("create", "--name", "plain", "--oom-kill-disable=false", "busybox", "true")
    engine.ok("create", "--name", "plainer", "busybox", "true")
    for name in ("plain", "plainer"):
        assert engine.field(name, "{{json .HostConfig.OomKillDisable}}") == ("false" if on_v1("memory") else "null")


@pytest.mark.skipif(not on_v1("memory"), reason="control groups v2 always kill")
def test_a_container_that_waits_for_memory_says_so(engine: Engine) -> None:
    flags = ("--oom-kill-disable", "-m", "8m", "--memory-swap", "8m")
    engine.ok("run", "-d", "--name", "box", *flags, "busybox", "sh", "-c", "x=a; while :; do x=$x$x; done")
    seen = ("events", "--since", "1", "--until", "0s", "--filter", "container=box", "--filter", "event=oom")
    wait_for(lambda: " container oom " in engine.ok(*seen), hint="the event")
    assert engine.field("box", "{{.State.Status}} {{.State.OOMKilled}}") == "running false"
    engine.ok("kill", "box")
    wait_for(lambda: engine.field("box", "{{.State.Status}}") == "exited", hint="it ends")


def test_weights_are_kept_or_discarded_with_a_warning(engine: Engine) -> None:
    done = engine.cli("create", "--name", "box", "--blkio-weight", "100", "busybox", "true")
    assert done.returncode == 0
    kept = engine.field("box", "{{.HostConfig.BlkioWeight}}") == "100"
    assert kept != ("Your kernel does not support Block I/O weight" in done.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/loop0"), reason="no block device to throttle")
def test_throttles_at_start_and_by_update(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "box", "--device-read-bps", "/dev/loop0:1mb", "busybox", "sleep", "1000")
    where = ("blkio", "blkio.throttle.read_bps_device") if on_v1("blkio") else ("io", "io.max")
    assert "1048576" in engine.cgroup("box", *where)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
        (["--gpus", "device=0"], 'could not select device driver "" with capabilities: [[gpu]]'),
        (
            ["--device", "vendor.com/class=x"],
            "CDI device injection failed: unresolvable CDI devices vendor.com/class=x",
        ),
        (["--device-read-bps", "/dev/none:1mb"], "stat /dev/none: no such file or directory"),
        (["--cpu-period", "1"], "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        (["--cpu-quota", "10"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (["--cpuset-cpus", "99"], "Requested CPUs are not available - requested 99, available: "),
        (["--cpuset-mems", "99"], "Requested memory nodes are not available - requested 99, available: "),
        (["--memory-reservation", "1m"], "Minimum memory reservation allowed is 6MB"),
        (["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (
            ["--storage-opt", "size=1G"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (["--storage-opt", "Sizes=1G"], "Unknown option sizes"),
        (["--log-driver", "gelf"], "log driver gelf is not supported by Rundlet"),
        (["--kernel-memory", "50m"], "--kernel-memory is not supported by Rundlet"),
        (["--isolation", "hyperv"], "invalid isolation (hyperv): linux only supports 'default'"),
    ],
)
def test_refused(engine: Engine, flags: list[str], text: str) -> None:
    done = engine.cli("run", "--rm", *flags, "busybox", "true")
    assert done.returncode in {125, 127}  # the second, as with Docker, where a file is not there
    assert text in done.stderr


def test_a_device_of_cdi(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    edits = {
        "env": ["CARD=yes"],
        "deviceNodes": [{"path": "/dev/card", "hostPath": "/dev/zero"}],
        "mounts": [{"hostPath": str(tmp_path), "containerPath": "/card", "options": ["ro", "bind"]}],
        "additionalGids": [4242],
    }
    document = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0", "containerEdits": edits}]}
    (tmp_path / "cards.json").write_text(json.dumps(document))
    engine = new_engine("--cdi-spec-dir", str(tmp_path))
    assert engine.ok("info", "--format", "{{json .CDISpecDirs}}") == json.dumps([str(tmp_path)])
    shown = f" CDI spec directories:\n  {tmp_path}\n Discovered Devices:\n  cdi: nvidia.com/gpu=0\n Swarm: inactive\n"
    assert shown in engine.ok("info")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    assert f"CDI: {broken}: 'kind'" in engine.ok("info", "--format", "{{.Warnings}}")
    broken.unlink()
    script = "echo $CARD; head -c 2 /dev/card | od -An -tx1; ls /card; id -G; touch /card/x"
    for flags in (("--gpus", "all"), ("--gpus", "1"), ("--device", "nvidia.com/gpu=0")):
        done = engine.cli("run", "--rm", *flags, "busybox", "sh", "-c", script)
        assert [line.strip() for line in done.stdout.splitlines()][:3] == ["yes", "00 00", "cards.json"]
        assert "4242" in done.stdout.splitlines()[3].split()
        assert "Read-only file system" in done.stderr


def test_an_engine_without_cdi(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    device_with_hooks(tmp_path, [])
    engine = new_engine("--feature", "cdi=false", "--cdi-spec-dir", str(tmp_path))
    assert json.loads(engine.ok("info", "--format", "json"))["CDISpecDirs"] == []
    done = engine.cli("run", "--rm", "--device", "a.com/b=x", "busybox", "true")
    assert done.returncode == 125
    assert 'could not select device driver "cdi"' in done.stderr


def hook(kind: str, script: str) -> dict[str, object]:
    return {"hookName": kind, "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


def device_with_hooks(directory: Path, hooks: list[dict[str, object]]) -> None:
    devices = [{"name": "x", "containerEdits": {"env": ["CARD=yes"], "hooks": hooks}}]
    (directory / "hooked.json").write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "a.com/b", "devices": devices}))


def test_hooks_of_a_device(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = "{{ printf '{0} '; readlink /proc/self/ns/mnt; cat; echo; }} >> {1}"
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    hooks = [hook(kind, line.format(kind, log)) for kind in kinds]
    hooks.append(hook("createContainer", f"mkdir -p {tmp_path}/made"))
    device_with_hooks(tmp_path, [*hooks, hook("startContainer", line.format("startContainer", "/inside"))])
    engine = new_engine("--cdi-spec-dir", str(tmp_path))
    done = engine.cli("run", "--name", "box", "--device", "a.com/b=x", "busybox", "sh", "-c", "cat /inside; exit 3")
    assert done.returncode == 3, done.stderr

    def seen() -> dict[str, tuple[str, dict[str, object]]]:
        rows = (log.read_text() + done.stdout).splitlines()
        pairs = zip(rows[::2], rows[1::2], strict=False)
        return {head.split()[0]: (head.split()[1], json.loads(state)) for head, state in pairs}

    wait_for(lambda: "poststop" in log.read_text() and log.read_text().endswith("}\n"))
    found = seen()
    assert set(found) == {*kinds, "startContainer"}
    own = os.readlink("/proc/self/ns/mnt")
    assert {kind for kind, (namespace, _) in found.items() if namespace == own} == {
        "prestart", "createRuntime", "poststart", "poststop",
    }  # fmt: skip
    states = {kind: state["status"] for kind, (_, state) in found.items()}
    assert (states["createRuntime"], states["startContainer"], states["poststart"], states["poststop"]) == (
        "creating", "created", "running", "stopped",
    )  # fmt: skip
    identifier = engine.ok("inspect", "-f", "{{.Id}}", "box")
    assert {state["id"] for _, state in found.values()} == {identifier}
    assert (tmp_path / "made").is_dir()
    wait_for(lambda: not Path(str(found["poststop"][1]["bundle"])).exists())
    log.unlink()
    assert engine.cli("start", "-a", "box").returncode == 3
    wait_for(lambda: log.exists() and "poststop" in log.read_text())


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_hook_that_fails_ends_the_start(new_engine: Callable[..., Engine], tmp_path: Path, kind: str) -> None:
    device_with_hooks(tmp_path, [hook(kind, "echo why >&2; exit 5")])
    engine = new_engine("--cdi-spec-dir", str(tmp_path))
    done = engine.cli("run", "--rm", "--device", "a.com/b=x", "busybox", "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"error running {kind} hook #0: /bin/sh: exit status 5, output: why" in done.stderr


def test_update_of_a_running_container(client: Client) -> None:
    client.ok("run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "1000")
    client.ok("update", "--cpus", "0.5", "--pids-limit", "50", "--memory", "80m", "--memory-swap", "100m", "box")
    engine = client.engine
    assert engine.cgroup("box", "pids", "pids.max") == "50"
    if on_v1("memory"):
        assert engine.cgroup("box", "memory", "memory.limit_in_bytes") == str(80 << 20)
        assert engine.cgroup("box", "cpu", "cpu.cfs_quota_us") == "50000"
    else:
        assert engine.cgroup("box", "memory", "memory.max") == str(80 << 20)
        assert engine.cgroup("box", "cpu", "cpu.max") == "50000 100000"
    assert "Requested CPUs are not available" in client("update", "--cpuset-cpus", "99", "box").stderr
