"""Further processes in running containers: created, started once, remembered for a while after their end."""

import asyncio
import signal
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rundlet.api.exec import ExecCreate, ExecCreated, ExecInspect, ExecStart, ProcessConfig, Size
from rundlet.api.stdcopy import Splitter
from rundlet.api.streams import Attachment
from rundlet.container.errors import NotRunningError, PausedError
from rundlet.container.record import Record
from rundlet.container.state import Status, is_running
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.bundle import BundleMaker
from rundlet.engine.containers.failures import CANNOT_EXECUTE, OTHER, StartFailedError, start_error
from rundlet.engine.context import Context
from rundlet.errors import ConflictError, InvalidParameterError, NotFoundError
from rundlet.runtime.shimclient import ShimClient, ShimRequestError
from rundlet.util import ids

KEPT_AFTER_END = 300.0
_RELATIVE = "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown"


class NoSuchExecError(NotFoundError):
    reason = "no-such-exec"

    def __init__(self, exec_id: str) -> None:
        super().__init__(f"No such exec instance: {exec_id}")


@dataclass(slots=True)
class Exec:
    """``code`` is None until it ended. ``started`` stays true after the end: an exec runs once."""

    id: str
    container_id: str
    request: ExecCreate
    started: bool = False
    running: bool = False
    code: int | None = None
    pid: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)


