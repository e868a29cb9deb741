"""What survives what: shims without an engine, restarts, launchers that die, memory."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.integration.runtime.conftest import World, until

from rundlet.runtime import spec as runtime_spec
from rundlet.runtime.launch import Launcher, LauncherError
from rundlet.runtime.shimclient import ShimClient, ShimGoneError, ShimRequestError

pytestmark = pytest.mark.root


async def test_shim_survives_its_engine_and_takes_the_next(world: World) -> None:
    box = await world.box("sh", "-c", "while :; do echo tick; sleep 0.02; done").start()
    await until(box.log)
    box.client.close()
    before = len(box.log())
    for _ in range(3):
        client = await ShimClient.connect(box.spec["socket"])
        hello = await client.hello()
        assert (hello["id"], hello["pid"], hello["status"]) == (box.id, box.pid, "running")
        client.close()
        await asyncio.sleep(0.05)
    await until(lambda: len(box.log()) > before)
    box.client = await ShimClient.connect(box.spec["socket"])
    request = world.requests[box.id]
    assert await box.client.exec("x", runtime_spec.process(request)) > 0
    await box.client.signal(9)
    assert (await box.wait()).code == 137
    with pytest.raises(ShimGoneError):
        await ShimClient.connect(box.spec["socket"])


async def test_exit_without_an_engine_is_recorded(world: World) -> None:
    box = await world.box("sh", "-c", "sleep 0.2; exit 42").start()
    box.client.close()
    async with asyncio.timeout(60):
        while Path(f"/proc/{box.shim_pid}").exists():
            await asyncio.sleep(0.02)
    from rundlet.runtime.state import read_exit

    record = read_exit(box.spec["exit_record"])
    assert record is not None
    assert (record.code, record.signal, record.error) == (42, None, None)
    assert record.finished_ns - record.started_ns > 150_000_000
    assert not os.path.exists(box.spec["socket"])


async def test_bad_requests_do_no_harm(world: World) -> None:
    box = await world.box("sleep", "100").start()
    with pytest.raises(ShimRequestError, match="unknown operation"):
        await box.client.request("explode")
    with pytest.raises(ShimRequestError):
        await box.client.request("signal", signal="x")
    with pytest.raises(ShimRequestError):
        await box.client.request("exec", exec_id="x", process={})
    with pytest.raises(ShimRequestError):
        await box.client.request("exec_signal", exec_id="nothing", signal=1)
    rude = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rude.connect(box.spec["socket"])
    rude.send(b"{not json")
    rude.close()
    assert (await box.client.hello())["status"] == "running"


async def test_on_failure_restarts_in_the_same_sandbox(world: World) -> None:
    script = "readlink /proc/self/ns/net; echo run >> /count; [ $(wc -l < /count) -ge 3 ]"
    box = world.box("sh", "-c", script, shim_restart={"policy": "on-failure", "max": 5})
    await box.start()
    record = await box.wait()
    assert record.code == 0
    names = [event["event"] for event in box.events]
    assert names == ["restarting", "started", "restarting", "started", "exited"]
    assert [event["restart_count"] for event in box.events[:4]] == [1, 1, 2, 2]
    assert box.events[2]["delay"] == 2 * box.events[0]["delay"]
    networks = box.log().splitlines()
    assert len(networks) == 3
    assert len(set(networks)) == 1


async def test_on_failure_gives_up(world: World) -> None:
    box = world.box("sh", "-c", "exit 9", shim_restart={"policy": "on-failure", "max": 2})
    await box.start()
    assert (await box.wait()).code == 9
    assert [event["event"] for event in box.events].count("started") == 2


async def test_always_until_told_otherwise(world: World) -> None:
    box = await world.box("sh", "-c", "echo again", shim_restart={"policy": "always", "max": 0}).start()
    await box.event("restarting", restart_count=3)
    await box.client.set_restart("no")
    assert (await box.wait()).code == 0
    assert box.log() == "again\n" * 3


async def test_streams_and_exec_after_a_restart(world: World) -> None:
    script = "[ -e /second ] || { touch /second; exit 1; }; read line; echo got $line"
    box = world.box("sh", "-c", script, shim_restart={"policy": "on-failure", "max": 3})
    box.spec["stdio"]["open_stdin"] = True
    await box.start()
    started = await box.event("started")
    box.pid = started["pid"]
    assert await box.exec("sh", "-c", "echo inside") == (0, "inside\n")
    stream = await box.attach(stdin=True)
    await asyncio.get_running_loop().sock_sendall(stream, b"it\n")
    assert (await box.wait()).code == 0
    assert "got it" in box.log()
    stream.close()


async def test_launcher_is_started_again(world: World) -> None:
    first = await world.box("sleep", "100").start()
    parent = int(Path(f"/proc/{first.shim_pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    await asyncio.sleep(0.1)
    second = await world.box("echo", "fine").start()
    assert (await second.wait()).code == 0
    assert await first.exec("echo", "still") == (0, "still\n")


async def test_worker_that_is_unknown(world: World) -> None:
    with pytest.raises(LauncherError):
        await world.launcher.worker("nonsense", [])


ENGINE = """
import os, sys, time
open({log!r}, "a").write("%s %d\\n" % (os.environ.get("RUNDLET_LAUNCHER_FD"), os.getppid()))
time.sleep(100)
"""


async def test_dead_engine_is_started_again(world: World) -> None:
    """The launcher sees the end of its connection, as when an engine is killed."""
    log = world.base / "engines"
    argv = [sys.executable, "-c", ENGINE.format(log=str(log))]
    launcher = await Launcher.start(world.layout, argv)
    assert launcher._socket is not None
    pid = launcher.pid
    launcher._drop(expected=True)  # as if we had been killed
    async with asyncio.timeout(60):
        while not log.exists() or not log.read_text().count("\n"):
            await asyncio.sleep(0.02)
    assert log.read_text() == f"3 {pid}\n"
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    async with asyncio.timeout(60):
        while log.read_text().count("\n") < 2:
            await asyncio.sleep(0.02)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGKILL)
    os.kill(int(children[0]), signal.SIGKILL)
    os.waitpid(pid, 0)


async def test_launcher_imports_little(world: World) -> None:
    program = (
        "import sys;sys.path.append(sys.argv[1]);from rundlet.daemon import launcher;"
        "print(*sorted(m for m in sys.modules));"
    )
    source = Path(sys.modules["rundlet"].__file__ or "").parent.parent
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", program, str(source), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    names = set(output.decode().split())
    heavy = {"asyncio", "msgspec", "aiohttp", "argparse", "subprocess", "dataclasses", "inspect", "random", "hashlib"}
    assert not names & (heavy | {"threading", "logging", "pwd", "grp", "traceback", "rundlet.util", "rundlet.api"})


async def test_shims_are_small(world: World) -> None:
    boxes = [await world.box("sleep", "100").start() for _ in range(4)]
    await asyncio.sleep(0.2)
    sizes = [_private(box.shim_pid) for box in boxes]
    print("private memory of shims, KiB:", sizes)
    assert max(sizes) <= 1750
    for box in boxes[:2]:
        for _ in range(3):
            assert (await box.exec("true"))[0] == 0
        await box.client.request("freeze")
        await box.client.request("thaw")
        await box.client.request("update", resources={"memory": {"limit": 1 << 27}}, strict=["memory"])
    sizes = [_private(box.shim_pid) for box in boxes[:2]]
    print("and after execs, a pause and a change of limits:", sizes)
    assert max(sizes) <= 2100


def _private(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return fields["Private_Dirty:"] + fields["Private_Clean:"]
