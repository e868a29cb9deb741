"""Containers straight on the runtime: launcher, shim and init, without an engine. Each test leaves nothing behind."""

import asyncio
import os
import secrets
import shutil
import socket
import struct
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import leaks

from rundlet.linux.cgroup import detect, remove_if_empty
from rundlet.linux.seccomp import compiler
from rundlet.runtime import spec as runtime_spec
from rundlet.runtime.launch import Launcher
from rundlet.runtime.shimclient import ShimClient
from rundlet.runtime.spec import SpecRequest
from rundlet.runtime.state import ExitRecord, read_exit
from rundlet.util.layout import Layout

SECONDS = 60.0


async def until(condition: Callable[[], object]) -> None:
    """Polls: for what happens a moment later in another process."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


class Box:
    """One container. ``start`` runs it; ``output`` is what an attached client got."""

    def __init__(self, world: "World", spec: dict[str, Any]) -> None:
        self.world = world
        self.spec = spec
        self.id: str = spec["id"]
        self.directory = Path(spec["dir"])
        self.client: ShimClient
        self.shim_pid = 0
        self.pid = 0
        self.events: list[dict[str, Any]] = []
        self.stream: socket.socket | None = None
        self._pump: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def start(self, *, attach: bool = False, stdin: bool = False, detach_keys: bytes = b"") -> "Box":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.client = ShimClient(ours)
        with theirs:
            self.shim_pid = await self.world.launcher.shim(self.id, msgspec.json.encode(self.spec), theirs)
        self._pump = asyncio.create_task(self._watch())
        if attach:
            self.stream = await self.attach(stdin=stdin, detach_keys=detach_keys)
        started = await asyncio.wait_for(self.client.start(), SECONDS)
        self.pid = started["pid"]
        return self

    async def attach(self, *, stdin: bool = False, detach_keys: bytes = b"") -> socket.socket:
        near, far = socket.socketpair()
        with far:
            await self.client.attach(far, stdin=stdin, stdout=True, stderr=True, detach_keys=detach_keys)
        near.setblocking(False)
        return near

    async def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            while True:
                for event in self.events:
                    if event["event"] == name and wanted.items() <= event.items():
                        return event
                self._changed.clear()
                await self._changed.wait()

    async def wait(self) -> ExitRecord:
        """Until the shim has gone."""
        await asyncio.wait_for(self.client.wait_closed(), SECONDS)
        record = read_exit(self.spec["exit_record"])
        assert record is not None
        return record

    async def run(self) -> tuple[int, str]:
        """Start, wait: exit code and the log's text."""
        await self.start()
        record = await self.wait()
        return record.code, self.log()

    def log(self, stream: str | None = None) -> str:
        whole, _, _ = Path(self.spec["log"]["path"]).read_bytes().rpartition(b"\n")  # a line may be half written
        lines = [msgspec.json.decode(line) for line in whole.splitlines()]
        return "".join(line["log"] for line in lines if stream in (None, line["stream"]))

    async def exec(self, *args: str, tty: bool = False, stdin: bytes | None = None, **options: Any) -> tuple[int, str]:
        """Run a command inside; exit code and output."""
        exec_id = secrets.token_hex(8)
        near, far = socket.socketpair()
        near.setblocking(False)
        request = msgspec.structs.replace(
            self.world.requests[self.id], args=list(args), tty=tty, cwd=options.pop("cwd", "/")
        )
        try:
            with far:
                await self.client.exec(
                    exec_id, runtime_spec.process(request), far, stdin=stdin is not None, tty=tty, **options
                )
        except BaseException:
            near.close()
            raise
        loop = asyncio.get_running_loop()
        if stdin is not None:
            await loop.sock_sendall(near, stdin)
            near.shutdown(socket.SHUT_WR)
        data = await read_all(near)
        ended = await self.event("exec_exited", exec_id=exec_id)
        return ended["code"], (data if tty else b"".join(body for _, body in frames(data))).decode()

    async def _watch(self) -> None:
        async for event in self.client.events():
            self.events.append(event)
            self._changed.set()

    async def close(self) -> None:
        if hasattr(self, "client"):
            if Path(f"/proc/{self.shim_pid}").exists():
                try:
                    if self.client._closed.done():
                        self.client = await ShimClient.connect(self.spec["socket"])
                    await self.client.signal(9)
                except Exception:  # it may be gone, or never have been started
                    pass
                await asyncio.wait_for(self.client.wait_closed(), SECONDS)
            self.client.close()
        if self._pump:
            await self._pump
        if self.stream:
            self.stream.close()


