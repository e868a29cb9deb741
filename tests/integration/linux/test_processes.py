"""Processes: clone3, pidfds, what they inherit and what not."""

import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rundlet.linux import caps, clean, inotify, libc, ns, pidfd


@pytest.mark.root
def test_clone3_makes_namespaces() -> None:
    pid, fd = libc.clone3(ns.CLONE_NEWPID | ns.CLONE_NEWUTS)
    if pid == 0:
        libc.sethostname("inside")
        os._exit(0 if os.getpid() == 1 and os.uname().nodename == "inside" else 1)
    assert pidfd.pid(fd) == pid
    assert pidfd.wait(fd, 10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert os.uname().nodename != "inside"


def test_a_pidfd_never_hits_a_stranger() -> None:
    pid, fd = libc.clone3(0)
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    pidfd.send_signal(fd, 0)
    assert not pidfd.wait(fd, 0)
    pidfd.send_signal(fd, signal.SIGTERM)
    assert pidfd.wait(fd, 10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        pidfd.send_signal(fd, 0)
    with pytest.raises(ProcessLookupError):
        pidfd.pid(fd)
    os.close(fd)
    with pytest.raises(ProcessLookupError):
        pidfd.open(2**22 + 1)


@pytest.mark.root
def test_getfd() -> None:
    reader, writer = os.pipe()
    child, own = libc.clone3(0)
    if child == 0:
        os.dup2(writer, 777)
        os.write(writer, b"!")
        time.sleep(60)
        os._exit(0)
    assert os.read(reader, 1) == b"!"
    copy = pidfd.getfd(own, 777)
    os.write(copy, b"?")
    assert os.read(reader, 1) == b"?"
    pidfd.send_signal(own, signal.SIGKILL)
    os.waitpid(child, 0)
    for fd in (reader, writer, own, copy):
        os.close(fd)


def test_close_range() -> None:
    child = os.fork()
    if child == 0:
        for _ in range(20):
            os.dup(0)
        libc.close_range(10)
        os._exit(0 if not any(int(name) > 10 for name in os.listdir("/proc/self/fd")) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_names_of_processes() -> None:
    child = os.fork()
    if child == 0:
        libc.set_name("a name that is much too long")
        os._exit(0 if Path("/proc/self/comm").read_text() == "a name that is \n" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_error_names_the_path() -> None:
    with pytest.raises(FileNotFoundError, match=r"\[Errno 2\] No such file or directory: '/nowhere'"):
        libc.call("umount2", b"/nowhere", 0, path="/nowhere")


@pytest.mark.root
def test_capability_sets() -> None:
    child = os.fork()
    if child == 0:
        wanted = caps.mask(caps.DEFAULT)
        caps.drop_bounding(wanted)
        net_raw = caps.mask(["NET_RAW"])
        caps.set_capabilities(wanted, wanted, net_raw)
        caps.set_ambient(net_raw)
        status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
        sets = [int(status[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")]
        fine = sets == [wanted, wanted, wanted, net_raw, net_raw] and caps.get_capabilities() == (
            wanted,
            wanted,
            net_raw,
        )
        os._exit(0 if fine and caps.bounding() == wanted else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


DIRTY = """
import os, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from rundlet.linux import caps, clean
os.umask(0o077)
os.nice(7)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT, signal.SIGRTMIN})
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
chown = caps.mask(["CHOWN"])
effective, permitted, _ = caps.get_capabilities()
caps.set_capabilities(effective, permitted, chown)
caps.set_ambient(chown)
caps.set_securebits(caps.SECBIT_NO_SETUID_FIXUP)
clean.attributes()
clean.limits({resource.RLIMIT_FSIZE: (4096, 8192)})
clean.signals()
files = "/proc/self/status /proc/self/limits /proc/self/sched"
os.execv("/bin/sh", ["sh", "-c", f"cat {files}; nice; cat /proc/self/personality"])
"""


@pytest.mark.root
def test_nothing_of_the_callers_session_is_inherited() -> None:
    source = str(Path(clean.__file__).parents[2])
    out = subprocess.run([sys.executable, "-c", DIRTY, source], capture_output=True, text=True, check=True).stdout
    lines = out.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Umask"] == "0022"
    for name in ("SigBlk", "SigIgn", "CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, name
    online = os.sysconf("SC_NPROCESSORS_ONLN")
    assert int(status["Cpus_allowed"].replace(",", ""), 16).bit_count() >= min(online, 2)
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines if line.startswith("Max ")}
    assert limits["Max file size"] == ["4096", "8192"]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(limits["Max open files"][0]) == (1 << 20 if caps_resource() else min(hard, 1 << 20))
    assert next(line for line in lines if line.startswith("policy")).split()[-1] == "0"
    assert lines[-2:] == ["0", "00000000"]


def caps_resource() -> bool:
    return bool(caps.get_capabilities()[0] & caps.mask(["SYS_RESOURCE"]))


def test_a_wanted_limit_that_cannot_be_is_an_error() -> None:
    with pytest.raises(OSError, match="rlimit 7"):
        clean.limits({resource.RLIMIT_NOFILE: (20, 10)})


def test_file_changes_are_noticed(tmp_path: Path) -> None:
    fd = inotify.init()
    try:
        watch = inotify.add_watch(fd, str(tmp_path), inotify.IN_CREATE | inotify.IN_MOVED_TO)
        assert inotify.read_events(fd) == []
        (tmp_path / "new").touch()
        assert select.select([fd], [], [], 60)[0]
        assert [(event.watch, event.name) for event in inotify.read_events(fd)] == [(watch, "new")]
        inotify.remove_watch(fd, watch)
    finally:
        os.close(fd)
