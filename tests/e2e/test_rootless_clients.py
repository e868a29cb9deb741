"""An ordinary user's engine: Docker's clients, published UDP, a home that is full."""

import os
import secrets
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs
from tests.conftest import lacking, need
from tests.engines import wait_for
from tests.rootless import Person, UserEngine

from rundlet.linux import mount

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 9000))
print("bound", flush=True)
while True:
    data, peer = server.recvfrom(2048)
    server.sendto(data.upper(), peer)
"""


@pytest.fixture(scope="module")
def engine(person: Person, busybox_tar: Path) -> Iterator[UserEngine]:
    for program in ("newuidmap", "newgidmap"):
        need(program)
    started = UserEngine(person, ("newuidmap", "newgidmap")).start()
    try:
        started.ok("import", "-", "box", stdin=busybox_tar.read_bytes())
        yield started
    finally:
        started.stop()


def test_docker_py(engine: UserEngine) -> None:
    client = docker.DockerClient(base_url=f"unix://{engine.socket}", timeout=60)
    try:
        assert client.containers.run("box", ["echo", "said"], remove=True) == b"said\n"
        running = client.containers.run("box", ["sleep", "1000"], detach=True, name="py", ports={"80/tcp": None})
        code, output = running.exec_run(["id", "-u"])
        assert (code, output) == (0, b"0\n")
        running.reload()
        assert running.attrs["NetworkSettings"]["Ports"]["80/tcp"]
        volume = client.volumes.create("kept")
        client.containers.run("box", ["touch", "/v/file"], volumes={"kept": {"bind": "/v"}}, remove=True)
        listed = client.containers.run("box", ["ls", "/v"], volumes={"kept": {"bind": "/v"}}, remove=True)
        assert listed == b"file\n"
        running.remove(force=True)
        volume.remove()
        assert "name=rootless" in client.info()["SecurityOptions"]
    finally:
        client.close()


def test_published_udp(engine: UserEngine) -> None:
    python = os.path.realpath(engine.person.python)
    if not python.startswith("/usr/"):
        lacking("Python below /usr")
    mounts = [word for mount in ("/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro") for word in ("-v", mount)]
    engine.ok("run", "-d", "--name", "udp", "-p", "127.0.0.1::9000/udp", *mounts, "box", python, "-c", ECHO)
    try:
        wait_for(lambda: engine.ok("logs", "udp").strip() == "bound")
        host, _, port = engine.ok("port", "udp", "9000/udp").strip().rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            ours.settimeout(0.5)

            def answered(word: bytes) -> bool:
                ours.sendto(word, (host, int(port)))
                try:
                    return ours.recvfrom(2048)[0] == word.upper()
                except TimeoutError:
                    return False

            wait_for(lambda: answered(b"first"))
            wait_for(lambda: answered(b"x" * 1400))
    finally:
        engine.ok("rm", "-f", "udp")


def test_a_full_home(person: Person, busybox_tar: Path) -> None:
    small = UserEngine(person, ("newuidmap", "newgidmap"))
    home = person.directory / "small"
    home.mkdir()
    mount.attach(mount.new_filesystem("tmpfs", {"size": "40m", "mode": "755"}), str(home))
    try:
        os.chown(home, person.uid, person.gid)
        small.environment["RUNDLET_ROOT"] = str(home / "root")
        small.start()
        try:
            small.ok("import", "-", "box", stdin=busybox_tar.read_bytes())
            filled = small.cli("run", "--name", "big", "box", "dd", "if=/dev/zero", "of=/big", "bs=1M")
            assert filled.returncode == 1
            assert "No space left on device" in filled.stderr
            refused = small.cli("import", "-", "other", stdin=busybox_tar.read_bytes())
            assert refused.returncode == 1
            assert "no space left on device" in refused.stderr.lower()
            assert small.ok("ps", "-a", "--format", "{{.Names}}").split() == ["big"]
            small.ok("rm", "big")
            assert small.ok("run", "--rm", "box", "echo", "room again").strip() == "room again"
        finally:
            small.stop()
    finally:
        mount.umount(str(home), mount.MNT_DETACH)


def as_user(engine: UserEngine, *command: str, cwd: Path | None = None, **more: str) -> str:
    """What one of Docker's own programs prints for the user, pointed at the user's engine."""
    environment = {
        "HOME": str(engine.person.home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "DOCKER_HOST": f"unix://{engine.socket}",
        "DOCKER_BUILDKIT": "0",
        **more,
    }
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        user=engine.person.uid,
        group=engine.person.gid,
        extra_groups=[],
        env=environment,
        cwd=cwd or engine.base,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-1000:]}"
    return done.stdout.strip()


def users_directory(engine: UserEngine, name: str, files: dict[str, str]) -> Path:
    directory = engine.base / name
    directory.mkdir()
    for path, content in files.items():
        (directory / path).write_text(content)
    return directory


def fetched(port: str, content: bytes) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            return bool(answer.read() == content)
    except OSError:
        return False


def test_the_docker_command_line(engine: UserEngine, docker_cli: str) -> None:
    name = f"line{secrets.token_hex(3)}"
    files = {
        "Dockerfile": "FROM box\nCOPY index.html /www/\nRUN id -u >/www/user && chown 7:8 /www\n",
        "index.html": "it\n",
    }
    context = users_directory(engine, name, files)
    as_user(engine, docker_cli, "build", "-q", "-t", name, str(context))
    serve = ("sh", "-c", "echo ready; exec httpd -f -p 80 -h /www")
    as_user(engine, docker_cli, "run", "-d", "--name", name, "-p", "127.0.0.1::80", "-v", f"{name}:/kept", name, *serve)
    port = as_user(engine, docker_cli, "port", name, "80/tcp").rpartition(":")[2]
    wait_for(lambda: fetched(port, b"it\n"), 30)
    assert as_user(engine, docker_cli, "exec", name, "stat", "-c", "%u:%g", "/www") == "7:8"
    assert as_user(engine, docker_cli, "logs", name) == "ready"
    as_user(engine, docker_cli, "cp", str(context / "index.html"), f"{name}:/kept/copied")
    as_user(engine, docker_cli, "rm", "-f", name)
    listed = as_user(engine, docker_cli, "run", "--rm", "-v", f"{name}:/kept", name, "ls", "/kept")
    assert listed == "copied"
    as_user(engine, docker_cli, "volume", "rm", name)
    as_user(engine, docker_cli, "rmi", name)
    assert "name=rootless" in as_user(engine, docker_cli, "info", "-f", "{{.SecurityOptions}}")


COMPOSE = """
version: "2.4"
services:
  web:
    build: .
    command: ["sh", "-c", "wget -qO /www/index.html http://store/ && exec httpd -f -p 80 -h /www"]
    ports: ["127.0.0.1::80"]
    depends_on: {store: {condition: service_healthy}}
  store:
    image: box
    command: ["sh", "-c", "echo kept >/data/index.html; exec httpd -f -p 80 -h /data"]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 1s, retries: 60}
