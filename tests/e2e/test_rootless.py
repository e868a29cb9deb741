"""An ordinary user's engine, with what the machine may offer such a user: ranges of users or one user, a program that
carries packets or none."""

import io
import json
import os
import pty
import signal
import socket
import subprocess
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.engines import Done, wait_for
from tests.rootless import Person, UserEngine, elsewhere
from tools.registry import Registry

FULL = ("newuidmap", "newgidmap", "pasta")
SLIRP = ("newuidmap", "newgidmap", "slirp4netns")
POOR: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def image(busybox_tar: Path) -> bytes:
    """busybox, with a file of user 1000 in a directory of user 1001."""
    data = io.BytesIO(busybox_tar.read_bytes())
    with tarfile.open(fileobj=data, mode="a") as archive:
        directory = tarfile.TarInfo("owned")
        directory.type, directory.mode, directory.uid, directory.gid = tarfile.DIRTYPE, 0o755, 1001, 1001
        archive.addfile(directory)
        file = tarfile.TarInfo("owned/file")
        file.uid, file.gid, file.size = 1000, 1000, 2
        archive.addfile(file, io.BytesIO(b"x\n"))
    return data.getvalue()


Start = Callable[[tuple[str, ...]], UserEngine]


@pytest.fixture(scope="module")
def start(person: Person, image: bytes) -> Iterator[Start]:
    """One engine for each set of programs, kept for the module."""
    running: dict[tuple[str, ...], UserEngine] = {}

    def started(programs: tuple[str, ...]) -> UserEngine:
        if programs not in running:
            for program in programs:
                need(program)
            engine = UserEngine(person, programs).start()
            engine.ok("import", "-", "box", stdin=image)
            running[programs] = engine
        return running[programs]

    yield started
    for engine in running.values():
        engine.stop()


@pytest.fixture(scope="module")
def full(start: Start) -> UserEngine:
    """The whole range of users, and pasta."""
    return start(FULL)


@pytest.fixture(scope="module")
def poor(start: Start) -> UserEngine:
    """One user only, and our own way out."""
    return start(POOR)


@pytest.fixture(scope="module")
def far() -> Iterator[str]:
    need("ip")
    with elsewhere() as address:
        yield address


def page(port: int, host: str = "127.0.0.1") -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/page", timeout=10) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def served(engine: UserEngine, name: str, *options: str) -> None:
    engine.ok("run", "-d", "--name", name, *options, "box", "sh", "-c", "echo served >/page; exec httpd -f -p 80 -h /")


# ── what both kinds of user have ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("programs", [FULL, POOR], ids=["full", "poor"])
def test_a_containers_whole_life(start: Start, programs: tuple[str, ...]) -> None:
    engine = start(programs)
    assert engine.ok("run", "--rm", "box", "id", "-u") == "0"
    engine.ok("run", "-d", "--name", "life", "-v", "kept:/data", "box", "sh", "-c", "echo begun; exec sleep 600")
    assert engine.ok("exec", "life", "sh", "-c", "echo inside >/data/file; cat /data/file") == "inside"
    assert engine.ok("logs", "life") == "begun"
    assert "sleep 600" in engine.ok("top", "life")
    engine.ok("stop", "-t", "0", "life")
    assert engine.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("life Exited (137)")
    engine.ok("rm", "life")
    assert engine.ok("run", "--rm", "-v", "kept:/data", "box", "cat", "/data/file") == "inside"
    engine.ok("volume", "rm", "kept")


@pytest.mark.parametrize("programs", [FULL, POOR], ids=["full", "poor"])
def test_nothing_in_a_container_is_root_on_the_machine(start: Start, programs: tuple[str, ...]) -> None:
    engine = start(programs)
    engine.ok("run", "-d", "--name", "mine", "--privileged", "box", "sleep", "600")
    pid = int(engine.ok("inspect", "-f", "{{.State.Pid}}", "mine"))
    assert os.stat(f"/proc/{pid}").st_uid == engine.person.uid
    engine.ok("rm", "-f", "mine")
    with pytest.raises(AssertionError, match=r"[Pp]ermission denied"):
        engine.ok("run", "--rm", "--privileged", "-v", "/etc:/host", "box", "sh", "-c", "echo x >>/host/shadow")


@pytest.mark.parametrize("programs", [FULL, POOR], ids=["full", "poor"])
def test_published_ports_are_the_machines_own(start: Start, programs: tuple[str, ...]) -> None:
    engine, port = start(programs), free_port()
    served(engine, "web", "-p", f"{port}:80")
    wait_for(lambda: page(port) == "served\n", 10)
    taken = engine.cli("run", "--rm", "-p", f"{port}:80", "box", "true")
    assert taken.returncode == 125
    assert "port is already allocated" in taken.stderr
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        conflict = engine.cli("run", "--rm", "-p", f"127.0.0.1:{number}:80", "box", "true")
        assert "address already in use" in conflict.stderr
    privileged = engine.cli("run", "--rm", "-p", "80:80", "box", "true")
    assert "net.ipv4.ip_unprivileged_port_start" in privileged.stderr
    engine.ok("rm", "-f", "web")
    with pytest.raises(OSError, match="refused"):
        page(port)


