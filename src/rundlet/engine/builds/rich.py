"""A build's progress for Rundlet's own command line: the state of each step, as BuildKit's clients know it."""

import base64
from collections.abc import Callable

from rundlet.api.builds import BuildProgress, Vertex, VertexLog, VertexStatus, VertexWarning
from rundlet.builder.report import Step
from rundlet.image.records import Progress
from rundlet.util.clock import Clock, rfc3339_nano


class RichReporter:
    """``emit`` gets each state."""

    def __init__(self, emit: Callable[[BuildProgress], None], clock: Clock, platform: str = "") -> None:
        """``platform`` is said with each step where there are several."""
        self._emit = emit
        self._clock = clock
        self._platform = platform
        self._started: dict[int, str] = {}
        self._cached: set[int] = set()

    def of_platform(self, platform: str) -> "RichReporter":
        """One for the steps of one of several platforms."""
        return RichReporter(self._emit, self._clock, platform)

    def planned(self, steps: list[Step]) -> None:
        shown = tuple(Vertex(self._digest(step), self._name(step)) for step in steps if step.label)
        if shown:
            self._emit(BuildProgress(vertexes=shown))

    def started(self, step: Step) -> None:
        self._started[step.number] = self._now()
        self._vertex(step)

    def detail(self, step: Step, text: str) -> None:
        self.output(step, 2, f"{text}\n".encode())

    def running(self, step: Step, container_id: str) -> None:
        """Nothing that anybody wants to see."""

    def output(self, step: Step, stream: int, data: bytes) -> None:
        log = VertexLog(self._digest(step), stream, base64.b64encode(data).decode(), self._now())
        self._emit(BuildProgress(logs=(log,)))

    def progress(self, step: Step, progress: Progress) -> None:
        if progress.aux is not None or not progress.id:
            return
        name = f"{progress.id} {progress.status}"
        status = VertexStatus(progress.id, self._digest(step), name, progress.current, progress.total, self._now())
        self._emit(BuildProgress(statuses=(status,)))

    def removed(self, step: Step, container_id: str) -> None:
        """Nothing that anybody wants to see."""

    def cached(self, step: Step) -> None:
        self._cached.add(step.number)

    def finished(self, step: Step, image_id: str) -> None:
        self._vertex(step, completed=self._now())

    def failed(self, step: Step, message: str) -> None:
        self._vertex(step, completed=self._now(), error=message)

    def warning(self, text: str) -> None:
        self._emit(BuildProgress(warnings=(VertexWarning(short=base64.b64encode(text.encode()).decode()),)))

    def _vertex(self, step: Step, completed: str = "", error: str = "") -> None:
        if not step.label:
            return  # It only writes something down: BuildKit's clients see no step there.
        vertex = Vertex(
            self._digest(step),
            self._name(step),
            self._started.get(step.number, ""),
            completed,
            step.number in self._cached,
            error,
        )
        self._emit(BuildProgress(vertexes=(vertex,)))

    def _name(self, step: Step) -> str:
        platform = f"{self._platform} " if self._platform else ""
        return f"[{platform}{step.label}] {step.title}"

    def _now(self) -> str:
        return rfc3339_nano(self._clock.now_ns())

    def _digest(self, step: Step) -> str:
        return f"step:{self._platform}:{step.number}" if self._platform else f"step:{step.number}"