volumes: {data: {}}
"""


def test_compose(engine: UserEngine) -> None:
    program = need("docker-compose")
    files = {"docker-compose.yml": COMPOSE, "Dockerfile": "FROM box\nRUN mkdir -p /www\n"}
    directory = users_directory(engine, "shop", files)

    def compose(*words: str) -> str:
        return as_user(engine, program, "--no-ansi", *words, cwd=directory)

    compose("up", "-d")
    try:
        port = compose("port", "web", "80").rpartition(":")[2]
        wait_for(lambda: fetched(port, b"kept\n"), 30)
        assert compose("exec", "-T", "store", "cat", "/data/index.html") == "kept"
    finally:
        compose("down", "-v", "--rmi", "local", "-t", "0")
    assert engine.ok("ps", "-aq") == ""


def test_testcontainers(engine: UserEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.socket}")
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    serve = ["sh", "-c", "mkdir -p /www; echo page >/www/index.html; echo ready; exec httpd -f -p 80 -h /www"]
    with DockerContainer("box").with_command(serve).with_exposed_ports(80) as server:
        wait_for_logs(server, "ready", timeout=30)
        port = str(server.get_exposed_port(80))
        wait_for(lambda: fetched(port, b"page\n"), 30)
        code, output = server.exec(["id", "-u"])
        assert (code, output) == (0, b"0\n")
    assert engine.ok("ps", "-aq") == ""
