"""Mounts, namespaces, devices, limits and networks of a container."""

import asyncio
import os
import secrets
import socket
from pathlib import Path

import pytest
from tests.integration.runtime.conftest import World, until

from rundlet.linux import mount
from rundlet.linux.cgroup import Cgroup, detect
from rundlet.linux.netlink import Netlink
from rundlet.runtime import spec as runtime_spec
from rundlet.runtime.shimclient import ShimRequestError
from rundlet.runtime.spec import HOST, DeviceRequest, Limits, Namespace, Rlimit, SpecRequest

pytestmark = pytest.mark.root


def bind(source: Path | str, destination: str, *options: str) -> dict[str, object]:
    return {
        "type": "bind",
        "source": str(source),
        "destination": destination,
        "options": ["rbind", *(options or ("rprivate",))],
    }


async def test_binds(world: World) -> None:
    data = world.base / "data"
    (data / "sub").mkdir(parents=True)
    (data / "file").write_text("hello\n")
    box = world.box(
        "sh",
        "-c",
        "cat /in/rw/file /single; echo new > /in/rw/made; echo no > /in/ro/made; ls /in/ro; grep in/r /proc/mounts",
        mounts=[
            bind(data, "/in/rw"),
            bind(data, "/in/ro", "rprivate", "rro"),
            bind(data / "file", "/single", "rprivate", "ro"),
        ],
    )
    _, log = await box.run()
    assert box.log("stdout").startswith("hello\nhello\nfile\nmade\nsub\n")
    assert "Read-only file system" in box.log("stderr")
    assert (data / "made").read_text() == "new\n"
    assert "/in/ro ext" not in log or " ro," in log


async def test_missing_source_is_an_error(world: World) -> None:
    with pytest.raises(ShimRequestError, match="/no/such/thing"):
        await world.box("true", mounts=[bind("/no/such/thing", "/x")]).start()


async def test_shared_propagation_reaches_the_host(world: World) -> None:
    place = world.base / "shared"
    place.mkdir()
    mount.mount(str(place), str(place), None, mount.MS_BIND)
    try:
        mount.set_propagation(str(place), mount.MS_SHARED)
        (place / "inner").mkdir()
        box = await world.box(
            "sh",
            "-c",
            "mount -t tmpfs t /s/inner && touch /s/inner/seen; sleep 100",
            mounts=[bind(place, "/s", "rshared")],
            cap_add=["SYS_ADMIN"],
        ).start()
        for _ in range(100):
            if (place / "inner/seen").exists():
                break
            await asyncio.sleep(0.02)
        assert (place / "inner/seen").exists()
        await box.client.signal(9)
        await box.wait()
        mount.umount(str(place / "inner"), mount.MNT_DETACH)
    finally:
        mount.umount(str(place), mount.MNT_DETACH)


async def test_tmpfs_and_shm(world: World) -> None:
    box = world.box(
        "sh",
        "-c",
        "grep -E ' (/t|/dev/shm) ' /proc/mounts; stat -c %a /t /dev/shm",
        shm_size=1 << 20,
        mounts=[
            {"type": "tmpfs", "source": "tmpfs", "destination": "/t", "options": ["noexec", "size=65536", "mode=1770"]}
        ],
    )
    code, log = await box.run()
    assert code == 0
    assert "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k" in log
    assert "tmpfs /t tmpfs rw,noexec,relatime,size=64k,mode=1770" in log
    assert log.endswith("1770\n1777\n")


