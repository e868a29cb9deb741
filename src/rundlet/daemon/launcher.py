"""The launcher's main: a small process of one thread that forks shims and workers for the engine.

It is started by ``posix_spawn`` as a fresh ``python -I -S``, before the engine holds anything worth hiding, and imports
nothing but what its children run. Identifiers and descriptors are all it ever receives: a child reads its own spec, so
that one container's secrets never reach the heap that the next child is forked from.

Stages: (1) the engine's interpreter path is cloned read-only and executed again from that clone (CVE-2019-5736);
(2) warm-up: modules, process attributes, then nothing can be imported any more (an import after a change of root would
run the *image's* Python as the host's root), gc frozen; (3) serve until the engine says goodbye and the last child is
gone. An engine that dies unasked is started again, with a new connection, after a back-off.
"""

import errno
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, NoReturn

from rundlet.daemon import placement
from rundlet.daemon.workers import WORKERS
from rundlet.linux import caps, clean, libc, mount, pidfd
from rundlet.runtime import protocol
from rundlet.runtime.logger import main as logger
from rundlet.runtime.protocol import Order
from rundlet.runtime.shim import failures, rehearsal
from rundlet.runtime.shim import main as shim_main

PINNED: Final = "--pinned"
ENGINE_FD: Final = 3
LAUNCHER_FD_VARIABLE: Final = "RUNDLET_LAUNCHER_FD"
# An engine that lives this long (seconds) was started well: the next restart is immediate again.
_STEADY: Final = 60.0
_FIRST_DELAY: Final = 0.1
_LAST_DELAY: Final = 30.0
_TRIES: Final = 8
_kept: Final[list[object]] = []
# Without the enumerations of ``signal``, whose Python functions each shim would touch.
_set_handler: Final = sys.modules["_signal"].signal
_SIGCHLD: Final = int(signal.SIGCHLD)
_DEFAULT: Final = int(signal.SIG_DFL)
_RT_SIGACTION: Final = 134 if libc.MACHINE == "aarch64" else 13


def main(arguments: list[str]) -> NoReturn:
    """``[--pinned] INTERPRETER BOOTSTRAP [ENGINE ARGUMENTS…]``; the connection to the engine is descriptor 3."""
    if arguments[0] != PINNED:
        placement.leave()  # first: the session or unit that we start in may end at any moment
        _pin(arguments)
    interpreter, _bootstrap, *engine = arguments[1:]
    _warm_up()
    launcher = _Launcher(socket.socket(fileno=ENGINE_FD), interpreter, engine)
    launcher.run()
    os._exit(0)


def _pin(arguments: list[str]) -> NoReturn:
    """Start again from a clone of the interpreter that can't be written through."""
    libc.close_range(ENGINE_FD + 1)
    interpreter, bootstrap = arguments[:2]
    pinned = mount.clone_readonly(os.path.realpath(interpreter))
    argv = [interpreter, "-I", "-S", "-c", bootstrap, PINNED, *arguments]
    libc.execveat(pinned, argv, dict(os.environ))


def _warm_up() -> None:
    """Set what children inherit, and shut the door to every further import."""
    shim_main.warm_up()
    _set_attributes()
    try:
        codes = rehearsal.read_through()
    except OSError:
        codes = {}  # without a place to write, shims will be larger
    logger.remember_importers()
    caps.last_cap()  # every child needs it, and most have no /proc
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    gc.disable()
    try:
        _kept.append(rehearsal.rehearse(codes))
    except OSError:
        pass
    gc.freeze()
    _take_role()  # again: in the rehearsal it was a shim's


def _set_attributes() -> None:
    """What containers would otherwise inherit from the shell, CI job or service manager that started the engine."""
    os.setsid() if os.getsid(0) != os.getpid() else None
    os.chdir("/")
    os.umask(0o022)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
    for hidden in (32, 33):
        # libc keeps these two for itself, and posix_spawn leaves them ignored.
        libc.syscall(_RT_SIGACTION, hidden, bytes(32), 0, 8)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    _take_role()
    for attempt in (clean.attributes, clean.limits):
        try:
            attempt()
        except OSError:
            pass  # without the rights, children get what there is


def _take_role() -> None:
    libc.set_name("rundlet-launch")
    try:
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(b"0")
    except OSError:
        pass  # without the rights, children get what there is


