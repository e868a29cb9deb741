"""Clients of the socket that mean harm, or are broken: every one gets an answer, and the engine serves the next."""

import hashlib
import http.client
import io
import json
import os
import resource
import shlex
import socket
import stat
import tarfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import need
from tests.engines import Engine, rundlet_command, wait_for

pytestmark = [pytest.mark.root]


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def call(engine: Engine, method: str, path: str, body: object = None) -> tuple[int, str]:
    connection = Connection(engine.socket)
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    try:
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(100_000).decode(errors="replace")
    finally:
        connection.close()


def raw(engine: Engine, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(engine.socket)
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return client.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            return b""


def memory(pid: int) -> int:
    """Resident, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
        b"\0" * 5000,
        b"GET /_ping HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
        b"GET /" + b"a" * 20_000_000,
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["tls", "zeros", "headers", "url", "negative", "smuggling"],
)
def test_garbage_is_refused(engine: Engine, data: bytes) -> None:
    before = memory(engine.pid)
    answer = raw(engine, data)
    assert not answer or answer.split()[1] in {b"400", b"414", b"431"}, answer
    assert call(engine, "GET", "/_ping") == (200, "OK")
    assert memory(engine.pid) - before < 40_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"Image":"busybox","Labels":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * 1_000_000,
        b'{"Image":"busybox","Unknown":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
    ids=["labels", "open", "unknown"],
)
def test_deep_json_is_a_bad_request(engine: Engine, body: bytes) -> None:
    assert call(engine, "POST", "/containers/create", body)[0] == 400
    assert call(engine, "GET", "/_ping")[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"Env": ["A\0=b"]},
        {"Cmd": ["a\0b"]},
        {"Labels": {"a": "b\0"}},
        {"WorkingDir": "/a\0b"},
        {"HostConfig": {"Binds": ["/a\0:/b"]}},
        {
            "HostConfig": {
                "Devices": [{"PathOnHost": "/dev/x\0", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]
            }
        },
    ],
)
def test_strings_have_no_end_inside(engine: Engine, body: dict[str, object]) -> None:
    status, text = call(engine, "POST", "/containers/create", {"Image": "busybox", **body})
    assert (status, "null byte" in text) == (400, True)
    assert call(engine, "GET", "/containers/json?filters=%00")[0] == 400
    escaped = {"Image": "busybox", "Cmd": ["true"], "Labels": {"a": "\\u0000"}}
    assert call(engine, "POST", "/containers/create", escaped)[0] == 201


def test_an_images_strings_have_none_either(engine: Engine, busybox_tar: Path) -> None:
    layer = busybox_tar.read_bytes()
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    platform = {"architecture": "amd64", "os": "linux"}
    image = {**platform, "config": {"Env": ["A\0=b"]}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = [{"Config": "config.json", "RepoTags": ["evil:1"], "Layers": ["0.tar"]}]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        parts = {
            "config.json": json.dumps(image).encode(),
            "0.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    engine.ok("load", stdin=archive.getvalue())
    done = engine.cli("run", "--rm", "evil:1", "true")
    assert done.returncode == 125 and "null byte" in done.stderr
    engine.ok("rmi", "evil:1")


def test_terminals_are_not_written_to_by_images(engine: Engine, busybox_tar: Path) -> None:
    """Escape sequences of a history or a message are shown, where a terminal would obey them."""
    evil = "\x1b]0;title\x07\x9b2J"
    engine.ok("import", "-c", f"LABEL a={evil}", "-m", evil, str(busybox_tar), "evil:2")
    table = shlex.join([*rundlet_command(), "history", "--no-trunc", "evil:2"])
    complaint = shlex.join([*rundlet_command(), "inspect", "--type", "image", f"no{evil}"])
    for command in (table, complaint):
        done = engine.run_command([need("script"), "-qec", f"{command} 2>&1", "/dev/null"])
        assert "\\x1b]0;title\\x07\\x9b2J" in done.stdout, done.stdout
        assert "\x1b]" not in done.stdout
    assert evil in engine.ok("history", "--no-trunc", "evil:2"), "a pipe gets what there is"
    engine.ok("rmi", "evil:2")


@pytest.mark.parametrize("pattern", ["^/(a+)+$", "^/(a|a?)+$", "(.*a){20}!"])
def test_expressions_that_others_try_for_ever(engine: Engine, pattern: str) -> None:
    """One filter must not keep the engine from everybody else."""
    assert call(engine, "POST", f"/containers/create?name={'a' * 60}b", {"Image": "busybox", "Cmd": ["true"]})[0] == 201
    filters = urllib.parse.quote(json.dumps({"name": [pattern]}))
    assert call(engine, "GET", f"/containers/json?all=1&filters={filters}") == (200, "[]\n")


@pytest.mark.parametrize("port", ["a", "", "/tcp", "80-", "90-80", "70000", "1-99999999999", "\u0663", "\u00b2/udp"])
def test_ports_that_are_none_cost_nobody_the_list(engine: Engine, port: str) -> None:
    """They may be of anybody's image."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": {port: {}, "80-82/tcp": {}}}
    status, text = call(engine, "POST", "/containers/create?name=odd", body)
    assert status == 201, text
    engine.ok("start", "odd")
    assert engine.ok("ps", "--format", "{{.Names}} {{.Ports}}") == "odd 80/tcp"
    engine.ok("run", "--rm", "--link", "odd", "busybox", "true")


@pytest.mark.parametrize("port", ["1-99999999999", "70000", "80-79", "\u0663", "-1", "1_0"])
def test_ports_that_are_none_are_no_filters(engine: Engine, port: str) -> None:
    query = urllib.parse.quote(json.dumps({"publish": [port]}))
    assert call(engine, "GET", f"/containers/json?filters={query}")[0] == 400


@pytest.mark.parametrize("number", ["\u0665", "1_0", "%201", "9223372036854775808", "0x1"])
def test_numbers_are_as_go_reads_them(engine: Engine, number: str) -> None:
    assert call(engine, "GET", f"/containers/json?limit={urllib.parse.quote(number, safe='%')}")[0] == 400


@pytest.mark.parametrize("name", ["", "/proc/sys"])
def test_no_devices(engine: Engine, name: str) -> None:
    """An empty name is no directory to look for devices in: it took all of the machine's files once."""
    device = {"PathOnHost": name, "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Devices": [device]}}
    status, text = call(engine, "POST", "/containers/create", body)
    assert status == 201, text
    status, text = call(engine, "POST", f"/containers/{json.loads(text)['Id']}/start")
    assert (status, "error gathering device information" in text) == (400, True)


