"""The same bundle through Debian's runc, and what a process inherits compared with it."""

from collections.abc import Callable, Iterator

import pytest
from tests.conftest import need
from tests.engines import Engine, wait_for


@pytest.fixture(scope="module")
def runc_engine(busybox_tar: object) -> Iterator[Engine]:
    engine = Engine(["--add-runtime", f"runc={need('runc')}"]).start()
    try:
        engine.ok("import", str(busybox_tar), "busybox")
        yield engine
    finally:
        engine.stop()


RUNC = ("--runtime", "runc")


def test_run(runc_engine: Engine) -> None:
    done = runc_engine.cli("run", "--rm", *RUNC, "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_life(runc_engine: Engine) -> None:
    runc_engine.ok("run", "-d", "--name", "other", *RUNC, "busybox", "sleep", "1000")
    assert runc_engine.ok("exec", "other", "echo", "inside") == "inside"
    runc_engine.ok("stop", "-t", "0", "other")
    assert runc_engine.field("other", "{{.State.ExitCode}}") == "137"
    runc_engine.ok("rm", "other")


def test_restarts(runc_engine: Engine) -> None:
    script = "echo $(cat /life 2>/dev/null)x | tee -a /life; exit 4"
    name = runc_engine.ok("run", "-d", "--restart", "on-failure:2", "-t", *RUNC, "busybox", "sh", "-c", script)
    wait_for(lambda: runc_engine.field(name, "{{.State.Status}} {{.RestartCount}}") == "exited 2")
    assert runc_engine.field(name, "{{.State.ExitCode}}") == "4"
    assert runc_engine.ok("logs", name).split() == ["x", "xx", "x", "xxx"]
    runc_engine.ok("rm", name)


def test_not_found(runc_engine: Engine) -> None:
    assert runc_engine.cli("run", "--rm", *RUNC, "busybox", "no-such-command").returncode == 127


def test_network_and_ports(runc_engine: Engine, port: int) -> None:
    from tests.e2e.test_network import SERVER, served

    runc_engine.ok("run", "-d", "--name", "web", *RUNC, "-p", f"{port}:80", *SERVER)
    wait_for(lambda: served("127.0.0.1", port))
    runc_engine.ok("rm", "-f", "web")


QUESTIONS: dict[str, str] = {
    # The last 7 of 16 digits: runc may leave a signal of the C library's own (32) ignored.
    "signals": "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status | sed -E 's/\\t.{8}./ /'",
    "rights": "grep -E '^(Cap|NoNewPrivs|Seccomp:|Umask|Groups|Uid|Gid)' /proc/self/status",
    "limits": "cat /proc/self/limits",
    "oom": "cat /proc/self/oom_score_adj",
    "nice": "cut -d' ' -f18,19 /proc/self/stat",
    "affinity": "grep Cpus_allowed_list /proc/self/status",
    "descriptors": "ls /proc/self/fd | wc -l",
    "environment": "env | grep -v HOSTNAME | sort",
    "mounts": "awk '{print $5, $6}' /proc/self/mountinfo | grep -v '^/sys/fs/cgroup' | sort",
    "devices": "ls -l /dev | awk '{print $1, $3, $4, $5, $6, $NF}' | grep -vE '^(total|l)' | sort",
    "masked": "for f in /proc/kcore /proc/keys /proc/timer_list; do wc -c < $f; done; ls /sys/firmware /proc/acpi 2>&1",
    "session": "cut -d' ' -f5,6,7 /proc/1/stat",
    "sysctls": "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_process_inherits_what_it_does_under_runc(runc_engine: Engine, question: str) -> None:
    script = ("busybox", "sh", "-c", QUESTIONS[question])
    ours = runc_engine.ok("run", "--rm", *script)
    theirs = runc_engine.ok("run", "--rm", *RUNC, *script)
    assert ours == theirs


def test_an_unknown_runtime(runc_engine: Engine) -> None:
    done = runc_engine.cli("run", "--rm", "--runtime", "krun", "busybox", "true")
    assert done.returncode == 125
    assert "krun" in done.stderr


def test_as_the_default(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--add-runtime", f"runc={need('runc')}", "--default-runtime", "runc")
    engine.ok("run", "-d", "--name", "other", "busybox", "sleep", "100")
    assert engine.field("other", "{{.HostConfig.Runtime}}") == "runc"
