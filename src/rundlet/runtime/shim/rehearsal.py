"""Playing a container's life through in the launcher, before anything is forked from it.

The interpreter rewrites bytecode in place while it learns (PEP 659). Learnt before the fork that is shared by all
shims; learnt after it, each shim has its own copy: 0.7 MB of 2.2. Nothing is started but processes that end at once.
"""

import gc
import json
import os
import signal
import socket
from typing import Any, Final

from rundlet.linux import caps, libc
from rundlet.runtime import protocol
from rundlet.runtime.exec.main import Joining, Request
from rundlet.runtime.init import options, plan
from rundlet.runtime.init.main import Wiring
from rundlet.runtime.init.program import environment
from rundlet.runtime.init.report import Reporter
from rundlet.runtime.shim import main, packing
from rundlet.runtime.shim.container import RUNNING
from rundlet.runtime.shim.starter import Former
from rundlet.runtime.shim.stdio import Pipes

_ROUNDS: Final = 10  # the interpreter looks at a function more closely from its eighth call on
_PATIENCE: Final = 2.0  # seconds for a round, which takes two milliseconds
_NAMES: Final = ("mount", "network", "uts", "pid", "ipc", "cgroup")
_LIMITS: Final = {"memory": {"limit": 1 << 26, "swap": 1 << 27}, "cpu": {"quota": 50000, "period": 100000}}
# There is no control group: all that comes before its files are written is learnt.
_WISHES: Final[tuple[protocol.Message, ...]] = (
    {"op": "freeze"},
    {"op": "thaw"},
    {"op": "update", "resources": _LIMITS, "strict": ["memory"]},
)
_MOUNTS: Final = (
    ("proc", "/proc", ["nosuid", "noexec", "nodev"]),
    ("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("devpts", "/dev/pts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("sysfs", "/sys", ["nosuid", "noexec", "nodev", "ro"]),
    ("cgroup", "/sys/fs/cgroup", ["ro", "nosuid", "noexec", "nodev"]),
    ("bind", "/etc/hosts", ["rbind", "rprivate"]),
)


def read_through() -> packing.Codes:
    """Play it once, and say what code that runs. What is imported late is imported now. Raises: OSError."""
    return packing.watch(_round)


def rehearse(codes: packing.Codes) -> list[object]:
    """Leaves no trace, killed at any moment: its files have no names. What is returned must be kept.

    To be done last: what is freed later, anywhere, shims will find and write to. Raises: OSError.
    """
    gc.collect()
    kept = packing.fill_gaps()
    packing.pack(codes)
    gc.freeze()
    for _ in range(_ROUNDS):
        _round()
        gc.collect()
    kept += packing.fill_gaps(whole=True)
    return [kept, codes]


def _round() -> None:
    _play(_sample(os.memfd_create("exit", os.MFD_CLOEXEC)))


def _play(spec: dict[str, Any]) -> None:
    memory = os.memfd_create("rehearsal", os.MFD_CLOEXEC)
    os.write(memory, protocol.pack_spec(spec))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stream, end = socket.socketpair()
    shim = main.begin(memory, far.fileno())
    far.close()
    shim.loop.later(_PATIENCE, _give_up)
    shim.container.spawn = _spawn
    shim.execs.spawn = _spawn_exec
    protocol.send_packet(near, protocol.encode({"op": "hello", "seq": 1}))
    attach = {"op": "attach", "seq": 2, "stdin": True, "stdout": True, "stderr": True}
    protocol.send_packet(near, protocol.encode(attach), [end.fileno()])
    end.close()
    protocol.send_packet(near, protocol.encode({"op": "start", "seq": 3}))
    while shim.container.state != RUNNING:
        shim.loop.turn()
    request = {"op": "exec", "seq": 4, "exec_id": "1", "process": spec["oci"]["process"], "stdin": True, "tty": False}
    ours, theirs = socket.socketpair()
    protocol.send_packet(near, protocol.encode(request), [theirs.fileno()])
    theirs.close()
    shim.loop.turn()
    while shim.execs.count():
        shim.loop.turn()
    for number, wish in enumerate(_WISHES, start=6):
        protocol.send_packet(near, protocol.encode({**wish, "seq": number}))
        shim.loop.turn()
    protocol.send_packet(near, protocol.encode({"op": "signal", "seq": 5, "signal": 9}))
    shim.loop.run()
    ours.close()
    shim.close()
    os.close(memory)
    near.close()
    stream.close()
    _plan(spec)


def _give_up() -> None:
    raise TimeoutError("the rehearsal stands still")


def _spawn(spec_fd: int, former: Former, pipes: Pipes, handover: socket.socket) -> tuple[int, int]:
    """What a starter and an init would say, without being them."""
    launcher = os.getpid()
    pid = os.fork()
    if pid == 0:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)  # it was killed before it could be followed
        libc.close_range(0)  # above all the report pipe, whose end means that the program runs
        signal.pause()
        os._exit(0)
    message = {"user": [0, 0, []], "home": "/root", "warnings": [], "users": False}
    copies = [os.dup(spec_fd), os.dup(spec_fd)]
    protocol.send_packet(handover, json.dumps(message).encode(), copies)
    protocol.close_all(copies)
    return _starter_of(pid, pipes.wiring())