class ExecService:
    """Implements the exec router's backend."""

    def __init__(self, context: Context, bundles: BundleMaker) -> None:
        self._context = context
        self._bundles = bundles
        self._execs: dict[str, Exec] = {}

    async def create(self, ref: str, body: ExecCreate) -> ExecCreated:
        record = self._context.containers.find(ref)
        await self._context.live.started(record.id)
        record = self._context.containers.find(ref)
        self._check_running(record, ref)
        if not body.cmd:
            raise InvalidParameterError("No exec command specified")
        item = Exec(ids.new_id(), record.id, body)
        self._execs[item.id] = item
        self._publish(record, _named("exec_create", body.cmd), item)
        return ExecCreated(id=item.id)

    async def check_start(self, exec_id: str) -> None:
        """Whether it may be started; raises what the start would."""
        self._check_startable(self._get(exec_id))

    async def start(self, exec_id: str, body: ExecStart) -> Attachment:
        """Start with the streams attached."""
        item = self._get(exec_id)
        ours, theirs = socket.socketpair()
        try:
            await self._start(item, body, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        record = self._context.containers.by_id(item.container_id)

        def detached() -> None:
            self._publish(record, "exec_detach", item)

        wanted = item.request
        return Attachment(
            tty=wanted.tty, socket=ours, detach_keys=wanted.detach_keys, settled=item.over.wait, on_detach=detached
        )

    async def run(self, record: Record, wanted: ExecCreate, seconds: float, limit: int) -> tuple[int | None, bytes]:
        """Run a command for at most ``seconds``; its exit code (None: killed) and the first ``limit`` bytes of output.

        Raises NotRunningError, PausedError, StartFailedError.
        """
        created = await self.create(record.id, wanted)
        item = self._get(created.id)
        attachment = await self.start(item.id, ExecStart())
        assert attachment.socket is not None
        output = _Output(limit)
        try:
            async with asyncio.timeout(seconds):
                await output.read(attachment.socket)
                await item.over.wait()
        except TimeoutError:
            shim = self._context.live.of(record.id).shim
            if shim is not None and item.running:
                await shim.exec_signal(item.id, signal.SIGKILL)
            return None, output.data()
        finally:
            attachment.socket.close()
            self._execs.pop(item.id, None)
        return item.code, output.data()

    async def start_detached(self, exec_id: str, body: ExecStart) -> None:
        await self._start(self._get(exec_id), body, None)

    async def _start(self, item: Exec, body: ExecStart, stdio: socket.socket | None) -> None:
        record, shim = self._check_startable(item)
        wanted = item.request
        item.started = True
        size = body.console_size or wanted.console_size
        if wanted.working_dir and not wanted.working_dir.startswith("/"):
            item.code = CANNOT_EXECUTE
            raise StartFailedError(_RELATIVE, CANNOT_EXECUTE)
        self._publish(record, _named("exec_start", wanted.cmd or ()), item)
        try:
            item.running = True
            item.pid = await shim.exec(
                item.id,
                self._bundles.exec_process(record, wanted),
                stdio,
                tty=wanted.tty,
                stdin=wanted.attach_stdin,
                size=size or (0, 0),
                user=wanted.user or None,
                privileged=wanted.privileged,
            )
        except ShimRequestError as error:
            item.running = False
            failure = start_error(error)
            # A container that can't start has 128 for what is neither 126 nor 127, an exec 126.
            item.code = CANNOT_EXECUTE if failure.exit_code == OTHER else failure.exit_code
            raise failure from error
        except BaseException:
            item.running = False
            raise

    async def inspect(self, exec_id: str) -> ExecInspect:
        item = self._get(exec_id)
        wanted = item.request
        words = wanted.cmd or ("",)
        return ExecInspect(
            id=item.id,
            running=item.running,
            exit_code=item.code,
            process_config=ProcessConfig(
                tty=wanted.tty,
                entrypoint=words[0],
                arguments=tuple(words[1:]),
                privileged=wanted.privileged,
                user=wanted.user,
            ),
            open_stdin=wanted.attach_stdin,
            open_stderr=wanted.attach_stderr,
            open_stdout=wanted.attach_stdout,
            can_remove=False,
            container_id=item.container_id,
            detach_keys=wanted.detach_keys,
            pid=item.pid,
        )

    async def resize(self, exec_id: str, size: Size) -> None:
        item = self._get(exec_id)
        shim = self._context.live.of(item.container_id).shim
        if shim is None or not item.running:
            raise NotRunningError(item.container_id)
        await shim.exec_resize(item.id, size.height, size.width)

    def of_container(self, container_id: str) -> list[str]:
        """IDs of the execs that run in a container."""
        return [item.id for item in self._execs.values() if item.container_id == container_id and item.running]

    def ended(self, exec_id: str, code: int) -> None:
        """The shim reports an end."""
        item = self._execs.get(exec_id)
        if item is None or not item.running:
            return
        item.running = False
        item.code = code
        item.over.set()
        if self._context.containers.has(item.container_id):
            record = self._context.containers.by_id(item.container_id)
            self._publish(record, "exec_die", item, exitCode=str(code))
        asyncio.get_running_loop().call_later(KEPT_AFTER_END, self._execs.pop, exec_id, None)

    def drop(self, container_id: str, *, keep: Collection[str] | None = None) -> None:
        """The container ended, and everything in it; or, with ``keep``, all that ran in it but those."""
        for item in list(self._execs.values()):
            if item.container_id != container_id or (keep is not None and item.id in keep):
                continue
            if item.running:
                self.ended(item.id, 137)
            elif (
                keep is None and not item.started
            ):  # it was meant for the processes of then, not for those of a next start
                del self._execs[item.id]

    def _get(self, exec_id: str) -> Exec:
        item = self._execs.get(exec_id)
        if item is None or not self._context.containers.has(item.container_id):
            raise NoSuchExecError(exec_id)
        return item

    def _check_startable(self, item: Exec) -> tuple[Record, ShimClient]:
        if item.started:
            if item.running:
                raise ConflictError(f"exec command {item.id} is already running")
            raise ConflictError(f"exec command {item.id} has already run")
        record = self._context.containers.find(item.container_id)
        return record, self._check_running(record, record.id)

    def _check_running(self, record: Record, reference: str) -> ShimClient:
        shim = self._context.live.of(record.id).shim
        if record.state.status is Status.PAUSED:
            raise PausedError(reference)
        if not is_running(record.state.status) or shim is None:
            raise NotRunningError(record.id)
        return shim

    def _publish(self, record: Record, action: str, item: Exec, **more: str) -> None:
        attributes = {**event_attributes(record), "execID": item.id, **more}
        self._context.events.publish("container", action, record.id, attributes)


class _Output:
    """Both output streams of a command, the first ``limit`` bytes; the rest is read and dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()

    async def read(self, stream: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        stream.setblocking(False)
        splitter = Splitter()
        while data := await loop.sock_recv(stream, 1 << 16):
            for _number, payload in splitter.feed(data):
                self._kept += payload[: max(0, self._limit - len(self._kept))]

    def data(self) -> bytes:
        return bytes(self._kept)


def _named(action: str, words: Sequence[str]) -> str:
    """``exec_create: COMMAND ARGUMENTS``; a command without arguments has the space behind it, too."""
    return f"{action}: {words[0]} {' '.join(words[1:])}" if words else f"{action}: "
