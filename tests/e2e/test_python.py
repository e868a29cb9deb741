"""``import rundlet``: the engine from Python."""

import asyncio
import doctest
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine as Process

import rundlet
import rundlet.sdk
from rundlet.sdk import errors
from rundlet.sdk.aio import AsyncContainer, AsyncEngine
from rundlet.sdk.container import Container
from rundlet.sdk.engine import Engine

SERVE = ("sh", "-c", "mkdir -p /www; echo page > /www/index.html; echo ready; exec httpd -f -p 80 -h /www")


@pytest.fixture
def api(engine: Process) -> Iterator[Engine]:
    with rundlet.connect(engine.host) as found:
        yield found


def test_the_examples_of_the_documentation(engine: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.delenv("RUNDLET_HOST", raising=False)
    result = doctest.testmod(rundlet.sdk)
    assert result.attempted == 5
    assert result.failed == 0


def test_run(api: Engine) -> None:
    result = api.run("busybox", "sh", "-c", "echo out; echo err >&2; echo $A", env={"A": "set"})
    assert (result.code, result.text, result.stderr) == (0, "out\nset", b"err\n")
    with pytest.raises(errors.ExitError, match="ended with status 3: why") as caught:
        api.run("busybox", "sh", "-c", "echo why >&2; exit 3")
    assert caught.value.code == 3
    assert api.run("busybox", "false", check=False).code == 1
    assert api.containers(all=True) == []


def test_input(api: Engine) -> None:
    """Of a container and of a command in one, more than any buffer on the way holds, in both directions."""
    large = bytes(range(256)) * 16384
    assert api.run("busybox", "cat", input=large).stdout == large
    assert api.run("busybox", "sh", "-c", "cat; echo end", input=b"").text == "end"
    assert api.run("busybox", "true", input=large).code == 0
    with api.container("busybox", "sleep", "1000") as box:
        assert box.exec("cat", stdin=large).stdout == large
    assert api.run("busybox", "tty", tty=True).text == "/dev/pts/0\r"
    with pytest.raises(errors.EngineError, match="either input or tty"):
        api.run("busybox", "cat", tty=True, input=b"x")
    assert api.containers(all=True) == []


def test_output_does_not_depend_on_the_log(api: Engine) -> None:
    assert api.run("busybox", "echo", "said", host_config={"LogConfig": {"Type": "none"}}).text == "said"


def test_a_container_in_a_with_statement(api: Engine) -> None:
    with api.container("busybox", *SERVE, name="web", ports={80: None}, memory="64m", labels={"a": "b"}) as web:
        assert (web.name, web.status, web.health) == ("web", "running", "none")
        web.wait_for_log("ready")
        assert web.inspect()["HostConfig"]["Memory"] == 64 << 20
        address, port = web.port(80)
        assert (address, port > 0) == ("127.0.0.1", True)
        assert web.exec("wget", "-q", "-O", "-", "http://127.0.0.1/").text == "page"
        assert [one.id for one in api.containers(filters={"label": "a=b"})] == [web.id]
        web.write("/tmp/note", b"deep", 0o600)
        assert web.read("/tmp/note") == b"deep"
        assert web.exec("stat", "-c", "%a", "/tmp/note").text == "600"
        web.restart(timeout=0)
        assert web.status == "running"
        web.stop(timeout=0)
        assert (web.status, web.wait()) == ("exited", 137)
    with pytest.raises(errors.NotFoundError, match="No such container"):
        api.get("web")


def test_commands_as_iterators(api: Engine) -> None:
    with api.container("busybox", "sleep", "1000") as box:
        running = box.popen("sh", "-c", "echo 1; sleep 0.2; echo 2 >&2; cat; exit 4", stdin=b"input")
        pieces = [(piece.stream, piece.text) for piece in running]
        assert pieces == [("stdout", "1\n"), ("stderr", "2\n"), ("stdout", "input")]
        assert running.code() == 4
        with pytest.raises(errors.ExitError, match="status 127"):
            box.exec("no-such-program")
        assert box.exec("id", "-u", user="65534").text == "65534"


def test_logs_are_followed_to_the_end(api: Engine) -> None:
    with api.container("busybox", "sh", "-c", "echo a; sleep 0.3; echo b") as box:
        assert [line.text for line in box.logs(follow=True)] == ["a\n", "b\n"]
        assert [line.text for line in box.logs(tail=1)] == ["b\n"]


def test_waiting_that_is_in_vain(api: Engine) -> None:
    with api.container("busybox", "echo", "short") as box, pytest.raises(errors.WaitTimeoutError, match="did not say"):
        box.wait_for_log("long")
    with api.container("busybox", "sleep", "1000") as box:
        with pytest.raises(errors.ConflictError, match="no health check"):
            box.wait_healthy()
        with pytest.raises(errors.NotFoundError, match="not published"):
            box.port(80)


def test_networks_volumes_images_and_builds(api: Engine, tmp_path: Path) -> None:
    with api.network("pod") as network, api.volume("sea") as volume:
        options = {"network": network, "volumes": {volume: "/sea"}}
        with api.container("busybox", "sleep", "1000", name="one", aliases=["first"], **options) as one:  # type: ignore[arg-type]
            one.write("/sea/note", b"deep")
            assert one.address(network).startswith("172.")
            assert api.run("busybox", "cat", "/sea/note", **options).text == "deep"  # type: ignore[arg-type]
            assert api.run("busybox", "nslookup", "first", **options).code == 0  # type: ignore[arg-type]
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG WORD\nCOPY . /all\nRUN echo $WORD > /word\n")
    (tmp_path / "kept").write_text("1")
    (tmp_path / "left").write_text("2")
    (tmp_path / ".dockerignore").write_text("left\n")
    image = api.build(tmp_path, "python/built:1", WORD="said")
    assert image.tags == ("python/built:1",)
    assert api.run("python/built:1", "sh", "-c", "cat /word; ls /all").text == "said\nDockerfile\nkept"
    api.tag("python/built:1", "python/other")
    assert "python/other:latest" in api.image("python/built:1").tags
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
    with pytest.raises(errors.EngineError, match="returned a non-zero code: 3"):
        api.build(tmp_path, "python/broken")
    for name in ("python/built:1", "python/other"):
        api.remove_image(name)


def test_events(api: Engine) -> None:
    since = time.time() - 1
    api.run("busybox", "true", name="seen")
    found = api.events(since=since, until=time.time(), filters={"container": "seen"})
    actions = [event.action for event in found if event.attributes.get("name") == "seen"]
    assert actions[:3] == ["create", "attach", "start"]
    assert actions[-2:] == ["die", "destroy"]


def test_from_many_threads(api: Engine) -> None:
    results: list[str] = []

    def work(number: int) -> None:
        results.append(api.run("busybox", "echo", str(number)).text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [str(number) for number in range(8)]


def test_the_same_with_await(engine: Process) -> None:
    async def work() -> None:
        async with rundlet.connect(engine.host) as api:
            assert (await api.run("busybox", "echo", "hello")).text == "hello"
            async with api.container("busybox", *SERVE, ports={80: None}) as web:
                await web.wait_for_log("ready")
                assert (await web.port(80))[0] == "127.0.0.1"
                running = await web.popen("sh", "-c", "echo 1; exit 4")
                assert [piece.text async for piece in running] == ["1\n"]
                assert await running.code() == 4
                several = await asyncio.gather(*(web.exec("echo", str(number)) for number in range(4)))
                assert [result.text for result in several] == ["0", "1", "2", "3"]
            assert await api.containers(all=True) == []

    asyncio.run(work())


def test_everything_can_be_awaited() -> None:
    def names(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert names(AsyncEngine) == names(Engine)
    assert names(AsyncContainer) == names(Container)


def test_many_wait_at_once(engine: Process) -> None:
    """Each of them ends only when all of them run; there are more than asyncio has threads for."""
    meet = "echo x >> /sea/here; until [ $(wc -l < /sea/here) = 24 ]; do sleep 0.1; done; echo met"

    async def work() -> None:
        async with rundlet.connect(engine.host) as api, api.volume() as sea:
            runs = (api.run("busybox", "sh", "-c", meet, volumes={sea: "/sea"}) for _ in range(24))
            assert {result.text for result in await asyncio.gather(*runs)} == {"met"}

    asyncio.run(work())


def test_what_is_cancelled_ends(engine: Process) -> None:
    """Also when nothing would come for ever: no thread is left that the program's end would wait for."""

    async def follow(box: AsyncContainer) -> None:
        async for _ in box.logs(follow=True):
            pass

    async def work() -> None:
        async with rundlet.connect(engine.host) as api:
            async with api.container("busybox", "sleep", "1000", name="kept") as box:
                for waiting in (follow(box), box.wait(), box.exec("sleep", "1000"), box.wait_for_log("never", 1000)):
                    task = asyncio.ensure_future(waiting)
                    await asyncio.sleep(0.2)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                assert await box.status() == "running"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await api.run("busybox", "sleep", "1000", name="stopped")
            # On a slow machine it is still being made, and goes when it is.
            async with asyncio.timeout(45):
                while await api.containers(all=True):
                    await asyncio.sleep(0.05)
            async with api.network("pod") as network:
                assert await api.run("busybox", "true", network=network)

    asyncio.run(work())


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.NotReachableError, match="Cannot connect"), rundlet.connect(f"unix://{tmp_path}/none"):
        pass


SUITE = """
def test_two(container, rundlet_engine):
    boxes = [container("busybox", "sleep", "1000") for _ in range(2)]
    assert [box.exec("echo", "in").text for box in boxes] == ["in", "in"]
    assert len(rundlet_engine.containers()) == 2

def test_that_fails(container):
    container("busybox", "sleep", "1000")
    raise AssertionError

def test_nothing_is_left(rundlet_engine):
    assert rundlet_engine.containers(all=True) == []
"""


def test_the_pytest_plugin(engine: Process, tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "rundlet.pytest_plugin", "-p", "no:cacheprovider", str(tmp_path)],
        env=engine.environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_is_registered() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"rundlet": "rundlet.pytest_plugin"}