@pytest.mark.parametrize("programs", [FULL, SLIRP, POOR], ids=["pasta", "slirp4netns", "ours"])
def test_the_way_out(start: Start, programs: tuple[str, ...], far: str) -> None:
    engine = start(programs)
    fetched = engine.ok("run", "--rm", "box", "wget", "-qO-", f"http://{far}:8000/")
    assert fetched == "elsewhere"
    assert "192.0.2.77" in engine.ok("run", "--rm", "box", "nslookup", "-type=a", "some.name", far)
    assert engine.ok("run", "--rm", "--network", "host", "box", "wget", "-qO-", f"http://{far}:8000/") == "elsewhere"


@pytest.mark.parametrize("programs", [FULL, POOR], ids=["full", "poor"])
def test_networks_with_names(start: Start, programs: tuple[str, ...]) -> None:
    engine = start(programs)
    engine.ok("network", "create", "own")
    served(engine, "named", "--network", "own")
    assert engine.ok("run", "--rm", "--network", "own", "box", "wget", "-qO-", "http://named/page") == "served"
    assert engine.cli("run", "--rm", "--network", "none", "box", "wget", "-qO-", "http://named/page").returncode != 0
    engine.ok("rm", "-f", "named")
    engine.ok("network", "rm", "own")


@pytest.mark.parametrize("programs", [FULL, POOR], ids=["full", "poor"])
def test_limits_are_discarded_with_dockers_words(start: Start, programs: tuple[str, ...]) -> None:
    engine = start(programs)
    done = engine.cli("run", "--rm", "-m", "64m", "--pids-limit", "9", "box", "true")
    assert done.returncode == 0
    assert "Your kernel does not support memory limit capabilities or the cgroup is not mounted" in done.stderr
    assert "PIDs limit discarded" in done.stderr
    engine.ok("run", "-d", "--name", "counted", "box", "sleep", "600")
    used = json.loads(engine.ok("stats", "--no-stream", "--format", "json", "counted"))
    assert used["PIDs"] == "1"
    assert not used["MemUsage"].startswith("0B")
    assert "no control group to freeze" in engine.cli("pause", "counted").stderr
    engine.ok("rm", "-f", "counted")


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_whole_range_of_users(full: UserEngine) -> None:
    listed = full.ok("run", "--rm", "box", "stat", "-c", "%u:%g", "/owned", "/owned/file")
    assert listed.split() == ["1001:1001", "1000:1000"]
    assert full.ok("run", "--rm", "-u", "1000:1000", "box", "id", "-u") == "1000"
    beyond = full.cli("run", "--rm", "-u", "4000000", "box", "true")
    assert "user 4000000 does not exist in this engine's user namespace" in beyond.stderr


def test_one_user_has_all_files_and_forgets_no_owner(poor: UserEngine) -> None:
    listed = poor.ok("run", "--rm", "box", "stat", "-c", "%u:%g", "/owned", "/owned/file")
    assert listed.split() == ["0:0", "0:0"]
    second = poor.cli("run", "--rm", "-u", "1000", "box", "id", "-u")
    assert second.returncode != 0
    assert "newuidmap" in second.stderr
    poor.ok("create", "--name", "out", "box", "true")
    exported = subprocess.run(
        [poor.person.python, "-m", "rundlet", "export", "out"],
        capture_output=True,
        check=True,
        user=poor.person.uid,
        group=poor.person.gid,
        env=poor.environment,
        cwd="/",
    )
    with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as archive:
        owners = {name: (archive.getmember(name).uid, archive.getmember(name).gid) for name in ("owned", "owned/file")}
    assert owners == {"owned": (1001, 1001), "owned/file": (1000, 1000)}
    poor.ok("commit", "out", "again")
    poor.ok("rm", "out")
    poor.ok("rmi", "again")


def test_volumes_are_filled_as_their_container_is_created(full: UserEngine, poor: UserEngine) -> None:
    for engine, owner in ((full, "1000:1000"), (poor, "0:0")):
        engine.ok("create", "--name", "filled", "-v", "/owned", "box", "stat", "-c", "%u:%g", "/owned/file")
        with tarfile.open(fileobj=io.BytesIO(engine.ok("cp", "filled:/owned/file", "-").encode())) as archive:
            assert archive.getnames() == ["file"]
        assert engine.ok("start", "-a", "filled") == owner
        engine.ok("rm", "-v", "filled")


