"""What clients of Docker's own builder read of a step's output."""

from rundlet.api.jsonstream import JSONMessage
from rundlet.builder.dockerfile.ast import Position
from rundlet.builder.report import Step
from rundlet.engine.builds.classic import ClassicReporter


def test_what_goes_to_standard_error_is_red() -> None:
    said: list[JSONMessage] = []
    reporter = ClassicReporter(said.append)
    step = Step(number=1, total=1, text="RUN x", label="1/1", title="RUN x", position=Position(1, 1))
    reporter.output(step, 1, b"plain\n")
    reporter.output(step, 2, b"trouble\n")
    assert [message.stream for message in said] == ["plain\n", "\x1b[91mtrouble\n\x1b[0m"]
