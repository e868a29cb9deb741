"""How a command ends early: a line on standard error and an exit code."""

from __future__ import annotations


class CommandError(Exception):
    """``message`` goes to standard error as it is (nothing when empty); ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(CommandError):
    """The command line can't be understood. ``after`` is what follows Docker's message: usage and hints."""


class RunError(CommandError):
    """``run``, ``create`` or ``exec`` could not do it: Docker puts the program's name in front of the message and a
    pointer to --help behind it; the code is 125 unless the command can't be executed (126) or found (127)."""

    def __init__(self, message: str, code: int = 125) -> None:
        super().__init__(message, code)


NOT_EXECUTABLE = 126
NOT_FOUND = 127


def start_error_code(message: str) -> int:
    """The exit code for a start that failed with ``message``: Docker's rules, which look at the text."""
    lowered = message.lower()
    if any(
        text in lowered for text in ("executable file not found", "no such file or directory", "system cannot find")
    ):
        return NOT_FOUND
    if any(text in lowered for text in ("permission denied", "is a directory", "exec format error")):
        return NOT_EXECUTABLE
    return 125