def test_removed_files_stay_removed_in_a_committed_image(full: UserEngine) -> None:
    full.ok("run", "--name", "changed", "box", "sh", "-c", "rm -r /owned; mkdir /owned; echo new >/owned/new")
    full.ok("commit", "changed", "smaller")
    full.ok("rm", "changed")
    assert full.ok("run", "--rm", "smaller", "ls", "/owned") == "new"
    full.ok("rmi", "smaller")


def test_build_push_and_pull(full: UserEngine, registry: Registry) -> None:
    context = full.base / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM box\nRUN echo built >/made && chown 1000:1000 /made\n")
    name = f"{registry.address}/user/built"
    full.ok("build", "-q", "-t", name, str(context))
    full.ok("push", "-q", name)
    full.ok("rmi", name)
    full.ok("pull", "-q", name)
    assert full.ok("run", "--rm", name, "stat", "-c", "%u", "/made") == "1000"
    full.ok("rmi", name)


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("programs", "users", "network"),
    [(FULL, "65537", "pasta"), (SLIRP, "65537", "slirp4netns"), (POOR, "1", "built-in forwarder")],
    ids=["pasta", "slirp4netns", "ours"],
)
def test_info_says_what_was_chosen(start: Start, programs: tuple[str, ...], users: str, network: str) -> None:
    engine = start(programs)
    info = json.loads(engine.ok("info", "--format", "json"))
    assert "name=rootless" in info["SecurityOptions"]
    assert info["CgroupDriver"] == "none"
    assert info["Rootless"] == [["Users", users], ["Network", network], ["Control Group", "none"]]
    assert f" Rootless:\n  Users: {users}\n  Network: {network}\n" in engine.ok("info")


def test_the_doctor_names_what_is_missing_and_the_remedy(full: UserEngine) -> None:
    report = full.cli("system", "doctor", "--json")
    findings = {item["name"]: item for item in json.loads(report.stdout)}
    assert findings["user namespaces"]["state"] == "ok"
    assert findings["user ranges"]["found"] == "65536 users"
    assert findings["network"]["found"].endswith("/pasta")
    assert all(item["remedy"] for item in findings.values() if item["state"] != "ok")
    text = full.cli("system", "doctor").stdout
    assert text.splitlines()[0].split() == ["CHECK", "STATE", "FOUND"]


def test_a_terminal(full: UserEngine) -> None:
    master, slave = pty.openpty()
    command = [full.person.python, "-m", "rundlet", "run", "-it", "--rm", "box", "sh", "-c", "test -t 0 && echo is-tty"]
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        user=full.person.uid,
        group=full.person.gid,
        env=full.environment | {"TERM": "xterm"},
        cwd="/",
    )
    os.close(slave)
    seen = b""
    try:
        while b"is-tty" not in seen:
            seen += os.read(master, 4096)
    finally:
        process.wait(60)
        os.close(master)


def test_roots_engine_and_the_users_never_share_a_root(full: UserEngine) -> None:
    root = full.environment["RUNDLET_ROOT"]
    command = [full.person.python, "-m", "rundlet", "engine", "--data-root", root, "--exec-root", f"{full.base}/other"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"belongs to the engine of another user (uid {full.person.uid})" in done.stderr
    assert os.stat(f"{root}/engine.lock").st_uid == full.person.uid


# ── an engine in a container ──────────────────────────────────────────────────────────────────────────────────


def nested(engine: UserEngine, image: bytes, *options: str) -> Done:
    """An engine of its own in a container of ``engine``, and what a container of that says."""
    (engine.base / "box.tar").write_bytes(image)
    site = str(engine.person.directory)
    mounts = [f"{site}:{site}:ro", "/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro"]
    rundlet = f"env RUNDLET_ROOT=/inner/root RUNDLET_RUN=/inner/run {engine.person.python} -m rundlet"
    script = (
        f"{rundlet} import {engine.base}/box.tar box && {rundlet} run --rm box echo from-inside; "
        f"code=$?; {rundlet} engine stop; exit $code"
    )
    flags = [word for mount in mounts for word in ("-v", mount)]
    return engine.cli("run", "--rm", *options, "-v", "/inner", *flags, "box", "sh", "-c", script)


@pytest.mark.parametrize(
    "options",
    [["--privileged"], ["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"]],
    ids=["privileged", "unconfined"],
)
def test_an_engine_in_a_container(full: UserEngine, image: bytes, options: list[str]) -> None:
    if not os.path.realpath(full.person.python).startswith("/usr/"):
        lacking("Python below /usr")
    done = nested(full, image, *options)
    assert "from-inside" in done.stdout, done.stderr


def test_an_engine_in_a_container_that_may_not_names_the_obstacle(full: UserEngine, image: bytes) -> None:
    done = nested(full, image)
    assert done.returncode != 0
    assert "user namespaces are forbidden here" in done.stderr
    assert "--security-opt seccomp=unconfined" in done.stderr


# ── what gets killed ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_engine_finds_its_containers_again(full: UserEngine) -> None:
    served(full, "survivor", "-p", f"{(port := free_port())}:80")
    before = full.pid()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: full.cli("ps").returncode == 0 and full.pid() != before, 30, hint="another engine serves")
    assert full.ok("exec", "survivor", "echo", "here") == "here"
    wait_for(lambda: page(port) == "served\n", 10)
    full.ok("rm", "-f", "survivor")


