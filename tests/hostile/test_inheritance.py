"""What a container must not inherit: the engine is started out of the worst session that a user could be in."""

import sys
import textwrap
from collections.abc import Callable

import pytest
from tests.engines import Engine, wait_for

pytestmark = [pytest.mark.root]

CANARY = "canary-7c1f"

# Everything of a process that survives fork and execve, set to what no container should have.
EVIL = textwrap.dedent("""
    import ctypes, os, resource, signal, sys
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([0, 54321])
    os.environ["SECRET_OF_THE_SHELL"] = "canary-7c1f"
    os.set_inheritable(os.open("/etc/shadow", os.O_RDONLY), True)
    os.umask(0o077)
    os.nice(7)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    for name, value in (("oom_score_adj", b"500"), ("coredump_filter", b"0x7f")):
        with open(f"/proc/self/{name}", "wb") as file:
            file.write(value)
    def limit(name, soft):
        number = getattr(resource, name)
        resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))
    limit("RLIMIT_NOFILE", 333)
    limit("RLIMIT_CORE", 0)
    limit("RLIMIT_MSGQUEUE", 4096)
    limit("RLIMIT_MEMLOCK", 65536)
    limit("RLIMIT_SIGPENDING", 999)
    limit("RLIMIT_STACK", 1 << 20)
    limit("RLIMIT_FSIZE", 1 << 36)
    limit("RLIMIT_NPROC", 5000)
    limit("RLIMIT_CPU", 100000)
    limit("RLIMIT_RSS", 1 << 40)
    limit("RLIMIT_DATA", 1 << 40)
    libc.prctl(29, 7777777, 0, 0, 0)          # timer slack
    libc.prctl(41, 1, 0, 0, 0)                # no huge pages
    libc.personality(0x0040000)               # ADDR_NO_RANDOMIZE
    libc.syscall(251, 1, 0, 3 << 13)          # ioprio_set: idle
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
    header, data = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(ctypes.byref(header), data)
    data[2], data[5] = data[1], data[4]       # inheritable = permitted
    libc.capset(ctypes.byref(header), data)
    for number in (0, 1, 13, 21):
        libc.prctl(47, 2, number, 0, 0)       # ambient
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN + 3})
    os.execv(sys.argv[1], sys.argv[1:])
""")

FACTS = """
grep -E '^(Groups|Sig(Pnd|Blk|Ign|Cgt)|ShdPnd|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed|THP)' /proc/self/status
cat /proc/self/limits
for name in timerslack_ns coredump_filter oom_score_adj personality; do echo $name $(cat /proc/self/$name); done
umask; nice; chrt -p $$; ionice -p $$
echo fds; for fd in /proc/self/fd/*; do readlink $fd | sed -e 's/:.*//' -e 's,/proc/.*,,'; done
echo environment; env | grep -v -E 'HOSTNAME|SHLVL' | sort
"""


class EvilEngine(Engine):
    """Started by a process that has everything set that a child can inherit."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", EVIL, *super().command()]


@pytest.fixture
def evil(new_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr("tests.conftest.Engine", EvilEngine)
    return new_engine()


def _facts(engine: Engine) -> dict[str, str]:
    """Of a container's first process, of an exec, of the child of ``--init``, and of a health check."""
    found = {
        "run": engine.ok("run", "--rm", "busybox", "sh", "-c", FACTS),
        "init": engine.ok("run", "--rm", "--init", "busybox", "sh", "-c", FACTS),
    }
    probe = f"({FACTS}) > /tmp/health.new 2>&1; mv /tmp/health.new /tmp/health"
    engine.ok(
        *("run", "-d", "--name", "long", "--health-cmd", probe, "--health-interval", "200ms"),
        *("busybox", "sleep", "600"),
    )
    found["exec"] = engine.ok("exec", "long", "sh", "-c", FACTS)
    wait_for(lambda: engine.cli("exec", "long", "test", "-s", "/tmp/health").returncode == 0, 10, hint="a health check")
    found["health"] = engine.ok("exec", "long", "cat", "/tmp/health")
    engine.ok("rm", "-f", "long")
    return found


def test_nothing_of_the_session_reaches_a_container(engine: Engine, evil: Engine) -> None:
    """CVE-2022-29162, CVE-2022-24769 (inheritable capabilities) and everything else that a child inherits."""
    clean, spoilt = _facts(engine), _facts(evil)
    for kind, facts in spoilt.items():
        assert facts.splitlines() == clean[kind].splitlines(), kind
        assert CANARY not in facts
        assert "CapInh:\t0000000000000000" in facts
        assert "CapAmb:\t0000000000000000" in facts
        assert "SigIgn:\t0000000000000000" in facts
        assert "SigBlk:\t0000000000000000" in facts
        assert "Seccomp:\t2" in facts


def test_nothing_of_the_session_reaches_the_shim(evil: Engine) -> None:
    """Launcher and shim run on: the secrets of the session that started them are not theirs."""
    evil.ok("run", "-d", "--name", "long", "busybox", "sleep", "600")
    with open(f"/proc/{evil.host_pid('long')}/stat") as file:
        shim = int(file.read().rpartition(")")[2].split()[1])
    with open(f"/proc/{shim}/stat") as file:
        launcher = int(file.read().rpartition(")")[2].split()[1])
    for pid in (shim, launcher):
        with open(f"/proc/{pid}/environ", "rb") as environment:
            assert CANARY.encode() not in environment.read()
        with open(f"/proc/{pid}/status") as status:
            text = status.read()
        assert "CapAmb:\t0000000000000000" in text
        assert "54321" not in text
    evil.ok("rm", "-f", "long")
