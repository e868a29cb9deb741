"""aiodocker: attach goes over a WebSocket there, everything else over one connection pool."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

import aiodocker
import pytest
from aiodocker.containers import DockerContainer
from tests.engines import Engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DOCKERFILE = b"FROM busybox\nCOPY greeting /\nRUN cat /greeting\n"
GREETING = b"hello\n"


@pytest.fixture
async def docker(engine: Engine) -> AsyncIterator[aiodocker.Docker]:
    client = aiodocker.Docker(url=engine.host)
    yield client
    await client.close()


async def started(docker: aiodocker.Docker, *command: str, **config: object) -> DockerContainer:
    container = await docker.containers.create({"Image": "busybox", "Cmd": list(command), **config}, name="box")
    await container.start()
    return container


async def test_life_logs_and_wait(docker: aiodocker.Docker) -> None:
    container = await started(docker, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (await container.wait())["StatusCode"] == 3
    assert await container.log(stdout=True) == ["out\n"]
    assert await container.log(stderr=True) == ["err\n"]
    assert (await container.show())["State"]["ExitCode"] == 3
    await container.delete()


async def test_an_exposed_port_is_one_port_with_or_without_its_protocol(docker: aiodocker.Docker) -> None:
    await started(docker, "sleep", "1000", ExposedPorts={"80": {}, "80/tcp": {}, "53/udp": {}})
    [container] = await docker.containers.list()
    assert container["Ports"] == [{"PrivatePort": 53, "Type": "udp"}, {"PrivatePort": 80, "Type": "tcp"}]
    assert (await container.show())["NetworkSettings"]["Ports"] == {"53/udp": None, "80/tcp": None}


async def test_attach_both_ways(docker: aiodocker.Docker) -> None:
    config = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    container = await docker.containers.create({"Image": "busybox", "Cmd": ["cat"], **config}, name="box")
    async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
        await container.start()
        await stream.write_in(b"to and fro\n")
        message = await asyncio.wait_for(stream.read_out(), 60)
        assert message is not None and (message.stream, message.data) == (1, b"to and fro\n")
    await container.delete(force=True)


async def test_websocket(docker: aiodocker.Docker) -> None:
    container = await docker.containers.create(
        {"Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "Tty": True}, name="box"
    )
    await container.start()
    websocket = await container.websocket(stdin=True, stdout=True, stderr=True, stream=True)
    await websocket.send_str("over a socket\n")
    got = b""
    async with asyncio.timeout(60):
        while got.count(b"over a socket") < 2:  # the terminal's echo, and cat's
            message = await websocket.receive()
            got += message.data
    await websocket.close()
    await container.delete(force=True)


@pytest.mark.parametrize("tty", [False, True])
async def test_exec(docker: aiodocker.Docker, tty: bool) -> None:
    container = await started(docker, "sleep", "1000")
    execution = await container.exec(["sh", "-c", "echo hi; exit 4"], tty=tty)
    async with execution.start(detach=False) as stream:
        message = await asyncio.wait_for(stream.read_out(), 60)
        assert message is not None and message.data.strip() == b"hi"
        assert await asyncio.wait_for(stream.read_out(), 60) is None
    assert (await execution.inspect())["ExitCode"] == 4
    await container.delete(force=True)


async def test_events_and_archives(docker: aiodocker.Docker) -> None:
    subscriber = docker.events.subscribe()
    container = await started(docker, "sleep", "1000")
    actions = []
    async with asyncio.timeout(60):
        while "start" not in actions:
            event = await subscriber.get()
            assert event is not None
            actions.append(event["Action"])
    assert actions[0] == "create"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("note")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"text"))
    await container.put_archive("/tmp", data.getvalue())
    with await container.get_archive("/tmp/note") as archive:
        member = archive.extractfile("note")
        assert member is not None and member.read() == b"text"
    await container.delete(force=True)


async def test_build(docker: aiodocker.Docker) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in (("Dockerfile", DOCKERFILE), ("greeting", GREETING)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    data.seek(0)
    messages = await docker.images.build(fileobj=data, encoding="gzip", tag="built:1")
    said = "".join(message.get("stream", "") for message in messages)
    assert "hello\n" in said and "Successfully tagged built:1" in said
    await docker.images.delete("built:1", force=True)