@pytest.mark.parametrize("programs", [FULL, POOR], ids=["pasta", "ours"])
def test_a_killed_way_out_is_made_again(start: Start, programs: tuple[str, ...], far: str) -> None:
    engine = start(programs)
    before = engine.way_out()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: engine.way_out() not in {before, 0}, 20, hint="another one is started")
    fetch = ("run", "--rm", "box", "wget", "-qO-", f"http://{far}:8000/")
    wait_for(lambda: engine.cli(*fetch).stdout.strip() == "elsewhere", 20, hint="packets leave again")


def test_a_killed_keeper_is_replaced_with_the_next_engine(person: Person, start: Start, image: bytes) -> None:
    engine = UserEngine(person, FULL).start()
    engine.ok("import", "-", "box", stdin=image)
    engine.ok("run", "-d", "--name", "stays", "box", "sleep", "600")
    inside = engine.ok("inspect", "-f", "{{.State.Pid}}", "stays")
    ended = engine.pid()
    os.kill(engine.keeper(), signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{ended}") or not engine._listens(), 20, hint="the engine ends")
    assert engine.ok("inspect", "-f", "{{.State.Pid}}", "stays") == inside  # this command has started the next one
    assert engine.ok("exec", "stays", "echo", "here") == "here"
    engine.stop()


# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_started_on_demand_below_the_xdg_directories(person: Person) -> None:
    runtime = person.directory / "xdg"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, person.uid, person.gid)
    environment = {
        "HOME": str(person.home),
        "USER": person.name,
        "PATH": "/usr/bin:/bin",
        "XDG_RUNTIME_DIR": str(runtime),
    }

    def rundlet(*arguments: str) -> str:
        command = [person.python, "-m", "rundlet", *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            user=person.uid,
            group=person.gid,
            extra_groups=[],
            env=environment,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Server: Rundlet Engine" in rundlet("version")
    status = rundlet("engine", "status")
    assert f"unix://{runtime}/rundlet/rundlet.sock" in status
    assert f"{person.home}/.local/share/rundlet" in status
    rundlet("engine", "stop")
    del environment["XDG_RUNTIME_DIR"]
    assert f"unix:///tmp/rundlet-{person.uid}/rundlet.sock" in rundlet("engine", "env")
    assert "Server: Rundlet Engine" in rundlet("version")
    assert os.stat(f"/tmp/rundlet-{person.uid}").st_uid == person.uid
    rundlet("engine", "stop")


def test_a_helper_that_fails_is_named_and_one_user_left(person: Person) -> None:
    engine = UserEngine(person, ())
    broken = engine.base / "bin"
    broken.mkdir()
    for name in ("newuidmap", "newgidmap"):
        (broken / name).write_text("#!/bin/sh\necho 'no way' >&2\nexit 1\n")
        (broken / name).chmod(0o755)
    engine.environment["PATH"] = f"{broken}:{engine.environment['PATH']}"
    engine.start()
    warnings = json.loads(engine.ok("info", "--format", "json"))["Warnings"]
    assert any("newuidmap failed: no way" in line for line in warnings)
    engine.stop()


def test_ranges_that_overlap_anothers_are_refused(person: Person) -> None:
    path = Path("/etc/subuid")
    before = path.read_text()
    start = next(int(line.split(":")[1]) for line in before.splitlines() if line.startswith(f"{person.name}:"))
    try:
        path.write_text(f"{before}somebody-else:{start + 10}:5\n")
        engine = UserEngine(person, FULL)
        done = engine.cli("engine")
        assert done.returncode == 1
        assert f"overlaps somebody-else:{start + 10}:5" in done.stderr
        assert done.stderr.count("\n") == 1
        report = engine.cli("system", "doctor", "--json")
        assert report.returncode == 1
        ranges = next(item for item in json.loads(report.stdout) if item["name"] == "user ranges")
        assert ranges["state"] == "missing"
        assert f"overlaps somebody-else:{start + 10}:5" in ranges["found"]
    finally:
        path.write_text(before)