class World:
    """A launcher, a place for files, and the means to make containers."""

    def __init__(self, base: Path, layout: Layout, launcher: Launcher, rootfs: Path) -> None:
        self.base = base
        self.layout = layout
        self.launcher = launcher
        self.rootfs = rootfs
        self.requests: dict[str, SpecRequest] = {}
        self.boxes: list[Box] = []

    def box(self, *args: str, rootfs: Path | None = None, **options: Any) -> Box:
        """A container with the default rights. Options: those of SpecRequest, and of the shim's spec (``shim_…``)."""
        identifier = secrets.token_hex(32)
        directory = Path(self.layout.container(identifier))
        for name in ("upper", "work", "merged"):
            (directory / name).mkdir(parents=True)
        own = {key[5:]: options.pop(key) for key in list(options) if key.startswith("shim_")}
        request = SpecRequest(
            **{"args": list(args), "hostname": identifier[:12], "env": ["PATH=/bin"], "tty": False} | options
        )
        self.requests[identifier] = request
        names = frozenset(runtime_spec.capability_names(request))
        program = directory / "seccomp.bpf"
        program.write_bytes(compiler.compile_profile(names))
        empty = self.base / "empty"
        empty.mkdir(exist_ok=True)
        spec = {
            "version": 1,
            "id": identifier,
            "name": identifier[:8],
            "instance": self.layout.instance,
            "dir": str(directory),
            "socket": self.layout.shim_socket(identifier),
            "oci": runtime_spec.build(request),
            "user": "",
            "groups": [],
            "rootfs": {
                "lower": [str(rootfs or self.rootfs), str(empty)],
                "upper": f"{directory}/upper",
                "work": f"{directory}/work",
                "merged": f"{directory}/merged",
            },
            "stdio": {"tty": request.tty, "open_stdin": False, "stdin_once": False, "size": [24, 80]},
            "log": {"driver": "json-file", "path": f"{directory}/log.json", "max_size": 0, "max_file": 1},
            "net": {"mode": "none"},
            "cgroup": {
                "path": f"/rundlet-{self.layout.instance}/{identifier}",
                "strict": request.limits.controllers(),
            },
            "seccomp": None if request.privileged else str(program),
            "init": False,
            "restart": {"policy": "no", "max": 0},
            "runtime": {"path": None},
            "exit_record": f"{directory}/exit",
        }
        for key, value in own.items():
            spec[key] = spec[key] | value if isinstance(spec.get(key), dict) and isinstance(value, dict) else value
        box = Box(self, spec)
        self.boxes.append(box)
        return box


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The pieces of a framed stream: (1 stdout or 2 stderr, bytes)."""
    found = []
    while data:
        stream, size = struct.unpack(">BxxxL", data[:8])
        found.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return found


async def read_all(sock: socket.socket) -> bytes:
    data = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS):
        while piece := await loop.sock_recv(sock, 65536):
            data += piece
    sock.close()
    return data


@pytest.fixture(scope="session")
def busybox_root(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The busybox image, unpacked."""
    root = tmp_path_factory.mktemp("busybox")
    root.chmod(0o755)
    with tarfile.open(busybox_tar) as archive:
        # Python 3.11.2, Debian 12's, has no filters yet; later ones want to be told.
        filters = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        archive.extractall(root, **filters)  # type: ignore[arg-type]
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:a:/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nalice:x:1000:\nwheel:x:10:alice\naudio:x:29:\n")
    yield root
    shutil.rmtree(root)


@pytest.fixture
async def world(busybox_root: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = Path("/tmp", f"rundlet-test-{secrets.token_hex(4)}")
    layout = Layout(f"{base}/root", f"{base}/run")
    for path, mode in layout.directories():
        Path(path).mkdir(mode=mode, parents=True)
    fds = len(os.listdir("/proc/self/fd"))
    launcher = await Launcher.start(layout)
    world = World(base, layout, launcher, busybox_root)
    try:
        yield world
    finally:
        for box in world.boxes:
            await box.close()
        launcher.bye()
    log = Path(layout.run, "launcher.log").read_text()
    remove_if_empty(f"/rundlet-{layout.instance}", detect())
    left = leaks.with_marks((layout.instance, str(base)))
    shutil.rmtree(base)
    assert not log, log
    assert not left, "\n".join(left)
    assert len(os.listdir("/proc/self/fd")) <= fds, os.listdir("/proc/self/fd")