class _Launcher:
    """The loop. ``engine`` is the command that starts an engine again; empty: never."""

    def __init__(
        self,
        connection: socket.socket,
        interpreter: str,
        engine: list[str],
    ) -> None:
        self.connection: socket.socket | None = connection
        self.interpreter = interpreter
        self.engine = engine
        self.children: dict[int, int] = {}  # process number → sequence number of the request
        self.goodbye = False
        self.engine_pid = 0
        self.engine_since = time.monotonic()
        self.restart_at: float | None = None
        self.tries = 0

    def run(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wake = (wake_read, wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        while self.connection or self.children or self.engine_pid or self.restart_at is not None:
            poll = select.poll()
            poll.register(wake_read, select.POLLIN)
            if self.connection:
                poll.register(self.connection, select.POLLIN)
            timeout = None if self.restart_at is None else max(0.0, self.restart_at - time.monotonic()) * 1000
            for fd, _ in poll.poll(timeout):
                if fd == wake_read:
                    os.read(wake_read, 4096)
                    self.reap()
                else:
                    self.serve()
            if self.restart_at is not None and time.monotonic() >= self.restart_at:
                self.start_engine()

    def serve(self) -> None:
        if self.connection is None:
            return  # it ended while an answer was sent, in this very turn of the loop
        try:
            data, fds = protocol.receive_packet(self.connection)
        except protocol.DescriptorsLostError as exc:
            self.refuse(exc.data)
            return
        except (OSError, protocol.ProtocolError):
            data, fds = b"", []
        if not data:
            self.engine_gone()
            return
        try:
            self.handle(Order.decode(data), fds)
        except protocol.ProtocolError:
            self.engine_gone()
        finally:
            protocol.close_all(fds)

    def refuse(self, data: bytes) -> None:
        """There was no room for the descriptors of an order."""
        try:
            self.reply(Order(protocol.FAILED, Order.decode(data).seq, errno.EMFILE))
        except protocol.ProtocolError:
            self.engine_gone()

    def handle(self, order: Order, fds: list[int]) -> None:
        if order.kind == protocol.HELLO:
            self.reply(Order(protocol.HELLO, order.seq, protocol.LAUNCHER_VERSION, str(os.getpid())))
        elif order.kind == protocol.BYE:
            self.goodbye = True
        elif order.kind == protocol.KILL:
            self.kill(order.value)
        elif order.kind == protocol.SHIM and len(fds) == 2:
            self.fork(order, lambda: shim_main.main(fds[0], fds[1]), fds)
        elif order.kind == protocol.WORKER and order.name in WORKERS:
            self.fork(order, lambda: WORKERS[order.name](fds), fds)
        else:
            self.reply(Order(protocol.FAILED, order.seq, errno.EINVAL))

    def fork(self, order: Order, run: Callable[[], int], fds: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as exc:
            self.reply(Order(protocol.FAILED, order.seq, exc.errno or errno.EAGAIN))
            return
        if pid == 0:
            self.become(run, fds)
        self.children[pid] = order.seq
        self.reply(Order(protocol.STARTED, order.seq, pid))

    def become(self, run: Callable[[], int], fds: list[int]) -> NoReturn:
        """In the child: let go of what is the launcher's, run, end without its clean-up."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            _set_handler(_SIGCHLD, _DEFAULT)
            if self.connection:
                self.connection.close()
            protocol.close_all(self.wake)
            status = run()
        except BaseException as exc:
            failures.report(str(os.getpid()), exc)
        finally:
            os._exit(status)

    def kill(self, pid: int) -> None:
        """Only children that were not reaped: their number can't be anybody else's."""
        if pid in self.children:
            try:
                process = pidfd.open(pid)
            except OSError:
                return
            pidfd.send_signal(process, signal.SIGKILL)
            os.close(process)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.engine_pid:
                self.engine_ended(code)
            elif pid in self.children:
                del self.children[pid]
                self.reply(Order(protocol.ENDED, 0, pid, str(code)))

    def reply(self, order: Order) -> None:
        if self.connection:
            try:
                self.connection.send(order.encode(), socket.MSG_NOSIGNAL)
            except OSError:
                self.engine_gone()

    def engine_gone(self) -> None:
        """The connection ended. The first engine is our parent and can't be waited for: this is how it ends."""
        if self.connection:
            self.connection.close()
            self.connection = None
        if self.goodbye or not self.engine or self.engine_pid:
            return  # an engine that we started is judged by its status when it is reaped
        self.schedule()

    def engine_ended(self, code: int) -> None:
        self.engine_pid = 0
        if self.connection:
            self.connection.close()
            self.connection = None
        if not self.goodbye and code != 0:
            self.schedule()

    def schedule(self) -> None:
        now = time.monotonic()
        if now - self.engine_since > _STEADY:
            self.tries = 0
        if self.tries < _TRIES:
            self.restart_at = now + min(_LAST_DELAY, _FIRST_DELAY * 2**self.tries)
            self.tries += 1

    def start_engine(self) -> None:
        self.restart_at = None
        self.engine_since = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = dict(os.environ) | {LAUNCHER_FD_VARIABLE: str(ENGINE_FD)}
        try:
            self.engine_pid = os.posix_spawn(
                self.engine[0],
                self.engine,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, _above(theirs), ENGINE_FD)],
                setsigdef=[signal.SIGPIPE],
                setsid=True,
            )
        except OSError:
            ours.close()
            self.schedule()
            return
        finally:
            theirs.close()
        self.connection = ours


def _above(sock: socket.socket) -> int:
    """dup2 onto itself would leave close-on-exec set: make sure that the number differs."""
    return sock.fileno() if sock.fileno() != ENGINE_FD else os.dup(sock.fileno())
