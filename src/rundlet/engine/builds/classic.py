"""A build's progress as Docker's own builder prints it: text in a JSON stream, the steps in order.

Stages run side by side; their text does not: what a later step says is held back until those before it have ended.
"""

import codecs
from collections.abc import Callable
from typing import Final

from rundlet.api import jsonstream
from rundlet.api.jsonstream import JSONMessage
from rundlet.builder.report import Step
from rundlet.engine.images import streams
from rundlet.image.records import Progress
from rundlet.util.ids import short

_HELD_BYTES: Final = 4 << 20
_STANDARD_ERROR: Final = 2
# Docker's builder marks what a step writes there so, whether or not a terminal will show it.
_RED: Final = "\x1b[91m"
_PLAIN: Final = "\x1b[0m"


class ClassicReporter:
    """``emit`` gets each message when it may be shown."""

    def __init__(self, emit: Callable[[JSONMessage], None]) -> None:
        self._emit = emit
        self._held: dict[int, list[JSONMessage]] = {}
        self._ended: set[int] = set()
        self._front = 1
        self._decoders: dict[tuple[int, int], codecs.IncrementalDecoder] = {}
        self._cached: set[int] = set()
        self._total = 0

    def of_platform(self, platform: str) -> "ClassicReporter":
        """One for the steps of one of several platforms."""
        self._emit(jsonstream.stream(f"Platform {platform}\n"))
        return ClassicReporter(self._emit)

    def planned(self, steps: list[Step]) -> None:
        self._total = len(steps)

    def started(self, step: Step) -> None:
        self._say(step, f"Step {step.number}/{step.total} : {step.text}\n")

    def detail(self, step: Step, text: str) -> None:
        self._say(step, f"{text}\n")

    def running(self, step: Step, container_id: str) -> None:
        self._say(step, f" ---> Running in {short(container_id)}\n")

    def output(self, step: Step, stream: int, data: bytes) -> None:
        decoder = self._decoders.get((step.number, stream))
        if decoder is None:
            decoder = self._decoders[step.number, stream] = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data)
        if text:
            self._say(step, f"{_RED}{text}{_PLAIN}" if stream == _STANDARD_ERROR else text)

    def progress(self, step: Step, progress: Progress) -> None:
        if progress.aux is None:
            self._put(step, streams.message(progress))

    def removed(self, step: Step, container_id: str) -> None:
        self._say(step, f" ---> Removed intermediate container {short(container_id)}\n")

    def cached(self, step: Step) -> None:
        self._say(step, " ---> Using cache\n")

    def finished(self, step: Step, image_id: str) -> None:
        self._say(step, f" ---> {short(image_id.removeprefix('sha256:'))}\n" if image_id else " ---> \n")
        self._end(step)

    def failed(self, step: Step, message: str) -> None:
        """Everything that is known is shown: it may say why."""
        for number in sorted(self._held):
            for held in self._held.pop(number):
                self._emit(held)

    def warning(self, text: str) -> None:
        self._emit(jsonstream.stream(f"{text}\n"))

    def _say(self, step: Step, text: str) -> None:
        self._put(step, jsonstream.stream(text))

    def _put(self, step: Step, message: JSONMessage) -> None:
        # A step before the front has ended but for the triggers of its image.
        if step.number <= self._front:
            self._emit(message)
        else:
            self._held.setdefault(step.number, []).append(message)

    def _end(self, step: Step) -> None:
        self._ended.add(step.number)
        while self._front in self._ended:
            self._front += 1
            for held in self._held.pop(self._front, ()):
                self._emit(held)
