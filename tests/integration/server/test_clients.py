"""The official docker CLI, every one on this machine, and docker-py."""

import asyncio
import fcntl
import os
import pty
import shutil
import struct
import termios
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.conftest import lacking
from tests.integration.server.conftest import Server

from rundlet.api.exec import Size

CLIENTS = sorted({path for name in ("/usr/local/bin", "/usr/bin") if (path := shutil.which("docker", path=name))})


@dataclass
class CLI:
    """One docker CLI, pointed at the server under test."""

    program: str
    server: Server
    home: Path

    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.server.host, "HOME": str(self.home), "PATH": os.environ["PATH"], "TERM": "xterm"}

    async def start(self, *args: str, **streams: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(self.program, *args, env=self.environment(), **streams)

    async def __call__(self, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await self.start(*args, stdin=pipe, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture(params=CLIENTS or [None])
def cli(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> CLI:
    if request.param is None:
        lacking("no docker CLI on this machine")
    return CLI(request.param, server, tmp_path)


async def test_run(cli: CLI) -> None:
    assert await cli("run", "--rm", "debian:12", "echo", "hello") == (0, "hello\n", "")
    assert (await cli("run", "--rm", "debian:12", "exit", "3"))[0] == 3
    assert cli.server.engine.containers.all == {}


async def test_run_with_input(cli: CLI) -> None:
    assert await cli("run", "-i", "--rm", "debian:12", "cat", stdin=b"typed") == (0, "typed", "end of input\n")


async def test_run_moves_much_data(cli: CLI) -> None:
    size = 16 * 1024 * 1024
    code, out, _ = await cli("run", "--rm", "debian:12", "flood", str(size))
    assert (code, len(out)) == (0, size)
    data = "line of text\n" * 200_000
    code, out, _ = await cli("run", "-i", "--rm", "debian:12", "cat", stdin=data.encode())
    assert (code, out) == (0, data)


async def test_run_what_cannot_be_started(cli: CLI) -> None:
    code, _, err = await cli("run", "--rm", "debian:12", "missing")
    assert code == 127
    assert 'exec: "missing": executable file not found in $PATH' in err
    code, _, err = await cli("run", "--rm", "--pull=never", "absent", "true")
    assert code == 125
    assert "No such image: absent:latest" in err


async def test_run_in_the_background(cli: CLI) -> None:
    code, out, _ = await cli("run", "-d", "--name", "web", "debian:12", "sleep", "100")
    assert (code, len(out.strip())) == (0, 64)
    code, out, _ = await cli("ps", "--format", "{{.Names}} {{.Image}} {{.Ports}}")
    assert (code, out) == (0, "web debian:12 0.0.0.0:8080->80/tcp\n")
    assert await cli("exec", "web", "echo", "inside") == (0, "inside\n", "")
    assert (await cli("exec", "web", "exit", "7"))[0] == 7
    assert (await cli("exec", "web", "missing"))[0] == 127
    assert await cli("exec", "-i", "web", "cat", stdin=b"x") == (0, "x", "end of input\n")
    assert await cli("exec", "-d", "web", "exit", "0") == (0, "", "")
    assert (await cli("kill", "web"))[1] == "web\n"
    assert (await cli("wait", "web"))[1] == "137\n"
    assert (await cli("inspect", "--format", "{{.State.Status}}", "web"))[1] == "exited\n"
    assert (await cli("rm", "web"))[1] == "web\n"


async def test_logs(cli: CLI) -> None:
    await cli("run", "-d", "--name", "said", "debian:12", "echo", "for the log")
    assert await cli("logs", "-f", "said") == (0, "for the log\n", "")


async def terminal(cli: CLI, *args: str) -> tuple[asyncio.subprocess.Process, int]:
    """The CLI with a terminal of its own; the process, and the other end of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await cli.start(*args, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.set_blocking(ours, False)
    return process, ours


async def until(master: int, text: bytes) -> bytes:
    """What the terminal shows, up to ``text``."""
    seen = b""
    async with asyncio.timeout(60):
        while text not in seen:
            try:
                seen += os.read(master, 4096)
            except BlockingIOError:
                await asyncio.sleep(0.01)
            except OSError:  # the other side is closed
                break
    return seen


async def test_a_terminal(cli: CLI) -> None:
    process, master = await terminal(cli, "run", "-it", "--name", "shell", "debian:12", "cat")
    try:
        await cli.server.until(lambda: any(c.status == "running" for c in cli.server.engine.containers.all.values()))
        container = cli.server.engine.containers.find("shell")
        await cli.server.until(lambda: Size(height=24, width=80) in container.sizes)
        os.write(master, b"echoed")
        assert b"echoed" in await until(master, b"echoed")
        os.write(master, b"\x10")
        await asyncio.sleep(0.1)
        os.write(master, b"\x11")
        async with asyncio.timeout(60):
            await process.wait()
        assert container.status in ("running", "exited")
    finally:
        os.close(master)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_images(cli: CLI) -> None:
    code, out, _ = await cli("pull", "-q", "debian:13")
    assert (code, out) == (0, "docker.io/library/debian:13\n")
    assert (await cli("images", "-q"))[1] == "555555555555\n" * (await cli("images", "-q"))[1].count("\n")
    code, out, _ = await cli("import", "-", "mine:1", stdin=b"x" * 3_000_000)
    assert (code, out) == (0, "sha256:" + "5" * 64 + "\n")
    assert len(cli.server.engine.images.imported) == 3_000_000
    assert (await cli("push", "127.0.0.1:5000/x:1"))[0] == 0
    assert (await cli("tag", "debian:12", "other:1"))[0] == 0
    assert (await cli("rmi", "other:1"))[1] == "Untagged: other:1\n"
    code, _, err = await cli("rmi", "nope")
    assert code == 1
    assert "No such image: nope" in err


async def test_the_engine(cli: CLI) -> None:
    assert (await cli("version", "--format", "{{.Server.Version}}"))[1] == "28.2.2\n"
    code, out, err = await cli("info", "--format", "{{.Driver}} {{.NCPU}}")
    assert (code, out) == (0, "overlay2 2\n"), err
    code, out, _ = await cli("network", "ls", "--format", "{{.Name}}")
    assert (code, out) == (0, "bridge\n")
    assert (await cli("volume", "create", "vol"))[1] == "vol\n"
    code, _, err = await cli("node", "ls")
    assert code == 1
    assert "This node is not a swarm manager" in err


async def test_stats_and_top(cli: CLI) -> None:
    await cli("run", "-d", "--name", "busy", "debian:12", "sleep")
    code, out, err = await cli("stats", "--no-stream", "--format", "{{.Name}}", "busy")
    assert (code, out) == (0, "busy\n"), err
    assert (await cli("top", "busy"))[1].split() == ["PID", "CMD", "1", "sleep"]


@pytest.fixture
async def client(server: Server) -> AsyncIterator[docker.DockerClient]:
    client = await asyncio.to_thread(docker.DockerClient, base_url=server.host, version="auto")
    yield client
    await asyncio.to_thread(client.close)


async def test_docker_py(server: Server, client: docker.DockerClient) -> None:
    def use() -> None:
        assert client.ping() is True
        assert client.version()["ApiVersion"] == "1.51"
        container = client.containers.create("debian:12", ["echo", "hi"], name="frompy", environment={"A": "b"})
        container.start()
        assert container.wait(timeout=5)["StatusCode"] == 0
        assert container.logs() == b"hi\n"
        assert [c.name for c in client.containers.list(all=True)] == ["frompy"]
        with pytest.raises(docker.errors.NotFound):
            client.containers.get("nope")
        container.remove()

    await asyncio.to_thread(use)


async def test_docker_py_exec(server: Server, client: docker.DockerClient) -> None:
    def use() -> Iterator[object]:
        container = client.containers.run("debian:12", ["sleep", "9"], detach=True, name="execs")
        yield container.exec_run(["echo", "x"])
        yield container.exec_run(["exit", "4"]).exit_code
        yield container.exec_run(["echo", "tty"], tty=True).output
        yield container.exec_run(["echo", "both"], demux=True).output
        readings = container.stats(stream=True, decode=True)
        yield next(readings)["name"]
        readings.close()
        container.stop(timeout=1)

    results = await asyncio.to_thread(lambda: list(use()))
    assert results == [(0, b"x\n"), 4, b"tty\n", (b"both\n", None), "/execs"]


async def test_docker_py_images(client: docker.DockerClient) -> None:
    def use() -> tuple[list[str], list[dict[str, str]]]:
        image = client.images.pull("debian", tag="12")
        return image.tags, list(client.api.pull("halfway", tag="1", stream=True, decode=True))

    tags, messages = await asyncio.to_thread(use)
    assert "debian:12" in tags
    assert messages[-1]["error"] == "unexpected EOF"
