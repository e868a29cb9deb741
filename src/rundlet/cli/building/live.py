"""The live view in a terminal: steps with their times, and the last lines of those that run."""

from __future__ import annotations

import os
import time

from rundlet.cli.building.steps import Step, Steps, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

_REFRESH = 0.1
"""Seconds between two pictures."""
_LOG_LINES = 6
_BLUE, _RED, _RESET = "\x1b[34m", "\x1b[31m", "\x1b[0m"


class LiveDisplay:
    """Redrawn in place by a thread of its own, so that times go on while a step is silent."""

    def __init__(self, out: TextIO) -> None:
        from threading import Event, Lock, Thread

        self.steps = Steps()
        self._out = out
        self._began = time.time()
        self._drawn = 0
        self._colors = "NO_COLOR" not in os.environ
        self._lock = Lock()
        self._ended = Event()
        self._thread = Thread(target=self._redraw, daemon=True)
        self._thread.start()

    def update(self, message: dict[str, Any]) -> None:
        from rundlet.cli.building.display import collect

        with self._lock:
            collect(self.steps, message)

    def finish(self) -> None:
        """The last picture stays: all steps, no output."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        self._draw(final=True)

    def _redraw(self) -> None:
        while not self._ended.wait(_REFRESH):
            self._draw(final=False)

    def _draw(self, *, final: bool) -> None:
        try:
            size = os.get_terminal_size(self._out.fileno())
            width, height = max(size.columns or 80, 20), max(size.lines or 24, 6)
        except OSError:
            width, height = 80, 24
        with self._lock:
            lines = self._picture(width, final=final)
        if not final and len(lines) > height - 1:
            lines = [lines[0], *lines[-(height - 2) :]]
        up = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        # Hidden while drawing; what the last picture had more of is wiped.
        self._out.write("\x1b[?25l" + up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J\x1b[?25h")
        self._out.flush()
        self._drawn = len(lines)

    def _picture(self, width: int, *, final: bool) -> list[str]:
        shown = [step for step in self.steps.all.values() if step.started]
        done = sum(1 for step in shown if step.completed)
        head = f"[+] Building {time.time() - self._began:.1f}s ({done}/{len(self.steps.all)})"
        lines = [head + (" FINISHED" if final and done == len(self.steps.all) else "")]
        for step in shown:
            lines.append(self._row(step.name, step, width))
            lines += self._details(step, width, final=final)
        return lines

    def _row(self, name: str, step: Step, width: int) -> str:
        mark = "ERROR " if step.error else "CACHED " if step.cached else ""
        elapsed = f"{step.duration:.1f}s"
        room = width - len(elapsed) - 2
        text = _cut(f" => {mark}{_printable(name)}", room)
        line = f"{text.ljust(room)} {elapsed}"
        if not self._colors or not step.completed:
            return line
        return f"{_RED if step.error else _BLUE}{line}{_RESET}"

    def _details(self, step: Step, width: int, *, final: bool) -> list[str]:
        rows = [
            _cut(f" => => {_printable(status_text(status))}", width - 1)
            for status in step.statuses.values()
            if final or not step.completed
        ]
        if not step.completed and not final:
            rows += [_cut(f" => => # {_printable(line)}", width - 1) for line in step.lines[-_LOG_LINES:]]
        return rows


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 3, 0)] + "..."


def _printable(text: str) -> str:
    """``text`` without what would move the cursor."""
    return "".join(character if character.isprintable() else " " for character in text.expandtabs(4))