@pytest.mark.parametrize("time", ["99999999999999999999", "9" * 5000, "-99999999999999999999"])
def test_times_beyond_all_calendars(engine: Engine, time: str) -> None:
    engine.ok("create", "--name", "box", "busybox", "true")
    assert call(engine, "GET", f"/containers/box/logs?stdout=1&since={time}")[0] == 400
    for far in ("9223372036854775807", "-9223372036854775807"):
        assert call(engine, "GET", f"/containers/box/logs?stdout=1&since={far}")[0] == 200


def test_deep_filters_are_a_bad_request(engine: Engine) -> None:
    assert call(engine, "GET", "/containers/json?filters=" + "%7B%22a%22%3A" * 500)[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/containers/..%2f../json",
        "/containers/%2e%2e/json",
        "/containers/../../info",
        "/containers/a%0ab/json",
        "/containers/%00/json",
        "/exec/..%2f..%2f/json",
        "/volumes/..%2f..%2f",
        "/networks/..%2f",
        "/images/..%2f..%2fetc/json",
        "/v1.24/../info",
    ],
)
def test_paths_lead_nowhere(engine: Engine, path: str) -> None:
    assert call(engine, "GET", path)[0] in {400, 404}


@pytest.mark.parametrize("name", ["a%0ab", "..%2f..%2fx", "%00ab", "-ab", ".ab", "ab%2f..", "%C3%A9%C3%A9"])
def test_names_are_names(engine: Engine, name: str) -> None:
    status, text = call(engine, "POST", f"/containers/create?name={name}", {"Image": "busybox"})
    assert (status, "Invalid container name" in text) == (400, True)


