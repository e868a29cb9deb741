"""What is wrong with a template, and where."""

from __future__ import annotations


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line (from 1) and column (from 0, in bytes, as Go counts) of ``offset``."""
    line = text.count("\n", 0, offset) + 1
    before = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line, len(before.encode("utf-8", "surrogateescape"))


class TemplateError(Exception):
    """``template: :LINE: …`` for what can't be parsed, ``template: :LINE:COLUMN: …`` for what can't be executed."""

    def __init__(self, text: str, offset: int, message: str, *, executing: bool = False) -> None:
        self.line, self.column = line_and_column(text, offset)
        self.message = message
        self._place = f"{self.line}:{self.column}" if executing else f"{self.line}"
        self._started = 0
        super().__init__(self._told(""))

    def _told(self, name: str) -> str:
        started = ""
        if self._started:
            started = f"{'' if self.message.endswith(' action') else ' in action'} started at {name}:{self._started}"
        return f"template: {name}:{self._place}: {self.message}{started}"

    def named(self, name: str) -> TemplateError:
        """The same, of the template of that name."""
        self.args = (self._told(name),)
        return self

    def in_action(self, line: int) -> TemplateError:
        """The same, in an action that began on another line."""
        self._started = line if line != self.line else 0
        return self.named("")


class ExecutionError(Exception):
    """A failure while evaluating a node; the evaluator adds where it happened."""


class ArgumentError(ExecutionError):
    """An argument is not of the type that its parameter has.

    ``position``: which (from 0); ``wanted``: how Go calls what a constant there should have been.
    """

    def __init__(self, message: str, position: int, wanted: str) -> None:
        super().__init__(message)
        self.position = position
        self.wanted = wanted