def _spawn_exec(request: Request, joining: Joining, wiring: Wiring, birth: int) -> tuple[int, int]:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return _starter_of(pid, wiring)


def _starter_of(pid: int, wiring: Wiring) -> tuple[int, int]:
    """The process that is followed first: it names ``pid``, and ends."""
    starter, process_fd = libc.clone3(0)
    if starter == 0:
        os._exit(0)
    _speak(wiring, pid)
    return starter, process_fd


def _speak(wiring: Wiring, pid: int) -> None:
    os.write(wiring.stdout, b"plain\nand \x1b[1mless \xc3\xa9 plain\x1b[0m\n")
    os.write(wiring.stderr, b"an error\nwithout end")
    reporter = Reporter(wiring.report)
    reporter.pid(pid)
    reporter.ready()


def _plan(spec: dict[str, Any]) -> None:
    """The starter's part: processes that end soon, but are faster for it."""
    oci = json.loads(json.dumps(spec["oci"]))
    for entry in oci["mounts"]:
        options.parse(entry["options"])
    view = plan.CgroupView(1, (("memory", "memory"),), (), ())
    prepared = plan.Prepared("/", plan.User(0, 0, ()), {5: 99}, (), (), view, b"", (0, 0))
    for step in plan.build(oci, spec["id"], prepared):
        step.describe()
    environment(oci["process"]["env"], "/root")


def _sample(exit_record: int) -> dict[str, Any]:
    names = list(caps.DEFAULT)
    return {
        "version": protocol.SPEC_VERSION,
        "id": "0" * 64,
        "name": "rehearsal",
        "instance": "0" * 8,
        "dir": "/",
        "socket": "",
        "oci": {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": {"uid": 0, "gid": 0},
                "args": ["true"],
                "env": ["PATH=/bin", "HOSTNAME=rehearsal", "TERM=xterm"],
                "cwd": "/",
                "capabilities": {"bounding": names, "effective": names, "permitted": names},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
                "oomScoreAdj": 0,
            },
            "root": {"path": "rootfs", "readonly": False},
            "hostname": "rehearsal",
            "mounts": [
                {"type": kind, "source": kind, "destination": where, "options": wanted}
                for kind, where, wanted in _MOUNTS
            ],
            "linux": {
                "namespaces": [{"type": name} for name in _NAMES],
                "resources": {},
                "devices": [],
                "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
                "maskedPaths": ["/proc/keys"],
                "readonlyPaths": ["/proc/sys"],
            },
        },
        "user": "",
        "groups": [],
        "rootfs": {},
        "stdio": {"tty": False, "open_stdin": True, "stdin_once": True, "size": [0, 0]},
        "log": {"driver": "json-file", "path": "/dev/null", "max_size": 0, "max_file": 1},
        "net": {"mode": "none"},
        "cgroup": {"path": f"/rundlet-rehearsal-{os.getpid()}/none", "strict": []},
        "seccomp": None,
        "init": False,
        "restart": {"policy": "no", "max": 0},
        "runtime": {"path": None},
        "exit_record": exit_record,
    }
