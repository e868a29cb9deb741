"""A container from start to exit record."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.integration.runtime.conftest import World, frames, read_all, until

from rundlet.runtime.shimclient import ShimRequestError
from rundlet.runtime.spec import Limits

pytestmark = pytest.mark.root


async def test_output_and_code(world: World) -> None:
    box = world.box("sh", "-c", "echo out; echo err >&2; exit 3")
    code, _ = await box.run()
    assert code == 3
    assert box.log("stdout") == "out\n"
    assert box.log("stderr") == "err\n"
    exited = await box.event("exited")
    assert (exited["code"], exited["signal"], exited["oom"]) == (3, None, False)


async def test_killed_by_a_signal(world: World) -> None:
    box = await world.box("sleep", "100").start()
    await box.client.signal(signal.SIGKILL)
    record = await box.wait()
    assert (record.code, record.signal) == (137, 9)
    assert 0 < record.started_ns <= record.finished_ns


async def test_fast_exits_lose_nothing(world: World) -> None:
    for _ in range(5):
        box = world.box("sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")
        _, log = await box.run()
        assert log == "".join(f"line {number}\n" for number in range(2000))


async def test_background_children_die_with_init(world: World) -> None:
    box = world.box("sh", "-c", "sleep 1000 & echo started")
    code, log = await box.run()
    assert (code, log) == (0, "started\n")


@pytest.mark.parametrize(
    ("args", "errno", "words"),
    [
        (("nope",), 2, 'exec: "nope": executable file not found in $PATH'),
        (("/nope",), 2, 'exec: "/nope": stat /nope: no such file or directory'),
        (("/etc/passwd",), 13, 'exec: "/etc/passwd": permission denied'),
        (("/etc",), 21, 'exec: "/etc": is a directory'),
    ],
)
async def test_what_cannot_be_executed(world: World, args: tuple[str, ...], errno: int, words: str) -> None:
    box = world.box(*args)
    with pytest.raises(ShimRequestError, match="unable to start container process") as caught:
        await box.start()
    assert (caught.value.step, caught.value.errno) == ("exec", errno)
    assert words in str(caught.value)
    record = await box.wait()
    assert record.error == str(caught.value)


async def test_exec_format_error(world: World) -> None:
    box = world.box("/bad")
    Path(box.spec["rootfs"]["upper"], "bad").write_bytes(b"\x7fELFnonsense")
    Path(box.spec["rootfs"]["upper"], "bad").chmod(0o755)
    with pytest.raises(ShimRequestError, match="exec /bad: exec format error"):
        await box.start()


async def test_attached_client_gets_framed_output(world: World) -> None:
    box = await world.box("sh", "-c", "echo out; sleep 0.05; echo err >&2").start(attach=True)
    assert box.stream
    assert frames(await read_all(box.stream)) == [(1, b"out\n"), (2, b"err\n")]
    await box.wait()


async def test_stdin_once(world: World) -> None:
    box = world.box("cat", shim_stdio={"open_stdin": True, "stdin_once": True})
    await box.start(attach=True, stdin=True)
    assert box.stream
    text = b"x" * 300_000
    loop = asyncio.get_running_loop()
    sending = asyncio.create_task(loop.sock_sendall(box.stream, text))
    got = b""
    while len(got) < len(text):
        data = await loop.sock_recv(box.stream, 65536)
        got += data
        if len(got) > len(text) + 8:
            break
    await sending
    box.stream.shutdown(1)
    got += await read_all(box.stream)
    box.stream = None
    assert b"".join(body for _, body in frames(got)) == text
    assert (await box.wait()).code == 0


async def test_open_stdin_without_a_client_stays_open(world: World) -> None:
    box = await world.box("sh", "-c", "read line; echo got $line", shim_stdio={"open_stdin": True}).start()
    await asyncio.sleep(0.2)
    stream = await box.attach(stdin=True)
    await asyncio.get_running_loop().sock_sendall(stream, b"late\n")
    await box.wait()
    assert box.log() == "got late\n"
    stream.close()


async def test_slow_client_loses_nothing_and_neither_does_the_log(world: World) -> None:
    box = await world.box("sh", "-c", "head -c 6000000 /dev/zero | tr '\\0' x; echo; echo end").start(attach=True)
    await asyncio.sleep(0.5)  # the client is not reading: the process must wait, not the log forget
    assert box.stream
    data = b"".join(body for _, body in frames(await read_all(box.stream)))
    box.stream = None
    assert (data.count(b"x"), data[-5:], len(data)) == (6_000_000, b"\nend\n", 6_000_005)
    await box.wait()
    same = box.log() == data.decode()  # not in the assertion: its words would be megabytes
    assert same


async def test_vanished_client_stops_nothing(world: World) -> None:
    box = await world.box("sh", "-c", "sleep 0.2; head -c 3000000 /dev/zero | tr '\\0' x; echo end").start(attach=True)
    assert box.stream
    box.stream.close()
    box.stream = None
    await box.wait()
    assert len(box.log()) == 3_000_004


async def test_terminal(world: World) -> None:
    box = world.box("sh", "-c", "tty; stty size; ls -l /dev/console; read x; stty size", tty=True)
    box.spec["stdio"] |= {"size": [33, 101], "open_stdin": True}
    await box.start(attach=True, stdin=True)
    assert box.stream
    loop = asyncio.get_running_loop()
    text = b""
    while b"console" not in text:
        text += await loop.sock_recv(box.stream, 4096)
    assert b"/dev/pts/0\r\n33 101\r\n" in text
    await box.client.resize(50, 120)
    await loop.sock_sendall(box.stream, b"\n")
    text += await read_all(box.stream)
    box.stream = None
    assert text.endswith(b"50 120\r\n")
    assert (await box.wait()).code == 0


async def test_detach_keys(world: World) -> None:
    box = world.box("sh", "-c", "read x; echo $x", tty=True, shim_stdio={"open_stdin": True})
    await box.start(attach=True, stdin=True, detach_keys=b"\x10\x11")
    assert box.stream
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(box.stream, b"he\x10")
    await loop.sock_sendall(box.stream, b"\x11")
    await box.event("detached")
    await read_all(box.stream)
    box.stream = await box.attach(stdin=True)
    await loop.sock_sendall(box.stream, b"llo\n")
    await box.wait()
    assert "hello" in box.log()


async def test_interrupt_by_the_terminal(world: World) -> None:
    box = world.box("sh", "-c", "trap 'echo caught; exit 5' INT; echo go; while :; do sleep 0.05; done", tty=True)
    box.spec["stdio"]["open_stdin"] = True
    await box.start(attach=True, stdin=True)
    assert box.stream
    loop = asyncio.get_running_loop()
    text = b""
    while b"go" not in text:
        text += await loop.sock_recv(box.stream, 4096)
    await loop.sock_sendall(box.stream, b"\x03")
    assert (await box.wait()).code == 5


async def test_users(world: World) -> None:
    for user, groups, expected in (
        ("", [], "0 0"),
        ("alice", [], "1000 1000 10"),
        ("alice:audio", [], "1000 29"),
        ("1234", ["audio"], "1234 0 29"),
        ("1234:77", [], "1234 77"),
    ):
        box = world.box(
            "sh", "-c", "echo $(id -u) $(id -G); echo $HOME; cat /proc/self/status", shim_user=user, shim_groups=groups
        )
        code, log = await box.run()
        lines = log.splitlines()
        found = [int(number) for number in lines[0].split()]
        wanted = [int(number) for number in expected.split()]
        assert (code, found[:2], set(found[2:]) | {found[1]}) == (0, wanted[:2], set(wanted[1:])), (user, lines[0])
        assert lines[1] == {"": "/root", "alice": "/home/alice", "alice:audio": "/home/alice"}.get(user, "/")


async def test_unknown_user(world: World) -> None:
    with pytest.raises(ShimRequestError, match="unable to find user carol: no matching entries in passwd file"):
        await world.box("true", shim_user="carol").start()


async def test_init_reaps_forwards_and_passes_the_code_on(world: World) -> None:
    script = "trap 'echo term; exit 7' TERM; (sleep 0.01 & ) ; echo go; while :; do sleep 0.05; done"
    box = await world.box("sh", "-c", script, shim_init=True).start()
    orphan = "sleep 0.01"  # in brackets once it is a zombie
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        code, text = await box.exec("ps")
        assert code == 0
        assert "rundlet-init" in text
        if not (f" {orphan}\n" in text or "[sleep]" in text):
            break
        assert asyncio.get_running_loop().time() < deadline, text
    await box.client.signal(signal.SIGTERM)
    assert (await box.wait()).code == 7


async def test_oom_is_noticed(world: World) -> None:
    box = world.box(
        "sh",
        "-c",
        "x=$(head -c 100000000 /dev/zero | tr '\\0' x)",
        limits=Limits(memory=12 << 20, memory_swap=12 << 20),
    )
    await box.start()
    record = await box.wait()
    assert record.oom
    assert record.code != 0


async def test_working_directory_is_made(world: World) -> None:
    code, log = await world.box("pwd", cwd="/a/b/c").run()
    assert (code, log) == (0, "/a/b/c\n")


async def test_pause(world: World) -> None:
    box = await world.box("sh", "-c", "while :; do echo tick; sleep 0.01; done").start()
    await until(box.log)
    await box.client.freeze()
    await asyncio.sleep(0.05)
    assert (await box.client.hello())["status"] == "paused"
    before = len(box.log())
    await asyncio.sleep(0.1)
    assert len(box.log()) == before
    await box.client.thaw()
    await until(lambda: len(box.log()) > before)
    await box.client.freeze()
    await box.client.signal(9)
    assert (await box.wait()).code == 137


async def test_container_dies_with_its_shim(world: World) -> None:
    box = await world.box("sleep", "1000").start()
    process = os.pidfd_open(box.pid)
    os.kill(box.shim_pid, signal.SIGKILL)
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    loop.add_reader(process, lambda: gone.done() or gone.set_result(None))
    await asyncio.wait_for(gone, 60)
    loop.remove_reader(process)
    os.close(process)
    from rundlet.linux.cgroup import Cgroup, detect

    cgroup = Cgroup(box.spec["cgroup"]["path"], detect())
    await until(lambda: not cgroup.populated())
    cgroup.remove()
