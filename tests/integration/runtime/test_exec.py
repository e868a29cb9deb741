"""Further processes in a running container."""

import asyncio
import signal

import msgspec
import pytest
from tests.integration.runtime.conftest import Box, World

from rundlet.runtime import spec as runtime_spec
from rundlet.runtime.shimclient import ShimRequestError
from rundlet.runtime.spec import Limits, Rlimit

pytestmark = pytest.mark.root


async def idle(world: World, **options: object) -> Box:
    return await world.box("sleep", "1000", **options).start()


async def test_output_code_and_streams(world: World) -> None:
    box = await idle(world)
    assert await box.exec("sh", "-c", "echo out; echo err >&2; exit 4") == (4, "out\nerr\n")
    assert await box.exec("sh", "-c", "kill -9 $$") == (137, "")


async def test_input(world: World) -> None:
    box = await idle(world)
    text = b"x" * 200_000
    near = asyncio.create_task(box.exec("wc", "-c", stdin=text))
    assert await near == (0, "200000\n")


async def test_joins_everything(world: World) -> None:
    box = await idle(world, limits=Limits(memory=64 << 20), hostname="inside")
    script = "hostname; for n in mnt net pid uts ipc cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup"
    _, text = await box.exec("sh", "-c", script)
    _, wanted = await box.exec("sh", "-c", script.replace("/proc/self", "/proc/1"))
    assert text == wanted
    assert text.startswith("inside\n")


async def test_rights_are_those_of_the_container(world: World) -> None:
    box = await idle(world, rlimits=[Rlimit("nofile", 100, 200)])
    keys = "^(Cap|Sig(Blk|Ign|Cgt)|Seccomp|NoNewPrivs|Uid|Gid|Groups|Umask)"
    script = f"grep -E '{keys}' /proc/PID/status; cat /proc/PID/limits /proc/PID/oom_score_adj"
    _, own = await box.exec("sh", "-c", script.replace("PID", "self"))
    _, first = await box.exec("sh", "-c", script.replace("PID", "1"))
    assert own.splitlines()[1:] == first.splitlines()[1:]
    assert "CapEff:\t00000000a80425fb" in own
    assert "Seccomp:\t2" in own
    assert "Max open files            100                  200" in own
    _, fds = await box.exec("sh", "-c", "ls /proc/self/fd")
    assert fds.split() == ["0", "1", "2", "3"]


async def test_user(world: World) -> None:
    box = await idle(world)
    code, text = await box.exec("sh", "-c", "id -u; id -G; echo $HOME; grep CapEff /proc/self/status", user="alice")
    assert (code, text.split("\n")[:3]) == (0, ["1000", "1000 10", "/home/alice"])
    assert "CapEff:\t0000000000000000" in text
    with pytest.raises(ShimRequestError, match="unable to find user nobody-here: no matching entries in passwd file"):
        await box.exec("id", user="nobody-here")


async def test_terminal(world: World) -> None:
    box = await idle(world)
    code, text = await box.exec("sh", "-c", "tty; stty size", tty=True, size=(20, 70))
    assert (code, text) == (0, "/dev/pts/0\r\n20 70\r\n")


async def test_detached(world: World) -> None:
    box = await idle(world)
    request = msgspec.structs.replace(world.requests[box.id], args=["sh", "-c", "ls -l /proc/self/fd > /x; exit 6"])
    await box.client.exec("d1", runtime_spec.process(request))
    assert (await box.event("exec_exited", exec_id="d1"))["code"] == 6
    _, text = await box.exec("cat", "/x")
    assert text.count("/dev/null") == 2  # stdout went to the file


async def test_signal(world: World) -> None:
    box = await idle(world)
    running = asyncio.create_task(box.exec("sleep", "50"))
    await asyncio.sleep(0.1)
    exec_id = None
    request = msgspec.structs.replace(world.requests[box.id], args=["sleep", "50"])
    exec_id = "s1"
    await box.client.exec(exec_id, runtime_spec.process(request))
    await box.client.exec_signal(exec_id, signal.SIGTERM)
    assert (await box.event("exec_exited", exec_id=exec_id))["signal"] == 15
    await box.client.signal(signal.SIGKILL)
    assert (await running)[0] == 137
    await box.wait()


async def test_not_found_and_not_running(world: World) -> None:
    box = await idle(world)
    with pytest.raises(ShimRequestError, match="OCI runtime exec failed: exec failed") as caught:
        await box.exec("nope")
    assert (caught.value.step, caught.value.errno) == ("exec", 2)
    assert 'exec: "nope": executable file not found in $PATH' in str(caught.value)
    with pytest.raises(ShimRequestError, match=r"chdir to cwd \(.*no such file or directory"):
        await box.exec("true", cwd="/not/there")
    await box.client.freeze()
    with pytest.raises(ShimRequestError, match="is paused"):
        await box.exec("true")
    await box.client.thaw()


async def test_container_end_ends_execs(world: World) -> None:
    box = await world.box("sleep", "0.3").start()
    code, _ = await box.exec("sleep", "100")
    assert code == 137
    assert (await box.wait()).code == 0


async def test_background_child_does_not_hold_the_exec(world: World) -> None:
    box = await idle(world)
    async with asyncio.timeout(60):
        assert await box.exec("sh", "-c", "sleep 100 & echo done") == (0, "done\n")
