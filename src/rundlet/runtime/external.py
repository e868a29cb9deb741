"""Running a container by another OCI runtime (runc, crun, …): the same bundle, written to disk. Used by the shim.

The shim keeps what is its own: root file system, network namespace, streams, log, exit record, exec. The runtime makes
the other namespaces and the cgroup and starts the process, which becomes a child of the shim (a subreaper): its status
is read as any child's.
"""

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rundlet.linux import caps, libc, ns, pidfd, userns
from rundlet.linux.loop import READ, Loop
from rundlet.runtime.shim.failures import StartError

_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
_PREFIX: Final = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
_BUS: Final = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # where a user's systemd answers
_MAX_LOG: Final = 65536
_INITS: Final = ("docker-init", "tini-static", "catatonit")
"""Programs that reap and pass signals on, and need nothing of the image. Ours can't: it only goes on as pid 1."""
_INIT: Final = "/sbin/docker-init"


class ExternalProcess:
    """The container's process, started by another runtime. Like :class:`~rundlet.runtime.shim.child.Child`."""

    def __init__(
        self,
        loop: Loop,
        spec: Mapping[str, Any],
        on_started: Callable[[], None],
        on_failed: Callable[[StartError], None],
        on_ended: Callable[[int], None],
        host_network: int,
    ) -> None:
        self.pid = 0
        self.pidfd = -1
        self._loop = loop
        self._program: str = spec["runtime"]["path"]
        self._arguments: list[str] = [*(spec["runtime"].get("args") or ())]
        self._environment: Mapping[str, str] = _ENVIRONMENT
        if spec["cgroup"].get("scope"):
            self._arguments.append("--systemd-cgroup")
            if not userns.INITIAL:  # root's own session is not the machine's manager
                self._environment = _ENVIRONMENT | {name: os.environ[name] for name in _BUS if name in os.environ}
        self._name = os.path.basename(self._program)
        self._id: str = spec["id"]
        self._directory = f"{os.path.dirname(os.path.dirname(spec['socket']))}/runtime/{self._id[:12]}"
        self._on_started = on_started
        self._on_failed = on_failed
        self._on_ended = on_ended
        self._host_network = host_network
        self._console: socket.socket | None = None
        self._take_console: Callable[[socket.socket], None] | None = None
        self._made = False

    def start(
        self,
        config: Mapping[str, Any],
        stdio: Sequence[int],
        take_console: Callable[[socket.socket], None] | None,
    ) -> None:
        """Write the bundle and run ``create``, then ``start``. ``stdio``: three descriptors, -1 for /dev/null.

        ``take_console`` is given the connection on which the master of the terminal comes. Raises: OSError.
        """
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        os.makedirs(self._directory, 0o700, exist_ok=True)
        _write(f"{self._directory}/config.json", json.dumps(config).encode())
        arguments = ["create", "--bundle", self._directory, "--pid-file", f"{self._directory}/pid"]
        if take_console is not None:
            self._take_console = take_console
            path = f"{self._directory}/console"
            self._console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._console.bind(path)
            self._console.listen(1)
            arguments += ["--console-socket", path]
        self._made = True
        self._run([*arguments, self._id], stdio, self._created)

    def signal(self, number: int) -> None:
        """Raises: ProcessLookupError when it has ended."""
        if self.pidfd < 0:
            raise ProcessLookupError("process already finished")
        pidfd.send_signal(self.pidfd, number)

    def alive(self) -> bool:
        return self.pidfd >= 0

    def abandon(self) -> None:
        """Kill it, and hear nothing more of it. Never raises."""
        if self.pidfd >= 0:
            try:
                pidfd.send_signal(self.pidfd, signal.SIGKILL)
            except OSError:
                pass  # it has ended
            self._loop.remove(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    def delete(self) -> None:
        """Have the runtime forget the container, and remove the bundle. Never raises."""
        if not self._made:
            return
        self._made = False
        try:
            pid = self._spawn(["delete", "--force", self._id], (-1, -1, -1))
            os.waitpid(pid, 0)
        except OSError:
            pass
        _remove(self._directory)

    def _created(self, code: int) -> None:
        if code != 0:
            self._fail(f"{self._name} create failed: ")
            return
        try:
            with open(f"{self._directory}/pid", "rb") as file:
                self.pid = int(file.read())
            self.pidfd = pidfd.open(self.pid)
            if self._console is not None and self._take_console is not None:
                self._console.setblocking(False)
                connection, _ = self._console.accept()
                self._take_console(connection)
        except (OSError, ValueError) as exc:
            self._on_failed(StartError("runtime", 0, f"{_PREFIX}{self._name} create: {exc}: unknown"))
            return
        self._run(["start", self._id], (-1, -1, -1), self._ran)

    def _ran(self, code: int) -> None:
        if code != 0:
            self._fail(f"{self._name} start failed: ")
            return
        self._on_started()
        self._loop.add(self.pidfd, READ, self._ended)

    def _ended(self, _events: int) -> None:
        self._loop.remove(self.pidfd)
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        self.pidfd = -1
        assert found is not None
        self._on_ended(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)

    def _fail(self, what: str) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        message = self._complaint()
        number = 0
        for text, value in (
            ("executable file not found", 2),
            ("no such file or directory", 2),
            ("permission denied", 13),
            ("is a directory", 21),
            ("exec format error", 8),
        ):
            if text in message and "exec" in message:
                number = value
                break
        step = "exec" if number else "runtime"
        self._on_failed(StartError(step, number, f"{_PREFIX}{what}{message}: unknown"))

    def _complaint(self) -> str:
        """The last thing that the runtime logged."""
        try:
            with open(f"{self._directory}/log", "rb") as file:
                lines = file.read(_MAX_LOG).splitlines()
        except OSError:
            return "no message"
        for line in reversed(lines):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if found.get("level") in ("error", "fatal"):
                return str(found.get("msg"))
        return "no message"

    def _run(self, arguments: list[str], stdio: Sequence[int], done: Callable[[int], None]) -> None:
        """Run the runtime; ``done`` gets its exit code. The loop goes on meanwhile."""
        pid = self._spawn(arguments, stdio)
        process = pidfd.open(pid)

        def ended(_events: int) -> None:
            self._loop.remove(process)
            found = os.waitid(os.P_PIDFD, process, os.WEXITED)
            os.close(process)
            assert found is not None
            done(found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status)

        self._loop.add(process, READ, ended)

    def _spawn(self, arguments: list[str], stdio: Sequence[int]) -> int:
        actions: list[tuple[Any, ...]] = []
        for number, fd in enumerate(stdio):
            if fd >= 0:
                actions.append((os.POSIX_SPAWN_DUP2, fd, number))
            else:
                actions.append((os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0))
        argv = [
            self._program,
            *self._arguments,
            "--root",
            f"{self._directory}/state",
            "--log",
            f"{self._directory}/log",
            "--log-format",
            "json",
            *arguments,
        ]
        # The shim lives in the container's network namespace; a runtime that starts there takes it for the host's.
        ours = ns.open_namespace("self", "network")
        libc.setns(self._host_network, ns.CLONE_NEWNET)
        try:
            return os.posix_spawn(
                self._program, argv, self._environment, file_actions=actions, setsigdef=[signal.SIGPIPE]
            )
        finally:
            libc.setns(ours, ns.CLONE_NEWNET)
            os.close(ours)


def bundle(spec: Mapping[str, Any], rootfs: str, user: Sequence[Any], network: str | None, home: str) -> dict[str, Any]:
    """The spec's OCI configuration with what is only known now: root, user (uid, gid, groups), network namespace.

    Raises: StartError for what another runtime can't be told.
    """
    config: dict[str, Any] = json.loads(json.dumps(spec["oci"]))
    if spec.get("init"):
        _add_init(config)
    for entry in config.get("mounts") or ():
        if "rundlet_layers" in entry or "rundlet_subpath" in entry:
            raise StartError("runtime", 0, "mounted images and subpaths are not supported with another runtime")
        if "mountNamespace" in entry:
            raise StartError("runtime", 0, "--ipc container:… with another runtime is not supported by Rundlet")
    seccomp = config["linux"].get("seccomp") or {}
    if seccomp.get("flags") == ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]:
        del seccomp["flags"]  # runc refused every flag until 1.2, which takes this one for granted
    # What we can't give (Rundlet in a container, say) other runtimes would fail to give.
    have = set(caps.names(caps.get_capabilities()[1]))
    for kind, names in (config["process"].get("capabilities") or {}).items():
        config["process"]["capabilities"][kind] = [name for name in names if name in have]
    config["root"]["path"] = rootfs
    uid, gid, groups = user
    config["process"]["user"] = {"uid": uid, "gid": gid, "additionalGids": list(groups)}
    env = config["process"].setdefault("env", [])
    if not any(entry.startswith("HOME=") and entry != "HOME=" for entry in env):
        env.append(f"HOME={home}")
    if config["process"].get("terminal"):
        rows, columns = spec["stdio"].get("size") or (0, 0)
        config["process"]["consoleSize"] = {"height": rows, "width": columns}
    kept = [entry for entry in config["linux"].get("namespaces") or () if entry["type"] != "network"]
    if network is not None:
        kept.append({"type": "network", "path": network})
    config["linux"]["namespaces"] = kept
    return config


def _add_init(config: dict[str, Any]) -> None:
    """``--init`` as Docker does it, by a program of this machine. Raises: StartError where there is none."""
    places = [f"{directory}/{name}" for name in _INITS for directory in _ENVIRONMENT["PATH"].split(":")]
    program = next((path for path in places if os.access(path, os.X_OK)), None)
    if program is None:
        names = ", ".join(_INITS)
        raise StartError("runtime", 0, f"--init with another runtime needs one of these programs: {names}")
    mount = {"destination": _INIT, "type": "bind", "source": os.path.realpath(program), "options": ["bind", "ro"]}
    config["mounts"] = [*(config.get("mounts") or ()), mount]
    config["process"]["args"] = [_INIT, "--", *config["process"]["args"]]


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _remove(directory: str) -> None:
    for name in ("config.json", "pid", "log", "console"):
        try:
            os.unlink(f"{directory}/{name}")
        except OSError:
            pass
    for path in (f"{directory}/state", directory):
        try:
            os.rmdir(path)
        except OSError:
            pass
