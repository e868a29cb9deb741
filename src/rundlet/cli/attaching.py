"""A container in the foreground: attach, start, streams, terminal, signals, exit code.

The order is Docker's: attach and wait are registered before the start, so that no output and no exit can be missed;
both are asked at once and their answers taken together.
"""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError
from rundlet.cli.streams import DetachKeys, StreamError, parse_detach_keys, pump
from rundlet.cli.terminal import RawMode, size
from rundlet.client.errors import ApiError, ClientError
from rundlet.client.session import UPGRADE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.signals import SignalPipe
    from rundlet.client.http import Connection, Hijacked

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_CONDITIONS_SINCE = (1, 30)


def check_input_terminal(tty: bool, *, stdin: bool) -> None:
    """A container's terminal needs one on our side when input is attached. Raises CommandError."""
    if tty and stdin and not os.isatty(0):
        raise CommandError("the input device is not a TTY")


def detach_keys(context: Context, flag: str) -> tuple[str, DetachKeys]:
    """What to tell the engine (nothing for the default) and the watcher. Raises CommandError."""
    chosen = flag or context.config.get("detachKeys", "")
    try:
        sequence = parse_detach_keys(chosen or DEFAULT_DETACH_KEYS)
    except ValueError as exc:
        raise CommandError(f"invalid detach keys: {exc}") from exc
    return chosen, DetachKeys(sequence)


class DetachedError(CommandError):
    """The keys that detach were typed: for ``attach`` and ``exec`` no end that can be told apart from a failure."""

    def __init__(self) -> None:
        super().__init__("read escape sequence")


class Streams:
    """The part of a foreground session that attach, run, start and exec share: raw mode, resizes, signals, the pump."""

    def __init__(self, context: Context, resize_path: str, *, tty: bool, stdin: bool) -> None:
        self.context = context
        self.tty = tty
        self.stdin = stdin
        self._resize_path = resize_path

    def resize(self) -> None:
        """Give the container's terminal the size of ours; a container that has gone is no failure."""
        rows, columns = size()
        if rows and columns:
            try:
                self.context.session.post(self._resize_path, {"h": rows, "w": columns})
            except ClientError:
                return

    def pump(
        self, stream: Hijacked, keys: DetachKeys | None, signals: SignalPipe | None, forward: Any, raw: RawMode | None
    ) -> None:
        from rundlet.cli.signals import WINCH

        def on_signal(number: int) -> None:
            if number == WINCH:
                self.resize()
            elif forward is not None:
                forward(number)

        framed = stream.framed or not self.tty
        try:
            pump(stream, framed=framed, stdin=self.stdin, keys=keys, signals=signals, on_signal=on_signal)
        except StreamError as exc:
            raise CommandError(str(exc)) from exc
        finally:
            if raw is not None:
                raw.restore()


class Foreground:
    """One container that this command attaches to and usually starts."""

    def __init__(self, context: Context, identifier: str, body: dict[str, Any], flags: Any) -> None:
        self.context = context
        self.identifier = identifier
        self.path = f"/containers/{identifier}"
        self.tty = bool(body["Tty"])
        self.stdin = bool(body["AttachStdin"])
        self.stdout = bool(body["AttachStdout"])
        self.stderr = bool(body["AttachStderr"])
        self.sig_proxy = flags.get("sig-proxy", True)
        self.keys_text, self.keys = detach_keys(context, flags["detach-keys"])

    def run(self, *, removed: bool) -> int:
        """Attach, start, copy until the end; the container's exit code. Raises ApiError when the start fails."""
        wait = self.send_wait("removed" if removed else "next-exit")
        stream = self._attach() if self.stdin or self.stdout or self.stderr else None
        self.registered(wait)
        return self.follow(stream, wait, start=True)

    def join(self) -> int:
        """Attach to a container that runs already, copy until it ends; its exit code. Raises DetachedError."""
        wait = self.send_wait("not-running")
        stream = self._attach()
        self.registered(wait)
        code = self.follow(stream, wait, start=False)
        if self.keys.detached:
            raise DetachedError
        return code

    def send_wait(self, condition: str) -> Connection:
        query = {"condition": condition}
        return self.context.session.send("POST", f"{self.path}/wait", query=query, least=_CONDITIONS_SINCE)

    def registered(self, wait: Connection) -> None:
        """The engine answers the head of ``wait`` as soon as it watches the container."""
        self._wait = self.context.session.answer(wait)

    def _attach(self) -> Hijacked:
        query = {
            "stream": True,
            "stdin": self.stdin or None,
            "stdout": self.stdout or None,
            "stderr": self.stderr or None,
            "detachKeys": self.keys_text or None,
        }
        session = self.context.session
        return session.answer(session.send("POST", f"{self.path}/attach", query=query, headers=UPGRADE)).hijack()

    def follow(self, stream: Hijacked | None, wait: Connection, *, start: bool) -> int:
        from rundlet.cli.signals import FORWARDED, WINCH, SignalPipe

        streams = Streams(self.context, f"{self.path}/resize", tty=self.tty, stdin=self.stdin)
        numbers = (*(FORWARDED if self.sig_proxy else ()), *((WINCH,) if self.tty else ()))
        raw = RawMode(0) if self.tty and self.stdin else None
        with SignalPipe(numbers) as signals:
            if start:
                self._start()
            if raw is not None:
                raw.__enter__()
            try:
                if self.tty:
                    streams.resize()
                if stream is not None:
                    streams.pump(stream, self.keys, signals, self._forward, raw)
            finally:
                if raw is not None:
                    raw.restore()
            if self.keys.detached:
                wait.close()
                return 0
            return self._exit_code(signals)

    def _start(self) -> None:
        query = {"detachKeys": self.keys_text} if self.keys_text else None
        self.context.session.post(f"{self.path}/start", query)

    def _forward(self, number: int) -> None:
        from rundlet.cli.signals import name_of

        try:
            self.context.session.post(f"{self.path}/kill", {"signal": name_of(number)})
        except ApiError:
            # It ended between the signal and our request.
            return

    def _exit_code(self, signals: SignalPipe) -> int:
        """What ``wait`` says; signals are still passed on while it is waited for."""
        import select

        response = self._wait
        connection = response.connection
        poll = select.poll()
        poll.register(connection.socket.fileno(), select.POLLIN)
        poll.register(signals.fileno(), select.POLLIN)
        while not connection.buffer:
            for fd, _event in poll.poll():
                if fd == signals.fileno():
                    for number in signals.read():
                        self._forward(number)
                elif not connection.fill():
                    raise CommandError("the engine went away while the container was running", 125)
        try:
            answer = response.json()
        except ClientError as exc:
            raise CommandError(f"the engine went away while the container was running: {exc}", 125) from exc
        message = (answer.get("Error") or {}).get("Message")
        if message:
            self.context.warn(message)
            return 125
        return int(answer.get("StatusCode", 125))
