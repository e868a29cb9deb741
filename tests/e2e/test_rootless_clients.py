"""An ordinary user's engine: docker-py, published UDP, a home that is full."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.conftest import lacking, need
from tests.engines import wait_for
from tests.rootless import Person, UserEngine

from rundlet.linux import mount

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

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
def person() -> Iterator[Person]:
    made = Person()
    try:
        yield made
    finally:
        made.remove()


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
