"""What is wrong with a Dockerfile, in Docker's words."""

from typing import Self

from rundlet.errors import InvalidParameterError


class DockerfileError(InvalidParameterError):
    """``why`` without the place; ``line`` and ``end`` are where it is, 0 when that is nowhere in particular.

    This class itself is for what shows when the file is worked with (a stage that isn't there, a variable that must be
    set); its message never names the line.
    """

    reason = "bad-dockerfile"

    def __init__(self, why: str, line: int = 0, end: int = 0) -> None:
        super().__init__(self._message(why, line))
        self.why = why
        self.line = line
        self.end = max(line, end)
        self.text = ""
        """Of the file that can't be read, when it is known."""

    @staticmethod
    def _message(why: str, line: int) -> str:
        del line
        return why

    def at(self, line: int, end: int = 0) -> Self:
        """The same error with a place, unless it has one."""
        return self if self.line else type(self)(self.why, line, end)


class DockerfileSyntaxError(DockerfileError):
    """The text doesn't fall into instructions. Docker's engine puts ``failed to parse Dockerfile: `` in front."""

    reason = "bad-dockerfile-syntax"


class InstructionError(DockerfileError):
    """An instruction that makes no sense; Docker names the line."""

    reason = "bad-instruction"

    @staticmethod
    def _message(why: str, line: int) -> str:
        return f"dockerfile parse error on line {line}: {why}" if line else why


class UnknownInstructionError(InstructionError):
    """``why`` starts with ``unknown instruction: FOO``."""

    reason = "unknown-instruction"