@pytest.mark.parametrize("parent", ["../../../rundlet-h", "/../../../rundlet-h", "a/../rundlet-h", "/./rundlet-h"])
def test_cgroup_parent_stays_in_the_hierarchy(engine: Engine, parent: str) -> None:
    """As in Docker the dots end at the root of the hierarchy."""
    identifier = engine.ok("run", "-d", "--cgroupns=host", f"--cgroup-parent={parent}", "busybox", "sleep", "1000")
    pid = engine.ok("inspect", "-f", "{{.State.Pid}}", identifier)
    groups = [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    engine.ok("rm", "-f", identifier)
    for directory in [Path("/sys/fs/cgroup/rundlet-h"), *Path("/sys/fs/cgroup").glob("*/rundlet-h")]:
        if directory.is_dir():
            directory.rmdir()
    assert f"/rundlet-h/{identifier}" in groups


@pytest.mark.parametrize(
    "key",
    [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4.../../../kernel/core_pattern",
        "fs/mqueue/../../kernel/core_pattern",
        "vm.overcommit_memory",
        "kernel.hostname",
        "net",
    ],
)
def test_settings_of_the_machine_are_not_a_containers(engine: Engine, key: str) -> None:
    """Whoever sets kernel.core_pattern is root on the host."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    done = engine.cli("run", "--rm", "--sysctl", f"{key}=|/tmp/evil", "busybox", "true")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert done.returncode not in {0, 1}, done.stderr
    assert "sysctl" in done.stderr


def test_settings_of_the_hosts_namespaces_neither(engine: Engine) -> None:
    for flags in (
        ("--network", "host", "--sysctl", "net.ipv4.ip_forward=0"),
        ("--ipc", "host", "--sysctl", "kernel.sem=1"),
    ):
        done = engine.cli("run", "--rm", *flags, "busybox", "true")
        assert (done.returncode != 0, "sysctl" in done.stderr) == (True, True), flags
    assert (
        engine.ok("run", "--rm", "--sysctl", "kernel.msgmax=4444", "busybox", "cat", "/proc/sys/kernel/msgmax")
        == "4444"
    )


def test_slow_and_silent_clients_hold_nobody_up(engine: Engine) -> None:
    """A thousand connections that never finish a request; each costs little, and all are gone with their clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    before = len(os.listdir(f"/proc/{engine.pid}/fd"))
    clients = []
    try:
        for number in range(1000):
            client = socket.socket(socket.AF_UNIX)
            wait_for(lambda client=client: client.connect_ex(engine.socket) == 0, 10, hint="the engine accepts")
            client.sendall(
                (b"GET /_pi", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")[number % 2]
            )
            clients.append(client)
        assert engine.ok("run", "--rm", "busybox", "echo", "fine") == "fine"
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for(lambda: len(os.listdir(f"/proc/{engine.pid}/fd")) <= before + 5, 10, hint="descriptors are given back")


def test_reader_that_never_reads(engine: Engine) -> None:
    """An attached client that stalls: the shim waits for it, but exec, other containers and stop don't."""
    engine.ok("run", "-d", "--name", "flood", "--log-driver", "none", "busybox", "cat", "/dev/zero")
    with socket.socket(socket.AF_UNIX) as stalled, socket.socket(socket.AF_UNIX) as other:
        for client in (stalled, other):
            client.connect(engine.socket)
            client.sendall(
                b"POST /containers/flood/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n"
                b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
            )
        time.sleep(1)
        before = memory(engine.pid)
        assert engine.ok("exec", "flood", "echo", "fine", timeout=10) == "fine"
        assert engine.ok("run", "--rm", "busybox", "echo", "fine", timeout=10) == "fine"
        time.sleep(0.5)
        assert memory(engine.pid) - before < 20_000
        engine.ok("stop", "-t", "1", "flood", timeout=15)
        assert engine.field("flood", "{{.State.Status}}") == "exited"


def test_exec_with_a_large_environment_and_a_long_name(engine: Engine) -> None:
    """A request to a shim that is longer than a packet; a name in an error that is. Neither ends the container."""
    engine.ok("run", "-d", "--name", "long", "busybox", "sleep", "600")
    big = "x" * 100_000
    script = "echo ${#A} ${#B}"
    assert engine.ok("exec", "-e", f"A={big}", "-e", f"B={big}", "long", "sh", "-c", script) == "100000 100000"
    assert (
        engine.ok("run", "--rm", "-e", f"A={big}", "-e", f"B={big}", "busybox", "sh", "-c", script) == "100000 100000"
    )
    for command in (
        ("exec", "long", big),
        ("exec", "-u", big, "long", "true"),
        ("exec", "-w", "/" + big, "long", "true"),
    ):
        assert engine.cli(*command).returncode not in {0, 1} or command[1] != "long"
    assert engine.cli("run", "--rm", "busybox", big).returncode == 127
    assert engine.ok("exec", "long", "echo", "alive") == "alive"


def test_ten_command_lines_at_once(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    results: list[int] = []

    def work(number: int) -> None:
        for _ in range(3):
            results.append(engine.cli("run", "--rm", "--name", f"many{number}", "busybox", "true").returncode)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 30
    assert engine.ok("ps", "-aq") == ""


def test_what_lies_on_disk_is_not_for_everybody(engine: Engine) -> None:
    """Secrets are in records, logs and bundles; the socket is root's and its group's."""
    assert stat.S_IMODE(os.stat(engine.socket).st_mode) == 0o660
    engine.ok("run", "-d", "--name", "long", "-e", "SECRET=x", "busybox", "sleep", "600")
    readable = []
    for top in (engine.layout.root, engine.layout.run):
        for directory, children, files in os.walk(top):
            if not os.stat(directory).st_mode & stat.S_IXOTH:
                children.clear()
                continue
            if f"{directory}/".startswith(f"{engine.layout.root}/snapshots/"):
                children.clear()
            readable += [
                f"{directory}/{name}" for name in files if os.stat(f"{directory}/{name}").st_mode & stat.S_IROTH
            ]
    assert [name for name in readable if not name.endswith("engine-id")] == []


def test_sockets_cannot_be_redirected_by_links(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """A link where the engine's socket, pid file or log would go is not followed to another file."""
    engine = new_engine(image=False)
    engine.terminate()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (engine.socket, f"{engine.layout.run}/launcher.log"):
        Path(name).unlink(missing_ok=True)
        Path(name).symlink_to(victim)
    try:
        engine.start()
    except AssertionError:
        Path(f"{engine.layout.run}/launcher.log").unlink(missing_ok=True)
        engine.start()
    assert victim.read_text() == "precious"
