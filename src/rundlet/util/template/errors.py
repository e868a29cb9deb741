"""What is wrong with a template, and where."""

from __future__ import annotations


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line (from 1) and column (from 0, as Go counts) of ``offset``."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset) - 1


class TemplateError(Exception):
    """``template: :LINE:COLUMN: …``."""

    def __init__(self, text: str, offset: int, message: str) -> None:
        self.line, self.column = line_and_column(text, offset)
        super().__init__(f"template: :{self.line}:{self.column}: {message}")


class ExecutionError(Exception):
    """A failure while evaluating a node; the evaluator adds where it happened."""
