"""How a build looks while it runs: ``--progress auto|plain|tty|rawjson|quiet|none``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.building.steps import Step, Steps, output_text, status_text
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, TextIO

    class Display(Protocol):
        """Is told every message, and at the end that it is the end."""

        @property
        def steps(self) -> Steps: ...
        def update(self, message: dict[str, Any]) -> None: ...
        def finish(self) -> None: ...


MODES = ("auto", "plain", "tty", "rawjson", "quiet", "none")


def choose_display(mode: str, out: TextIO) -> Display:
    """The display for ``--progress``. Raises CommandError."""
    mode = mode or "auto"
    if mode not in MODES:
        raise CommandError(f"ERROR: failed to build: invalid progress mode {mode}")
    if mode == "auto":
        mode = "tty" if out.isatty() else "plain"
    if mode == "rawjson":
        return RawDisplay(out)
    if mode in ("quiet", "none"):
        return QuietDisplay()
    if mode == "tty":
        if not out.isatty():
            raise CommandError("ERROR: failed to build: failed to get console: provided file is not a console")
        from rundlet.cli.building.live import LiveDisplay

        return LiveDisplay(out)
    return PlainDisplay(out)


class QuietDisplay:
    """Keeps what an error needs, shows nothing."""

    steps: Steps

    def __init__(self) -> None:
        self.steps = Steps()

    def update(self, message: dict[str, Any]) -> None:
        collect(self.steps, message)

    def finish(self) -> None:
        """Nothing was shown."""


class RawDisplay(QuietDisplay):
    """The engine's messages, one a line."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def update(self, message: dict[str, Any]) -> None:
        from rundlet.client.wire import dumps

        super().update(message)
        self._out.write(dumps(message) + "\n")
        self._out.flush()


class Locked:
    """A display that is told things by several threads."""

    def __init__(self, display: Display) -> None:
        from _thread import allocate_lock

        self._display = display
        self._lock = allocate_lock()
        self._finished = False

    @property
    def steps(self) -> Steps:
        return self._display.steps

    def update(self, message: dict[str, Any]) -> None:
        with self._lock:
            if not self._finished:
                self._display.update(message)

    def finish(self) -> None:
        """Once; what is said later is lost."""
        with self._lock:
            if not self._finished:
                self._finished = True
                self._display.finish()


def collect(steps: Steps, message: dict[str, Any]) -> None:
    """Take one message over into ``steps``."""
    for data in message.get("vertexes") or ():
        steps.vertex(data)
    for data in message.get("statuses") or ():
        step = steps.of(data)
        if step is not None:
            step.statuses[str(data.get("id") or data.get("name"))] = data
    for data in message.get("logs") or ():
        step = steps.of(data)
        if step is not None:
            step.add_output(output_text(data))
    steps.warnings += message.get("warnings") or ()


class PlainDisplay:
    """For logs: every line once, each with the number of its step."""

    def __init__(self, out: TextIO) -> None:
        self.steps = Steps()
        self._out = out
        self._current: Step | None = None
        self._ended: set[str] = set()
        self._said: dict[tuple[str, str], bool] = {}

    def update(self, message: dict[str, Any]) -> None:
        changed = [self.steps.vertex(data) for data in message.get("vertexes") or ()]
        for step in changed:
            if step.started and step.digest not in self._ended and step is not self._current:
                self._head(step)
        for data in message.get("statuses") or ():
            self._status(data)
        for data in message.get("logs") or ():
            log_step = self.steps.of(data)
            if log_step is not None:
                self._lines(log_step, log_step.add_output(output_text(data)))
        for step in changed:
            if step.completed and step.digest not in self._ended:
                self._end(step)
        self.steps.warnings += message.get("warnings") or ()
        self._out.flush()

    def finish(self) -> None:
        for step in self.steps.all.values():
            if step.started and not step.completed and step.digest not in self._ended:
                self._head(step)
                self._say(step, "CANCELED")
        self._out.flush()

    def _head(self, step: Step) -> None:
        """From here on the lines are about ``step``."""
        if self._current is step:
            return
        if self._current is not None:
            if self._current.digest not in self._ended:
                self._say(self._current, "...")
            self._out.write("\n")
        self._current = step
        self._say(step, step.name)

    def _say(self, step: Step, text: str) -> None:
        self._out.write(f"#{step.number} {text}\n")

    def _lines(self, step: Step, lines: list[str]) -> None:
        if lines:
            self._head(step)
        for line in lines:
            self._say(step, f"{step.duration:.3f} {line}")

    def _status(self, data: dict[str, Any]) -> None:
        step = self.steps.of(data)
        if step is None:
            return
        name = str(data.get("id") or data.get("name"))
        step.statuses[name] = data
        complete = bool(data.get("completed"))
        if self._said.get((step.digest, name)) in (complete, True):
            return
        self._said[step.digest, name] = complete
        self._head(step)
        self._say(step, status_text(data) + (" done" if complete else ""))

    def _end(self, step: Step) -> None:
        self._lines(step, step.end_output())
        self._head(step)
        self._ended.add(step.digest)
        if step.error:
            self._say(step, f"ERROR: {step.error}")
        elif step.cached:
            self._say(step, "CACHED")
        else:
            self._say(step, f"DONE {step.duration:.1f}s")


def default_mode(given: str) -> str:
    """``--progress``, or else the environment's BUILDKIT_PROGRESS."""
    return given or os.environ.get("BUILDKIT_PROGRESS", "")


def standard_error() -> TextIO:
    sys.stdout.flush()
    return sys.stderr