async def test_namespaces_of_the_host_and_of_another(world: World) -> None:
    kinds = ("pid", "ipc", "uts", "cgroup")
    script = "for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done"
    _, log = await world.box("sh", "-c", script, namespaces=dict.fromkeys(kinds, HOST)).run()
    assert log.splitlines() == [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    first = await world.box("sh", "-c", "echo shared > /dev/shm/x; sleep 100").start()
    joined = {kind: Namespace(f"/proc/{first.pid}/ns/{kind}") for kind in ("pid", "ipc", "uts")}
    second = world.box("sh", "-c", f"{script}; cat /dev/shm/x; ps", namespaces=joined)
    second.spec["net"] = {"mode": "join", "join": f"/proc/{first.pid}/ns/net"}
    code, log = await second.run()
    lines = log.splitlines()
    assert code == 0
    assert lines[:3] == [os.readlink(f"/proc/{first.pid}/ns/{kind}") for kind in ("pid", "ipc", "uts")]
    assert "shared" in lines
    assert "sleep 100" in log
    assert first.pid
    assert await first.exec("true") == (0, "")


async def test_background_process_in_the_hosts_pid_namespace_is_killed(world: World) -> None:
    box = world.box("sh", "-c", "sleep 1234 & echo $!", namespaces={"pid": HOST})
    _, log = await box.run()
    assert not Path(f"/proc/{log.strip()}").exists()


async def test_devices(world: World) -> None:
    script = "mknod /n c 1 3 && echo x > /n && echo null; mknod /k c 1 11 && cat /k; ls -l /dev/mine"
    box = world.box("sh", "-c", script, devices=[DeviceRequest("/dev/zero", "/dev/mine", "r")])
    await box.run()
    assert "null\n" in box.log("stdout")
    assert "Operation not permitted" in box.log("stderr")
    assert "1,   5" in box.log("stdout")


async def test_limits(world: World) -> None:
    box = await world.box(
        "sleep",
        "100",
        limits=Limits(memory=32 << 20, pids=7, nano_cpus=500_000_000, cpu_shares=512),
        rlimits=[Rlimit("nofile", 77, 88)],
        sysctls={"net.ipv4.ip_forward": "1", "kernel.msgmax": "1234"},
    ).start()
    values = "/proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    script = f"ulimit -n; cat {values}; for i in 1 2 3 4 5 6 7 8; do sleep 1 & done"
    _, text = await box.exec("sh", "-c", script)
    assert text.startswith("77\n1\n1234\n")
    assert "can't fork" in text
    group = Cgroup(box.spec["cgroup"]["path"], detect())
    directory = group.directory("memory")
    assert directory
    names = ("memory.limit_in_bytes", "memory.max")
    found = [Path(directory, name).read_text().strip() for name in names if Path(directory, name).exists()]
    assert found == [str(32 << 20)]
    await box.client.update({"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    found = [Path(directory, name).read_text().strip() for name in names if Path(directory, name).exists()]
    assert found == [str(64 << 20)]


async def test_read_only_root(world: World) -> None:
    box = world.box("sh", "-c", "touch /x; touch /dev/shm/x /dev/x && echo ok", read_only=True)
    await box.run()
    assert box.log("stdout") == "ok\n"
    assert "/x: Read-only file system" in box.log("stderr")


async def test_bridge(world: World) -> None:
    token = secrets.token_hex(3)
    bridge, host_name = f"rb{token}", f"rv{token}"
    with Netlink() as netlink:
        netlink.create_bridge(bridge)
        try:
            netlink.configure(bridge, ["10.231.7.1/24"])
            box = world.box("sh", "-c", "ip addr; ip route; ping -c 1 10.231.7.1 || cat /proc/net/dev; sleep 100")
            box.spec["net"] = {
                "mode": "new",
                "links": [
                    {
                        "bridge": bridge,
                        "host_name": host_name,
                        "name": "eth0",
                        "mac": "02:42:0a:e7:07:02",
                        "mtu": 1400,
                        "addresses": ["10.231.7.2/24"],
                        "isolated": False,
                    }
                ],
                "routes": [{"dst": "0.0.0.0/0", "gateway": "10.231.7.1"}],
                "sysctls": {"net.ipv4.conf.eth0.rp_filter": "0"},
            }
            await box.start()
            assert netlink.link(host_name)
            server = "echo hi | nc -l -p 7000"
            request = SpecRequest(args=["sh", "-c", server], env=["PATH=/bin"])
            await box.client.exec("nc", runtime_spec.process(request))
            listening = Path(f"/proc/{box.pid}/net/tcp6"), Path(f"/proc/{box.pid}/net/tcp")
            await until(lambda: any(":1B58 " in path.read_text() for path in listening))
            with socket.create_connection(("10.231.7.2", 7000), timeout=60) as connection:
                assert connection.recv(10) == b"hi\n"
            await box.client.signal(9)
            await box.wait()
            assert netlink.link(host_name) is None
        finally:
            netlink.delete_link(bridge)
