"""The state of a build's steps, from the engine's messages: vertexes, statuses, logs and warnings as in
``--progress=rawjson``."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEPT_LINES = 200


def seconds(text: str | None) -> float:
    """An RFC 3339 time as seconds since 1970; 0 for none."""
    if not text:
        return 0.0
    from rundlet.cli.format.times import parse_rfc3339

    return parse_rfc3339(text)


class Step:
    """One vertex. Times are seconds since 1970, 0 for not yet."""

    def __init__(self, digest: str, name: str) -> None:
        self.digest = digest
        self.name = name
        self.number = 0
        self.started = 0.0
        self.completed = 0.0
        self.cached = False
        self.error = ""
        self.statuses: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []
        self._partial = ""

    @property
    def duration(self) -> float:
        """Seconds so far."""
        if not self.started:
            return 0.0
        return max(0.0, (self.completed or time.time()) - self.started)

    def add_output(self, text: str) -> list[str]:
        """Complete lines in ``text`` and what was left before it."""
        *lines, self._partial = (self._partial + text).split("\n")
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        self.lines = (self.lines + lines)[-KEPT_LINES:]
        return lines

    def end_output(self) -> list[str]:
        """The last line, if it has no end."""
        return self.add_output("\n") if self._partial else []


class Steps:
    """All steps, in the order in which they appeared."""

    def __init__(self) -> None:
        self.all: dict[str, Step] = {}
        self.warnings: list[dict[str, Any]] = []
        self._numbers = 0

    def vertex(self, data: dict[str, Any]) -> Step:
        """Take a vertex's new state over."""
        digest = str(data.get("digest") or "")
        step = self.all.get(digest)
        if step is None:
            step = self.all[digest] = Step(digest, str(data.get("name") or ""))
        if data.get("started"):
            if not step.number:
                self._numbers += 1
                step.number = self._numbers
            step.started = step.started or seconds(data["started"])
        step.completed = seconds(data.get("completed")) if data.get("completed") else step.completed
        step.cached = bool(data.get("cached")) or step.cached
        step.error = str(data.get("error") or step.error)
        return step

    def of(self, data: dict[str, Any]) -> Step | None:
        """The step that a status or log belongs to."""
        return self.all.get(str(data.get("vertex") or ""))

    @property
    def failed(self) -> Step | None:
        return next((step for step in self.all.values() if step.error), None)


def output_text(data: dict[str, Any]) -> str:
    """What a log message carries."""
    from binascii import a2b_base64

    return a2b_base64(str(data.get("data") or "")).decode("utf-8", "replace")


def status_text(data: dict[str, Any]) -> str:
    """``transferring context: 2.34MB``, ``sha256:… 1.2MB / 3.4MB``."""
    from rundlet.cli.format.units import human_size

    name = str(data.get("name") or data.get("id") or "")
    current, total = int(data.get("current") or 0), int(data.get("total") or 0)
    if total:
        return f"{name} {human_size(current, 3)} / {human_size(total, 3)}"
    return f"{name} {human_size(current, 3)}" if current else name
